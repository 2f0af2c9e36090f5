"""Users joining teams: the membership, its tier and its account, written within the transaction of a use case."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert

from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from app.domain.windows import Calendar
from app.models import team_members
from app.services.accounts import accounts
from app.services.audit.audit import Act
from app.services.budgets import budget_rows
from app.services.thresholds import watched


@dataclass(frozen=True, slots=True)
class Joining:
    """A user to become a member of a team that exists; `tier` holds what is asked of a tier of its own."""

    team: Mapping[str, Any]
    user_id: str
    user_email: str | None
    role: str
    tier: Mapping[str, Any] | None = None


def join(transaction: Connection, act: Act, joinings: Sequence[Joining], calendar: Calendar) -> None:
    """Store the memberships, in five statements at the most.

    A member has the tier that the team's members share; one that asks for limits of its own gets a tier with
    these in the place of the shared ones.
    """
    if not joinings:
        return
    shared_ids = {joining.team["member_budget_id"] for joining in joinings} - {None}
    tiers = budget_rows.linked(transaction, shared_ids) if shared_ids else {}
    own: dict[str, dict[str, Any]] = {}
    members: list[dict[str, Any]] = []
    opened: list[Account] = []
    for joining in joinings:
        budget_id = joining.team["member_budget_id"]
        tier: Mapping[str, Any] = tiers.get(budget_id, {})
        if joining.tier is not None:
            tier = budget_rows.overlaid(tier, joining.tier)
            budget_id = str(uuid.uuid4())
            own[budget_id] = dict(tier)
        team_id = joining.team["team_id"]
        scope = Scope(ScopeKind.MEMBER, member_id(team_id, joining.user_id))
        opened.append(accounts.armed_account(scope, tier.get("budget_duration"), calendar, act.at))
        members.append(
            {
                "team_id": team_id,
                "user_id": joining.user_id,
                "user_email": joining.user_email,
                "role": joining.role,
                "budget_id": budget_id,
                "created_at": act.at,
            }
        )
    budget_rows.put(transaction, act, own)
    transaction.execute(insert(team_members), members)
    accounts.open_accounts(transaction, opened)
    capped = [account.scope for account, member in zip(opened, members, strict=True) if member["budget_id"]]
    watched.watch(transaction, capped)
