"""Tables and constraints, no rules. Importing this package registers every table."""

from app.models.budgets import budget_state, budgets, rolled_windows, watched
from app.models.call_logs import call_logs
from app.models.events import deliveries, events, targets
from app.models.jobs import job_runs
from app.models.keys import deleted_keys, key_secrets, keys, object_permissions, retired_secrets
from app.models.ledger import daily_label_spend, daily_spend, ledger, ledger_unfolded
from app.models.organizations import organization_members, organizations
from app.models.records import audit
from app.models.teams import deleted_teams, team_members, teams
from app.models.users import users

__all__ = [
    "audit",
    "budget_state",
    "budgets",
    "call_logs",
    "daily_label_spend",
    "daily_spend",
    "deleted_keys",
    "deleted_teams",
    "deliveries",
    "events",
    "job_runs",
    "key_secrets",
    "keys",
    "ledger",
    "ledger_unfolded",
    "object_permissions",
    "organization_members",
    "organizations",
    "retired_secrets",
    "rolled_windows",
    "targets",
    "team_members",
    "teams",
    "users",
    "watched",
]
