"""What an operation costs in SQL statements and Redis commands: fixed numbers, whatever the size of the call."""
