"""Who calls, what a caller is to teams and organizations, and what a refused use case raises."""
