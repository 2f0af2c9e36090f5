"""Which keys a list holds by the filters that are asked for, and in which order; all of it in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, Text, and_, cast, or_, select
from sqlalchemy.sql.selectable import FromClause

from app.domain.access import Caller
from app.domain.teams import DASHBOARD_TEAM
from app.errors import InvalidRequest
from app.models import budget_state, key_secrets, keys, team_members
from app.services.accounts import spends
from app.services.rows.pages import Listing, Order, Wanted, is_descending

STATUSES = ("active", "expired", "revoked", "deleted")
EXPIRES = ("active", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyQuery(Wanted):
    """What a list request asks for; None and "" leave a filter out."""

    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    return_full_object: bool = False
    include_team_keys: bool = False
    include_created_by_keys: bool = False
    sort_by: str | None = None
    sort_order: str = "desc"
    expand: tuple[str, ...] = ()
    status: str | None = None
    expires: str | None = None
    search: str | None = None
    project_id: str | None = None
    access_group_id: str | None = None
    agent_id: str | None = None
    substring_matching: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasQuery(Wanted):
    search: str | None = None
    team_id: str | None = None


SORTS = (
    "spend",
    "max_budget",
    "created_at",
    "updated_at",
    "token",
    "key_alias",
    "expires",
    "last_active",
    "budget_reset_at",
    "total_spend",
    "tpm_limit",
    "rpm_limit",
    "user_id",
)


def order_of(query: KeyQuery, table: Table) -> Order:
    """Newest first unless asked otherwise; raises InvalidRequest.

    As in LiteLLM, the direction is only looked at beside a column.
    """
    identity = keys.c.key_id if table is keys else table.c.id
    if not query.sort_by:
        return Order(table.c.created_at, identity)
    descending = is_descending(query.sort_by, query.sort_order, SORTS)
    column = _sort_column(query.sort_by, table)
    if column.table is budget_state:
        # The same id, of the table whose index holds it beside the column.
        identity = budget_state.c.scope_id
    return Order(column, identity, descending=descending, gaps=column.nullable is True)


def _sort_column(name: str, table: Table) -> Column[Any]:
    """Spend is as it was folded last: an index can hold nothing that is added up anew for every row."""
    if name in {"max_budget", "expires"}:
        return table.c["max_budget_nanos" if name == "max_budget" else "expires_at"]
    if table is not keys:
        stored = {"spend": "spend_nanos", "total_spend": "total_spend_nanos"}
        return table.c[stored.get(name, name)]
    elsewhere: dict[str, Column[Any]] = {
        "spend": budget_state.c.window_spend_nanos,
        "total_spend": budget_state.c.lifetime_spend_nanos,
        "budget_reset_at": budget_state.c.reset_at,
        "token": key_secrets.c.token,
    }
    return elsewhere[name] if name in elsewhere else table.c[name]


def listing_of(
    query: KeyQuery, table: Table, where: Sequence[ColumnElement[bool]], among: Sequence[ColumnElement[bool]]
) -> Listing:
    """The rows to page through, joined to what they are sorted or found by and to nothing else."""
    order = order_of(query, table)
    by_token = bool(query.key_hash or query.search)
    counted: FromClause = table
    if table is keys and by_token:
        counted = keys.join(key_secrets, _CURRENT)
    source = counted
    if order.column.table is budget_state:
        source = source.join(budget_state, spends.of_state("key", keys.c.key_id))
    elif order.column.table is key_secrets and not by_token:
        source = source.join(key_secrets, _CURRENT)
    return Listing(source, where, order, countable=_countable(query), counted=counted, among=among)


_CURRENT = and_(key_secrets.c.key_id == keys.c.key_id, key_secrets.c.revoke_at.is_(None))
# What no index narrows down; status and expiry are told by several columns.
_SEARCHED = ("search", "project_id", "access_group_id", "agent_id", "status", "expires")


def _countable(query: KeyQuery) -> bool:
    searched = query.substring_matching and (query.key_alias or query.user_id)
    return not searched and not any(getattr(query, name) for name in _SEARCHED)


def conditions(query: KeyQuery, table: FromClause, now: datetime) -> list[ColumnElement[bool]]:
    """The filters that narrow every scope; raises InvalidRequest."""
    if query.status and query.status not in STATUSES:
        raise InvalidRequest(f"Invalid status value. Supported: {', '.join(map(repr, STATUSES))}.", "status")
    if query.expires and query.expires not in EXPIRES:
        raise InvalidRequest(f"Invalid expires value. Supported: {', '.join(map(repr, EXPIRES))}.", "expires")
    token = key_secrets.c.token if table is keys else table.c.token
    wanted = [or_(table.c.team_id.is_(None), table.c.team_id != DASHBOARD_TEAM)]
    exact = {"team_id": query.team_id, "project_id": query.project_id, "agent_id": query.agent_id}
    wanted += [table.c[name] == value for name, value in exact.items() if value]
    if query.key_hash:
        wanted.append(token == query.key_hash)
    if query.key_alias:
        wanted.append(matches(table.c.key_alias, query.key_alias, substring=query.substring_matching))
    if query.search:
        wanted.append(or_(token == query.search, table.c.key_alias.icontains(query.search, autoescape=True)))
    if query.access_group_id:
        wanted.append(holds(table.c.access_group_ids, query.access_group_id))
    wanted += _by_state(query, table, now)
    return wanted


def alias_conditions(caller: Caller, query: AliasQuery) -> list[ColumnElement[bool]]:
    """Which keys give their alias: those with one that the caller owns or whose team it is in, and its own."""
    wanted = [
        keys.c.key_alias.is_not(None),
        or_(keys.c.team_id.is_(None), keys.c.team_id != DASHBOARD_TEAM),
    ]
    if query.search:
        wanted.append(keys.c.key_alias.icontains(query.search, autoescape=True))
    if query.team_id:
        wanted.append(keys.c.team_id == query.team_id)
    if not caller.sees_all:
        mine = [keys.c.key_id == caller.key_id]
        # Nobody is no owner: a key without one does not see the others that have none.
        if caller.user_id is not None:
            own_teams = select(team_members.c.team_id).where(team_members.c.user_id == caller.user_id)
            mine += [keys.c.user_id == caller.user_id, keys.c.team_id.in_(own_teams)]
        if caller.is_service_account:
            mine.append(keys.c.team_id == caller.team_id)
        wanted.append(or_(*mine))
    return wanted


def _by_state(query: KeyQuery, table: FromClause, now: datetime) -> list[ColumnElement[bool]]:
    expired = and_(table.c.expires_at.is_not(None), table.c.expires_at <= now)
    lasting = or_(table.c.expires_at.is_(None), table.c.expires_at > now)
    revoked = table.c.blocked.is_(True)
    usable = or_(table.c.blocked.is_(None), table.c.blocked.is_(False))
    wanted: list[ColumnElement[bool]] = []
    if query.expires:
        wanted.append(expired if query.expires == "expired" else lasting)
    if query.status in {"active", "expired", "revoked"}:
        wanted.append(
            {"active": and_(usable, lasting), "expired": and_(usable, expired), "revoked": revoked}[query.status]
        )
    return wanted


def matches(column: ColumnElement[Any], value: str, *, substring: bool) -> ColumnElement[bool]:
    return column.icontains(value, autoescape=True) if substring else column == value


def holds(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """Whether a JSON list of texts holds the value, as text: quoted, so that no part of an entry matches."""
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return cast(column, Text).contains(quoted, autoescape=True)
