"""The rows of the matrix, by noun."""

from tests.access.matrix import decisions, keys, new_keys, organizations, others, teams, users

ROWS = (*keys.ROWS, *new_keys.ROWS, *decisions.ROWS, *teams.ROWS, *users.ROWS, *organizations.ROWS, *others.ROWS)
