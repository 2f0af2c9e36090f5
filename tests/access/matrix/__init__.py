"""The rows of the matrix, by noun."""

from tests.access.matrix import decisions, keys, organizations, others, teams, users

ROWS = (*keys.ROWS, *decisions.ROWS, *teams.ROWS, *users.ROWS, *organizations.ROWS, *others.ROWS)
