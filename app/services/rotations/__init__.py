"""New secrets for keys, by request and by schedule."""
