"""What a key's columns become: the pure rules of keys.columns_of."""
