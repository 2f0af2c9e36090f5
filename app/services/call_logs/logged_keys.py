"""The keys of finished calls, each with what its logs tell of it and with who hears of them.

One statement for all that live and one more where some do not: a call may end after its key was deleted, and its
log goes where the key's logs went.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Subquery, Text, cast, func, null, or_, select, union_all

from app.domain.windows import Calendar
from app.models import deleted_keys, key_secrets, keys, teams, users
from app.services.keys.key_rows import archived_view_of, select_keys, view_of
from app.services.keys.key_views import KeyView
from app.services.rows.rows import among


@dataclass(frozen=True, slots=True)
class LoggedKey:
    """A key; `organization_id` is the one that it counts in, `fields` what is told of it, by the wire's names."""

    key_id: str
    team_id: str | None
    organization_id: str | None
    metadata: Mapping[str, Any]
    team_metadata: Mapping[str, Any]
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedKeys:
    """By the key's id, and by whichever of its tokens it was asked for."""

    by_id: Mapping[str, LoggedKey]
    by_token: Mapping[str, LoggedKey]


def load(
    connection: Connection,
    tokens: Collection[str],
    key_ids: Collection[str],
    sees: Callable[[LoggedKey], bool],
    calendar: Calendar,
    now: datetime,
) -> LoggedKeys:
    """The keys that these digests open at `now`, in grace too, and those of these ids; else as they were deleted.

    Those named by a digest only where the caller `sees` them: the number of statements must not tell one that is
    out of sight from one that is not there.
    """
    if not tokens and not key_ids:
        return LoggedKeys({}, {})
    wanted = _wanted(connection, sorted(tokens), sorted(key_ids), now)
    statement = _around(select_keys().add_columns(wanted.c.token.label("asked")), keys).join(
        wanted, wanted.c.key_id == keys.c.key_id
    )
    live = _read(connection.execute(statement).mappings(), lambda row: view_of(row, calendar, now), sees)
    missing_tokens, missing_ids = set(tokens) - set(live.by_token), set(key_ids) - set(live.by_id)
    if not missing_tokens and not missing_ids:
        return live
    archived = _around(select(deleted_keys, deleted_keys.c.token.label("asked")), deleted_keys).where(
        or_(
            deleted_keys.c.token.in_(among(connection, sorted(missing_tokens))),
            deleted_keys.c.key_id.in_(among(connection, sorted(missing_ids))),
        )
    )
    gone = _read(connection.execute(archived).mappings(), lambda row: archived_view_of(row, now), sees)
    return LoggedKeys({**gone.by_id, **live.by_id}, {**gone.by_token, **live.by_token})


def _wanted(connection: Connection, tokens: list[str], key_ids: list[str], now: datetime) -> Subquery:
    """The ids of live keys, each beside the token that it was asked for by."""
    opened = select(key_secrets.c.key_id, key_secrets.c.token).where(
        key_secrets.c.token.in_(among(connection, tokens)),
        or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > now),
    )
    named = select(keys.c.key_id, cast(null(), Text)).where(keys.c.key_id.in_(among(connection, key_ids)))
    return union_all(opened, named).subquery("wanted")


def _around(statement: Select[Any], key: Any) -> Select[Any]:
    """With the rows of its team and its owner."""
    return (
        statement.add_columns(
            teams.c.team_alias.label("team.team_alias"),
            teams.c.metadata.label("team.metadata"),
            func.coalesce(teams.c.organization_id, key.c.organization_id).label("team.organization_id"),
            users.c.user_email.label("user.user_email"),
        )
        .outerjoin(teams, teams.c.team_id == key.c.team_id)
        .outerjoin(users, users.c.user_id == key.c.user_id)
    )


def _read(
    rows: Iterable[Mapping[Any, Any]],
    view: Callable[[Mapping[Any, Any]], KeyView],
    sees: Callable[[LoggedKey], bool],
) -> LoggedKeys:
    by_id: dict[str, LoggedKey] = {}
    by_token: dict[str, LoggedKey] = {}
    for row in rows:
        key_id = row["key_id"]
        if key_id not in by_id:
            by_id[key_id] = _logged_key(row, view(row))
        if row["asked"] is not None and sees(by_id[key_id]):
            by_token[row["asked"]] = by_id[key_id]
    return LoggedKeys(by_id, by_token)


def _logged_key(row: Mapping[Any, Any], view: KeyView) -> LoggedKey:
    around = {
        "organization_id": row["team.organization_id"],
        "team_alias": row["team.team_alias"],
        "user_email": row["user.user_email"],
    }
    return LoggedKey(
        key_id=view.key_id,
        team_id=view.columns["team_id"],
        organization_id=around["organization_id"],
        metadata=view.columns["metadata"] or {},
        team_metadata=row["team.metadata"] or {},
        fields={**view.fields(), **around},
    )
