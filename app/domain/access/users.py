"""Which users a caller may list, and whom it may delete."""

from collections.abc import Collection
from dataclasses import dataclass

from app.domain.access.callers import HIDDEN, Caller, Kind, Refusal, Role
from app.domain.access.identities import may_see_user


@dataclass(frozen=True, slots=True)
class UserTarget:
    """The part of a user that decides who may delete it.

    `organization_ids` are those it belongs to, and those of its teams, where None stands for a team under none.
    """

    user_id: str
    role: str | None
    organization_ids: frozenset[str | None] = frozenset()


def may_list_users(caller: Caller, asked: Collection[str]) -> Refusal | None:
    """Whether the caller may list users at all, and any of the organizations that it asks for."""
    if caller.sees_all:
        return None
    if not caller.organization_admin_of:
        return Refusal(Kind.FORBIDDEN, "Only proxy admins and organization admins can list users.")
    if asked and caller.organization_admin_of.isdisjoint(asked):
        return Refusal(
            Kind.FORBIDDEN, "You are no admin of the organizations that are asked for.", "organization_ids"
        )
    return None


def organizations_listed(caller: Caller, asked: Collection[str]) -> frozenset[str] | None:
    """The organizations whose members a list holds for the caller; None where it holds everybody."""
    if caller.sees_all:
        return frozenset(asked) or None
    return caller.organization_admin_of.intersection(asked) if asked else caller.organization_admin_of


def may_delete_user(caller: Caller, target: UserTarget) -> Refusal | None:
    """Whether the caller may delete this user with all of its keys and memberships.

    An admin of organizations may where nothing of the user lies outside of them.
    """
    if caller.is_admin:
        return None
    inside = target.organization_ids & caller.organization_admin_of
    if not inside and not may_see_user(caller, target.user_id):
        return HIDDEN
    if not inside or target.organization_ids - caller.organization_admin_of:
        return Refusal(
            Kind.FORBIDDEN,
            f"User {target.user_id} is not within your organizations alone. Only proxy admins can delete it.",
            "user_ids",
        )
    if Role.of(target.role).sees_all:
        return Refusal(
            Kind.FORBIDDEN, f"Only proxy admins can delete a user with the role {target.role}.", "user_ids"
        )
    return None
