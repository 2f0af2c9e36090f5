"""Accounts and corrections: lifetime spend is the sum of the ledger."""
