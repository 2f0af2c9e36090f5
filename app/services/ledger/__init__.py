"""The ledger: appended, folded, checked and summed up."""
