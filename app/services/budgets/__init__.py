"""Budget tiers, and the calendar of what resets when."""
