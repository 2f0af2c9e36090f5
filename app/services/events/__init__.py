"""Events and their deliveries: routed, claimed, sent, recorded, read, replayed and forgotten."""
