"""Logs of finished calls, on their way to the logging callbacks of keys and teams."""
