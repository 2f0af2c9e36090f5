"""What a caller may see of teams, users and organizations, and do to them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from app.domain.access.callers import HIDDEN, Caller, Kind, Refusal, Role, Standing
from app.domain.access.ceilings import lifted

# What a user may change of itself; an address is how others find and invite somebody, so it is not among them.
PERSONAL_FIELDS = frozenset({"user_alias", "metadata"})
# What checks go by in a user's metadata, and so is not the user's own to say.
RESERVED_METADATA = ("scim_active",)


def may_create_in_organization(caller: Caller, organization_id: str | None) -> Refusal | None:
    """Whether the caller may make a team or a user under this organization."""
    if caller.is_admin or organization_id in caller.organization_admin_of:
        return None
    if caller.organization_admin_of:
        return Refusal(
            Kind.FORBIDDEN, "An organization admin can create within the own organization only.", "organization_id"
        )
    return (
        None
        if caller.allowed_routes
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admin can do this.")
    )


def bounded(caller: Caller, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new key, team or user; what they leave open gets the caps of the key that makes it."""
    if caller.is_admin:
        return dict(columns)
    caps = {
        "models": list(caller.models) or None,
        "max_budget_nanos": caller.max_budget_nanos,
        "tpm_limit": caller.tpm_limit,
        "rpm_limit": caller.rpm_limit,
        "max_parallel_requests": caller.max_parallel_requests,
    }
    left_open = {name: cap for name, cap in caps.items() if cap is not None and columns.get(name) in (None, [])}
    return {**columns, **left_open}


def may_assign_role(caller: Caller, role: str | None, organization_ids: Iterable[str] = ()) -> Refusal | None:
    """Whether the caller may give a user this role, and so in these organizations."""
    if caller.is_admin:
        return None
    if role == Role.ORG_ADMIN and not caller.organization_admin_of.issuperset(organization_ids):
        return Refusal(Kind.FORBIDDEN, "Only its admins can give an organization another admin.", "user_role")
    if not Role.of(role).sees_all:
        return None
    return Refusal(Kind.FORBIDDEN, f"Only proxy admins can create users with the role {role}.", "user_role")


def may_see_team(caller: Caller, team_id: str, standing: Standing) -> bool:
    return caller.sees_all or caller.team_id == team_id or standing.is_member or standing.manages


def sees_every_key_of(caller: Caller, team_id: str, standing: Standing) -> bool:
    """Whether each key of the team is one that `may_see_key` shows; otherwise the caller sees its own at most."""
    in_service = caller.is_service_account and caller.team_id == team_id
    return caller.sees_all or standing.is_member or standing.manages or in_service


def may_create_users(caller: Caller) -> bool:
    """Whether the caller may bring a user into being by an id of its choice."""
    return caller.is_admin


def may_add_member(caller: Caller, team_id: str, standing: Standing) -> Refusal | None:
    if caller.is_admin or standing.manages:
        return None
    if not may_see_team(caller, team_id, standing):
        return HIDDEN
    return Refusal(Kind.FORBIDDEN, "Call not allowed. User not proxy admin OR team admin. route=/team/member_add")


def may_join_team(caller: Caller, joiners: Collection[tuple[str, str]], *, limited: bool) -> Refusal | None:
    """Whether one who manages nothing may add these users, each with a role, to a team that is open to everybody.

    `limited` says that the request asks for limits of their own, which are not theirs to say.
    """
    if caller.has_owner and list(joiners) == [(caller.user_id, "user")] and not limited:
        return None
    return Refusal(
        Kind.FORBIDDEN,
        "A team that is open to everybody is joined by oneself, with the role 'user' and without limits.",
        "member",
    )


def may_add_everybody(caller: Caller) -> Refusal | None:
    """Whether the caller may add all users there are, whom only administrators see."""
    return (
        None if caller.is_admin else Refusal(Kind.FORBIDDEN, "Only proxy admins can add all users.", "all_users")
    )


def may_list_teams_of(caller: Caller, user_id: str | None) -> Refusal | None:
    """Whether the caller may ask for the teams of this user; a list shows it none that it may not see anyway."""
    if not user_id or caller.sees_all or caller.organization_admin_of or user_id == caller.user_id:
        return None
    return Refusal(
        Kind.ROLE, f"Only admin users can query all teams/other teams. Your user role={caller.role}", "user_id"
    )


def may_see_user(caller: Caller, user_id: str) -> bool:
    return caller.sees_all or (caller.user_id is not None and caller.user_id == user_id)


def may_see_organization(caller: Caller, organization_id: str, *, is_member: bool) -> bool:
    return caller.sees_all or is_member or organization_id in caller.organization_admin_of


def may_update_user(
    caller: Caller, user_id: str, sent: Mapping[str, Any], stored: Mapping[str, Any]
) -> Refusal | None:
    """Whether the caller may change these fields of this user; sending back what stands there is no change.

    `stored` holds what the user's texts and metadata are at present. Limits count even where they are sent as they
    are: they are not the user's to say.
    """
    if caller.is_admin:
        return None
    if not may_see_user(caller, user_id):
        return HIDDEN
    if caller.user_id != user_id:
        return Refusal(Kind.FORBIDDEN, "Only proxy admins can change other users.")
    for field in sorted(sent.keys() - PERSONAL_FIELDS):
        if field not in stored or sent[field] != stored[field]:
            return Refusal(Kind.FORBIDDEN, f"Only proxy admins can change '{field}' of a user.", field)
    stood, stands = stored.get("metadata") or {}, sent.get("metadata") or {}
    changed = [name for name in RESERVED_METADATA if "metadata" in sent and stood.get(name) != stands.get(name)]
    if changed:
        return Refusal(
            Kind.FORBIDDEN, f"Only proxy admins can change '{changed[0]}' in a user's metadata.", "metadata"
        )
    return None


def may_update_budget(caller: Caller) -> Refusal | None:
    """Whether the caller may change or delete a tier, and so the limits of everything that is linked to it."""
    return None if caller.is_admin else Refusal(Kind.FORBIDDEN, "Only proxy admins can change a budget.")


def may_see_budgets(caller: Caller) -> Refusal | None:
    """Whether the caller may look through the tiers; a tier that caps something is shown with it."""
    if caller.sees_all:
        return None
    return Refusal(Kind.FORBIDDEN, f"Only proxy admins and viewers can list budgets. Your role={caller.role}")


def may_read_audit(caller: Caller) -> Refusal | None:
    """Whether the caller may read who did what; a route that a key was granted does not widen what it sees."""
    return (
        None
        if caller.sees_all
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admins can read the audit.")
    )


def may_read_events(caller: Caller) -> Refusal | None:
    """Whether the caller may read what was told to whom: events name keys, users and addresses of everybody."""
    return (
        None
        if caller.sees_all
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admins can read the events.")
    )


def may_read_operations(caller: Caller) -> Refusal | None:
    """Whether the caller may read how the service fares: jobs name what of everybody they have set aside."""
    return (
        None
        if caller.sees_all
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admins can read jobs and metrics.")
    )


def may_replay_events(caller: Caller) -> Refusal | None:
    """Whether the caller may have events sent again."""
    return (
        None
        if caller.is_admin
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admins can replay events.")
    )


def may_update_organization(caller: Caller, organization_id: str, *, is_member: bool) -> Refusal | None:
    """Whether the caller may change the organization at all; `may_turn_organization` says how far."""
    if caller.is_admin or organization_id in caller.organization_admin_of:
        return None
    if not may_see_organization(caller, organization_id, is_member=is_member):
        return HIDDEN
    return Refusal(
        Kind.FORBIDDEN, "You do not have access to this organization: only its admins and proxy admins change it."
    )


def may_manage_members_of(caller: Caller, organization_id: str, *, is_member: bool) -> Refusal | None:
    """Whether the caller says who belongs to the organization, and as what: its admins make others such too."""
    if caller.is_admin or organization_id in caller.organization_admin_of:
        return None
    if not may_see_organization(caller, organization_id, is_member=is_member):
        return HIDDEN
    return Refusal(
        Kind.FORBIDDEN,
        "You do not have access to this organization: only its admins and proxy admins change its members.",
    )


def may_delete_organizations(caller: Caller) -> Refusal | None:
    """Whether the caller may delete organizations; a route that a key was granted does not make it an admin."""
    if caller.is_admin:
        return None
    return Refusal(Kind.ROLE, "Authentication Error, Only proxy admins can delete organizations.")


def may_turn_organization(
    caller: Caller, sent: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Refusal | None:
    """Whether an admin of an organization may turn the columns of it and of its tier from `before` into `after`.

    It keeps the limits that others have set or lowers them; whose tier it is, is not its to say.
    """
    if caller.is_admin:
        return None
    changed = [*lifted(before, after), *sorted({"budget_id", "object_permission"} & sent.keys())]
    if changed:
        return Refusal(
            Kind.FORBIDDEN,
            f"Only proxy admins can raise or remove a limit of an organization: {', '.join(changed)}.",
            changed[0],
        )
    return None
