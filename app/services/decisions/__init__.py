"""The hot path: what is known of a key, the decision, and what a call has cost in the end."""
