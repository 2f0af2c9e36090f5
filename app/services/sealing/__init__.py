"""Secrets that must be used again later."""
