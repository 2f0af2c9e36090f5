"""The audit trail: written, read and forgotten."""
