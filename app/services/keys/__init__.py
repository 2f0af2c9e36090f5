"""Keys, from their making to their end."""
