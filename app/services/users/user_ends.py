"""The end of users: what the API calls delete. Their keys, memberships, tiers and accounts go with them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, delete, literal, select, union, union_all

from app.db import Database
from app.domain import access
from app.domain.access import Caller, Refusal, UserTarget
from app.domain.scopes import ScopeKind
from app.domain.windows import Calendar
from app.errors import Conflict, InvalidRequest
from app.models import audit as audit_rows
from app.models import keys, organization_members, organizations, team_members, teams, users
from app.services.access.refusals import enforce
from app.services.accounts import account_ends
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.keys import key_ends, key_relations
from app.services.keys.key_names import LATELY
from app.services.organizations.organization_views import OrganizationMemberView
from app.services.rows.rows import paged
from app.services.teams import team_rows
from app.services.teams.team_rows import MEMBER_ID
from app.services.teams.team_views import MemberView
from app.services.users import user_rows
from app.services.users.users import user_not_found
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class _Memberships:
    """What some users belong to."""

    teams: Sequence[MemberView]
    organizations: Sequence[OrganizationMemberView]

    @property
    def groups(self) -> Iterator[tuple[str, str]]:
        yield from (("organization", view.columns["organization_id"]) for view in self.organizations)
        yield from (("team", view.team_id) for view in self.teams)

    @property
    def tiers(self) -> set[str]:
        """Those that may be a member's own."""
        in_teams = {
            view.tier["budget_id"] for view in self.teams if view.tier is not None and not view.shares_tier
        }
        return in_teams | {view.columns["budget_id"] for view in self.organizations} - {None}


class UserEnds:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def delete(self, act: Act, user_ids: Sequence[str]) -> int:
        """Remove these users and archive their keys, all of them or none; answers how many they are.

        Raises InvalidRequest (nobody is named), NotFound where one is unknown, Forbidden, Conflict (one joined
        something at the same moment) and StoreUnavailable, without any change, and WriteStands. Sent again, it
        raises NotFound, but not before it has announced those that were deleted lately: so a WriteStands is made
        good.
        """
        wanted = sorted(set(user_ids))
        if not wanted:
            raise InvalidRequest("No user id passed in", "user_ids")
        with self._database.read() as connection:
            refusals = _refusals(act.caller, wanted, _targets(connection, wanted))
            unknown = [user_id for user_id, refusal in refusals.items() if refusal is access.HIDDEN]
            gone = _deleted_lately(connection, act, unknown) if unknown else []
        if gone:
            self._policies.publish([policies.user(user_id) for user_id in gone])
        _enforce(refusals)
        # A user stands in the versions of each of its keys: they need no mark of their own.
        with (
            self._policies.long_change([policies.user(user_id) for user_id in wanted]) as announcement,
            self._database.transaction() as transaction,
        ):
            held = _hold(transaction, wanted)
            _enforce(_refusals(act.caller, wanted, _targets(transaction, wanted)))
            self._remove(transaction, act, wanted, held, announcement.renew)
            announcement.before_commit()
        return len(wanted)

    def _remove(
        self,
        transaction: Connection,
        act: Act,
        user_ids: Sequence[str],
        held: frozenset[tuple[str, str]],
        renew: Callable[[], None],
    ) -> None:
        closed = union_all(
            select(literal(ScopeKind.MEMBER.value), MEMBER_ID).where(team_members.c.user_id.in_(user_ids)),
            *(
                select(literal(kind.value), users.c.user_id).where(users.c.user_id.in_(user_ids))
                for kind in (ScopeKind.USER, ScopeKind.USER_MODEL)
            ),
        )
        account_ends.hold(transaction, closed)
        key_ends.archive_all(transaction, act, keys.c.user_id.in_(user_ids), self._calendar, renew)
        views = user_rows.load(transaction, users.c.user_id.in_(user_ids), self._calendar, act.at)
        left = self._memberships(transaction, act, user_ids)
        if not held.issuperset(left.groups):
            raise Conflict("One of the users joined something at the same moment. Send it again.", "user_ids")
        tiers = [*paged(left.tiers)]
        for page in tiers:
            budget_rows.locked(transaction, page)
        account_ends.close(transaction, act, closed)
        for table in (team_members, organization_members, users):
            transaction.execute(delete(table).where(table.c.user_id.in_(user_ids)))
        for page in tiers:
            budget_rows.remove_unlinked(transaction, page)
        key_relations.drop_permissions(transaction, list(views.values()))
        _record(transaction, act, left)
        deleted = [Changed(user_id, view.fields(), None) for user_id, view in views.items()]
        audit.record(transaction, act, "delete", "user", deleted)

    def _memberships(self, transaction: Connection, act: Act, user_ids: Sequence[str]) -> _Memberships:
        in_teams = team_members.c.user_id.in_(user_ids)
        in_organizations = select(organization_members).where(organization_members.c.user_id.in_(user_ids))
        rows = transaction.execute(in_organizations).mappings()
        return _Memberships(
            team_rows.members(transaction, in_teams, self._calendar, act.at),
            [OrganizationMemberView(dict(row), None) for row in rows],
        )


def _refusals(caller: Caller, user_ids: Sequence[str], targets: Mapping[str, UserTarget]) -> dict[str, Refusal]:
    """Which of these users the caller may not delete, and why; one that is not there is hidden."""
    found = {
        user_id: access.may_delete_user(caller, targets[user_id]) if user_id in targets else access.HIDDEN
        for user_id in user_ids
    }
    return {user_id: refusal for user_id, refusal in found.items() if refusal is not None}


def _enforce(refusals: Mapping[str, Refusal]) -> None:
    """Raise the error of the first refusal, of one that is hidden before all others."""
    for user_id, refusal in sorted(refusals.items(), key=lambda item: item[1] is not access.HIDDEN):
        enforce(refusal, user_not_found(user_id))


def _targets(connection: Connection, user_ids: Sequence[str]) -> dict[str, UserTarget]:
    """The users among these ids that exist, with the organizations that they and their teams belong to."""
    in_organizations = select(organization_members.c.user_id, organization_members.c.organization_id)
    in_teams = select(team_members.c.user_id, teams.c.organization_id).select_from(
        team_members.join(teams, teams.c.team_id == team_members.c.team_id)
    )
    belonging = union(
        in_organizations.where(organization_members.c.user_id.in_(user_ids)),
        in_teams.where(team_members.c.user_id.in_(user_ids)),
    )
    inside: dict[str, set[str | None]] = {}
    for user_id, organization_id in connection.execute(belonging):
        inside.setdefault(user_id, set()).add(organization_id)
    found = connection.execute(select(users.c.user_id, users.c.user_role).where(users.c.user_id.in_(user_ids)))
    return {
        row.user_id: UserTarget(row.user_id, row.user_role, frozenset(inside.get(row.user_id, ())))
        for row in found
    }


def _deleted_lately(connection: Connection, act: Act, user_ids: Sequence[str]) -> Sequence[str]:
    """Those of these users that were deleted a moment ago, as far as it is the caller's business."""
    found = select(audit_rows.c.entity_id).where(
        audit_rows.c.entity == "user",
        audit_rows.c.entity_id.in_(user_ids),
        audit_rows.c.action == "delete",
        audit_rows.c.at > act.at - LATELY,
    )
    if not act.caller.sees_all:
        found = found.where(audit_rows.c.actor_user_id == act.caller.user_id)
    return connection.execute(found).scalars().all()


def _hold(transaction: Connection, user_ids: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Hold the users and, before them, what they belong to, which it answers: no membership changes any more."""
    in_organizations = select(organization_members.c.organization_id).where(
        organization_members.c.user_id.in_(user_ids)
    )
    in_teams = select(team_members.c.team_id).where(team_members.c.user_id.in_(user_ids))
    held = [
        *(
            ("organization", name)
            for name in _held(transaction, organizations.c.organization_id, in_organizations)
        ),
        *(("team", name) for name in _held(transaction, teams.c.team_id, in_teams)),
    ]
    chosen = select(users.c.user_id).where(users.c.user_id.in_(user_ids)).order_by(users.c.user_id)
    transaction.execute(chosen.with_for_update()).all()
    return frozenset(held)


def _held(transaction: Connection, identity: ColumnElement[str], named: Select[str]) -> Sequence[str]:
    chosen = select(identity).where(identity.in_(named)).order_by(identity)
    # What only refers to them goes on meanwhile.
    return transaction.execute(chosen.with_for_update(key_share=True)).scalars().all()


def _record(transaction: Connection, act: Act, left: _Memberships) -> None:
    """Each team and organization loses a member, as if it were taken out there."""
    of_teams = [Changed(view.team_id, {"member": view.fields()}, {"member": None}) for view in left.teams]
    audit.record(transaction, act, "member_delete", "team", of_teams)
    of_organizations = [
        Changed(view.columns["organization_id"], {"member": view.fields()}, {"member": None})
        for view in left.organizations
    ]
    audit.record(transaction, act, "member_delete", "organization", of_organizations)
