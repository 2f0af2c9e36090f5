"""What all that reads or names rows in SQL has in common."""
