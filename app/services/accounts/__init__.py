"""Accounts: what a scope has spent, in which window it stands, and how windows are moved, re-armed and capped."""
