"""Keys in SQL: one statement that reads a key with all that belongs to it, and the ways to name one.

Every reader of a key (info, list, update, delete, jobs) goes through `select_keys` and `view_of`, so all of them
see the same spend in the same window.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select, union_all
from sqlalchemy.sql.selectable import FromClause

from app.clock import iso
from app.domain import minting
from app.domain.budgets import running_limits
from app.domain.limits import own_terms
from app.domain.spend import Spend, spend_of
from app.domain.windows import Calendar, window_of
from app.models import budget_state, budgets, deleted_keys, key_secrets, keys, object_permissions
from app.services.accounts import spends
from app.services.budgets.budget_views import tier_fields
from app.services.keys.key_views import KeyView
from app.services.rows.rows import labelled, own, part

_LABELLED = [*labelled({"tier": budgets, "permission": object_permissions}), *spends.account_columns()]


def select_keys() -> Select[Any]:
    """Live keys with their current secret, tier, spend and object permission."""
    return select(keys, key_secrets.c.token, key_secrets.c.key_name, *_LABELLED).select_from(
        keys.join(key_secrets, and_(key_secrets.c.key_id == keys.c.key_id, key_secrets.c.revoke_at.is_(None)))
        .outerjoin(budget_state, spends.of_state("key", keys.c.key_id))
        .outerjoin(budgets, budgets.c.budget_id == keys.c.budget_id)
        .outerjoin(
            object_permissions,
            object_permissions.c.object_permission_id == keys.c.object_permission_id,
        )
    )


# Drawn once: nearly every request reads a key so.
_WANTED = keys.c.key_id.in_(bindparam("key_ids", expanding=True))
_HELD = select(keys.c.key_id).where(_WANTED).order_by(keys.c.key_id).with_for_update()
_NAMED = select(key_secrets.c.token, key_secrets.c.key_id).where(
    key_secrets.c.token.in_(bindparam("tokens", expanding=True)),
    or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > bindparam("now")),
)
_LOADED = select_keys().where(_WANTED).order_by(keys.c.key_id)


def view_of(row: Mapping[Any, Any], calendar: Calendar, now: datetime) -> KeyView:
    """The view of a row of `select_keys` at `now`."""
    tier = part(row, "tier", budgets, "budget_id")
    return KeyView(
        key_id=row["key_id"],
        token=row["token"],
        key_name=row["key_name"],
        columns=own(row, keys) | {"budget_limits": running_limits(row["budget_limits"], calendar, now)},
        spend=spend_of(spends.account_part(row), own_terms(row, tier), calendar, now),
        seen_at=now,
        tier=tier_fields(tier, calendar, now),
        object_permission=part(row, "permission", object_permissions, "object_permission_id"),
    )


def archived_view_of(row: Mapping[Any, Any], now: datetime) -> KeyView:
    """The view of a row of the archive: the key as it was when it was deleted."""
    columns = {column.name: row[column.name] for column in keys.columns if column.name in deleted_keys.c}
    return KeyView(
        key_id=row["key_id"],
        token=row["token"],
        key_name=row["key_name"],
        columns={**columns, "object_permission_id": (row["object_permission"] or {}).get("object_permission_id")},
        spend=_archived_spend(row),
        seen_at=now,
        tier=row["litellm_budget_table"],
        object_permission=row["object_permission"],
        deletion={
            "id": str(row["id"]),
            "deleted_at": iso(row["deleted_at"]),
            "deleted_by": row["deleted_by"],
            "deleted_by_api_key": row["deleted_by_key_id"],
            "litellm_changed_by": row["changed_by"],
        },
    )


def _archived_spend(row: Mapping[Any, Any]) -> Spend:
    window = window_of(row["window_start"], row["budget_reset_at"])
    return Spend(row["spend_nanos"], row["total_spend_nanos"], window)


def effective_duration(key: Mapping[Any, Any], tier: Mapping[str, Any] | None) -> str | None:
    """The spelling of the key's window: its own, else its tier's."""
    own: str | None = key["budget_duration"]
    return own if own is not None or tier is None else tier["budget_duration"]


def load(
    connection: Connection, key_ids: Iterable[str], calendar: Calendar, now: datetime, *, lock: bool = False
) -> list[KeyView]:
    """The live keys among these ids, in the order of their ids; `lock` holds them until the transaction ends."""
    wanted = {"key_ids": list(key_ids)}
    if lock:
        # A statement of its own: one that had to wait would see what is joined to the key as it was before.
        connection.execute(_HELD, wanted).all()
    return [view_of(row, calendar, now) for row in connection.execute(_LOADED, wanted).mappings()]


def tokens_of(connection: Connection, table: FromClause, ids: Sequence[Any]) -> list[str]:
    """The hashes of live keys by their ids, or of archived ones, in the order of the ids."""
    if table is deleted_keys:
        archive = deleted_keys.c
        statement = select(archive.id.label("identity"), archive.token).where(archive.id.in_(ids))
    else:
        statement = select(key_secrets.c.key_id.label("identity"), key_secrets.c.token).where(
            key_secrets.c.key_id.in_(ids), key_secrets.c.revoke_at.is_(None)
        )
    found = {row.identity: row.token for row in connection.execute(statement)}
    return [found[identity] for identity in ids if identity in found]


def archived(connection: Connection, ids: Sequence[int], now: datetime) -> list[KeyView]:
    """Deleted keys by their ids in the archive, in the order of the ids."""
    rows = connection.execute(select(deleted_keys).where(deleted_keys.c.id.in_(ids))).mappings()
    found = {row["id"]: archived_view_of(row, now) for row in rows}
    return [found[identity] for identity in ids if identity in found]


def newest(
    connection: Connection, where: ColumnElement[bool], limit: int, calendar: Calendar, now: datetime
) -> list[KeyView]:
    """The live keys that match, newest first, so many at the most."""
    statement = select_keys().where(where).order_by(keys.c.created_at.desc(), keys.c.key_id.desc()).limit(limit)
    return [view_of(row, calendar, now) for row in connection.execute(statement).mappings()]


def newest_of_each(
    connection: Connection,
    groups: Sequence[ColumnElement[bool]],
    limit: int,
    calendar: Calendar,
    now: datetime,
) -> list[KeyView]:
    """The live keys that match one of the groups, newest first, so many of each at the most; one statement."""
    if not groups or not limit:
        return []
    order = (keys.c.created_at.desc(), keys.c.key_id.desc())
    # Each walks an index as far as it has to: a window over all keys of the groups would read every one.
    runs = [select(keys.c.key_id).where(group).order_by(*order).limit(limit).subquery() for group in groups]
    chosen = union_all(*(select(run.c.key_id) for run in runs))
    statement = select_keys().where(keys.c.key_id.in_(chosen)).order_by(*order)
    return [view_of(row, calendar, now) for row in connection.execute(statement).mappings()]


def ids_of_references(connection: Connection, references: Sequence[str], now: datetime) -> dict[str, str]:
    """Which live key each reference (a plaintext or a hash, in grace too) names; unknown ones are left out."""
    tokens = {reference: minting.token_of(reference) for reference in references}
    rows = connection.execute(_NAMED, {"tokens": set(tokens.values()), "now": now})
    found = {row.token: row.key_id for row in rows}
    return {reference: found[token] for reference, token in tokens.items() if token in found}


def ids_of_aliases(connection: Connection, aliases: Sequence[str]) -> dict[str, str]:
    """Which live key each alias names; unknown ones are left out."""
    rows = connection.execute(select(keys.c.key_alias, keys.c.key_id).where(keys.c.key_alias.in_(set(aliases))))
    return {row.key_alias: row.key_id for row in rows}
