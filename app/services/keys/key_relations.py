"""What a key refers to: its tier, its organization, its team's members and its own object permission."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from app.domain.access import Caller
from app.models import budgets, object_permissions, organization_members, organizations, team_members
from app.services.access.refusals import unknown_reference
from app.services.rows.rows import tuple_among

_LISTS = frozenset(
    column.name for column in object_permissions.columns if not column.nullable and not column.primary_key
)


@dataclass(frozen=True, slots=True)
class Relations:
    """Of what keys refer to, that which exists for the caller; a tier with its window and models' budgets."""

    tiers: Mapping[str, Mapping[str, Any]]
    organizations: AbstractSet[str]

    def check(self, key: Mapping[str, Any], sent: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Refuse a tier or an organization that does not exist, and return the key's tier, if it has any.

        `key` holds the columns as they will be. Raises InvalidRequest naming the field.
        """
        tier = None
        if key.get("budget_id") is not None:
            if key["budget_id"] not in self.tiers:
                raise unknown_reference("budget_id")
            tier = self.tiers[key["budget_id"]]
        if sent.get("organization_id") and sent["organization_id"] not in self.organizations:
            raise unknown_reference("organization_id")
        return tier


def related(
    transaction: Connection,
    caller: Caller,
    budget_ids: Iterable[str | None],
    organization_ids: Iterable[str | None],
) -> Relations:
    """Read what any number of keys are to refer to: a statement for each kind, where there is any."""
    return Relations(
        _tiers(transaction, {budget_id for budget_id in budget_ids if budget_id}),
        _organizations(transaction, caller, {name for name in organization_ids if name}),
    )


def _tiers(transaction: Connection, budget_ids: AbstractSet[str]) -> dict[str, Mapping[str, Any]]:
    if not budget_ids:
        return {}
    rows = transaction.execute(
        # Held until the end: a tier that changes its window meanwhile would not know of this key's.
        select(budgets.c.budget_id, budgets.c.budget_duration, budgets.c.model_max_budget)
        .where(budgets.c.budget_id.in_(budget_ids))
        .order_by(budgets.c.budget_id)
        .with_for_update(read=True)
    )
    return {row["budget_id"]: dict(row) for row in rows.mappings()}


def _organizations(transaction: Connection, caller: Caller, organization_ids: AbstractSet[str]) -> set[str]:
    """An organization that the caller does not belong to is left out like one that does not exist."""
    if not organization_ids:
        return set()
    rows = transaction.execute(
        select(organizations.c.organization_id, organization_members.c.user_id)
        .select_from(
            organizations.outerjoin(
                organization_members,
                and_(
                    organization_members.c.organization_id == organizations.c.organization_id,
                    organization_members.c.user_id == caller.user_id,
                ),
            )
        )
        .where(organizations.c.organization_id.in_(organization_ids))
    )
    return {row.organization_id for row in rows if caller.is_admin or row.user_id is not None}


def members(transaction: Connection, wanted: AbstractSet[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these pairs of team and user that are memberships."""
    if not wanted:
        return set()
    pair = (team_members.c.team_id, team_members.c.user_id)
    rows = transaction.execute(select(*pair).where(tuple_among(transaction, pair, sorted(wanted))))
    return {(row.team_id, row.user_id) for row in rows}


def put_permission(
    transaction: Connection, stored: Mapping[str, Any] | None, sent: Mapping[str, Any] | None
) -> str | None:
    """Store one object permission, as `put_permissions` does."""
    (permission_id,) = put_permissions(transaction, [(stored, sent)])
    return permission_id


def put_permissions(
    transaction: Connection, wanted: Sequence[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]
) -> list[str | None]:
    """Store what was sent over the object permissions there are, entry by entry, and return their ids.

    A null and {} mean none; the null of an entry is its column's default. One statement makes all new ones,
    another changes all that there were.
    """
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    ids: list[str | None] = []
    for stored, sent in wanted:
        if not sent:
            ids.append(None)
            continue
        row = _permission(stored, sent)
        ids.append(row["object_permission_id"])
        (new if stored is None else changed).append(row)
    if new:
        transaction.execute(insert(object_permissions), new)
    if changed:
        transaction.execute(
            update(object_permissions).where(object_permissions.c.object_permission_id == bindparam("of_id")),
            [{"of_id": row["object_permission_id"], **row} for row in changed],
        )
    return ids


def _permission(stored: Mapping[str, Any] | None, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The whole row as it will be."""
    defaults: dict[str, Any] = {
        column.name: [] if column.name in _LISTS else None for column in object_permissions.columns
    }
    before = {**defaults, "object_permission_id": str(uuid.uuid4())} if stored is None else stored
    return {**before, **{name: defaults[name] if value is None else value for name, value in sent.items()}}


class HoldsPermission(Protocol):
    """A view of what has an object permission of its own: a key, a team, a user or an organization."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


def drop_given_up(transaction: Connection, before: HoldsPermission, columns: Mapping[str, Any]) -> None:
    """Remove the object permission of what no longer has one, by the columns that were written of it."""
    if "object_permission_id" in columns and columns["object_permission_id"] is None:
        drop_permissions(transaction, [before])


def drop_permissions(transaction: Connection, views: Sequence[HoldsPermission]) -> None:
    """Remove the object permissions that belonged to these alone."""
    ids = [view.columns["object_permission_id"] for view in views if view.columns["object_permission_id"]]
    if ids:
        transaction.execute(delete(object_permissions).where(object_permissions.c.object_permission_id.in_(ids)))
