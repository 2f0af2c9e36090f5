"""What a key refers to: its tier, its organization, its team's members and its own object permission."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, and_, delete, insert, select, update

from app.domain.access import Caller
from app.models import budgets, object_permissions, organization_members, organizations, team_members
from app.services.refusals import unknown_reference

_LISTS = frozenset(column.name for column in object_permissions.columns if not column.nullable)


def check(transaction: Connection, caller: Caller, key: Mapping[str, Any], sent: Mapping[str, Any]) -> str | None:
    """Refuse a tier or an organization that does not exist, and return the spelling of the key's window.

    `key` holds the columns as they will be. Raises InvalidRequest naming the field.
    """
    tier_duration = None
    if key.get("budget_id") is not None:
        tier = transaction.execute(
            # Held until the end: a tier that changes its window meanwhile would not know of this key's.
            select(budgets.c.budget_duration)
            .where(budgets.c.budget_id == key["budget_id"])
            .with_for_update(read=True)
        ).first()
        if tier is None:
            raise unknown_reference("budget_id")
        tier_duration = tier.budget_duration
    if sent.get("organization_id"):
        _check_organization(transaction, caller, sent["organization_id"])
    return key.get("budget_duration") or tier_duration


def _check_organization(transaction: Connection, caller: Caller, organization_id: str) -> None:
    """An organization that the caller does not belong to answers like one that does not exist."""
    row = transaction.execute(
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
        .where(organizations.c.organization_id == organization_id)
    ).first()
    if row is None or not (caller.is_admin or row.user_id is not None):
        raise unknown_reference("organization_id")


def is_member(transaction: Connection, team_id: str, user_id: str | None) -> bool:
    found = transaction.execute(
        select(team_members.c.user_id).where(team_members.c.team_id == team_id, team_members.c.user_id == user_id)
    ).first()
    return found is not None


def put_permission(
    transaction: Connection, stored: Mapping[str, Any] | None, sent: Mapping[str, Any] | None
) -> str | None:
    """Store an object permission over the one there is, entry by entry; null and {} mean none.

    The null of an entry is its column's default.
    """
    if not sent:
        return None
    sent = {name: [] if value is None and name in _LISTS else value for name, value in sent.items()}
    if stored is not None:
        transaction.execute(
            update(object_permissions)
            .where(object_permissions.c.object_permission_id == stored["object_permission_id"])
            .values(sent)
        )
        return str(stored["object_permission_id"])
    permission_id = str(uuid.uuid4())
    transaction.execute(insert(object_permissions).values({"object_permission_id": permission_id, **sent}))
    return permission_id


class HoldsPermission(Protocol):
    """A view of what has an object permission of its own: a key, a team, a user or an organization."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


def drop_permissions(transaction: Connection, views: Sequence[HoldsPermission]) -> None:
    """Remove the object permissions that belonged to these alone."""
    ids = [view.columns["object_permission_id"] for view in views if view.columns["object_permission_id"]]
    if ids:
        transaction.execute(delete(object_permissions).where(object_permissions.c.object_permission_id.in_(ids)))
