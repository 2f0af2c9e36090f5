"""The commands of operators, a file per noun; each imports what it needs when it runs."""
