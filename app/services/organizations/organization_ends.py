"""The end of an organization: what the API calls delete. All that belongs to it goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, Select, delete, literal, select

from app.db import Database
from app.domain import access
from app.domain.scopes import ScopeKind
from app.domain.windows import Calendar
from app.errors import Conflict, InvalidRequest
from app.models import deleted_keys, keys, organization_members, organizations, teams
from app.services.access.refusals import enforce
from app.services.accounts import account_ends
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.keys import key_ends, key_relations
from app.services.keys.key_names import LATELY
from app.services.organizations import organization_rows
from app.services.organizations.organization_views import OrganizationView
from app.services.organizations.organizations import organization_not_found
from app.services.rows.rows import paged
from app.services.teams import team_ends
from app.store import policies
from app.store.policies import Announcement, Entity, Policies


@dataclass(frozen=True, slots=True)
class _Bearing:
    """What the end of some organizations bears on beside what counts in them.

    A key counts in its team's organization: one that names another is announced by itself. Administering an
    organization is a right of the user's keys.
    """

    key_ids: frozenset[str]
    user_ids: frozenset[str]

    def within(self, announced: "_Bearing") -> bool:
        return self.key_ids <= announced.key_ids and self.user_ids <= announced.user_ids

    def entities(self) -> list[Entity]:
        return [*map(policies.key, sorted(self.key_ids)), *map(policies.user, sorted(self.user_ids))]


class OrganizationEnds:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def delete(self, act: Act, organization_ids: Sequence[str]) -> list[OrganizationView]:
        """Remove these organizations, all of them or none; answers them as they were.

        Their teams and keys, and keys that name one of them, are archived; memberships, accounts and the tiers
        that nothing else is linked to go. Users stay. Raises RoleRefused, InvalidRequest (none is named), NotFound
        where one is unknown, Conflict where somebody else adds to one at the same moment, and StoreUnavailable,
        all of them without any change, and WriteStands. Sent again, it raises NotFound, but not before it has
        announced what went lately: so a WriteStands is made good.
        """
        enforce(access.may_delete_organizations(act.caller))
        wanted = list(dict.fromkeys(organization_ids))
        if not wanted:
            raise InvalidRequest("No organization id passed in", "organization_ids")
        with self._database.read() as connection:
            announced = _bearing(connection, wanted)
            unknown = _unknown(connection, wanted)
            gone = _deleted_lately(connection, act, unknown) if unknown else []
        if unknown:
            self._policies.publish([*map(policies.organization, unknown), *map(policies.key, gone)])
            raise organization_not_found(unknown[0])
        entities = [*map(policies.organization, wanted), *announced.entities()]
        with (
            self._policies.long_change(entities) as announcement,
            self._database.transaction() as transaction,
        ):
            removed = self._remove(transaction, act, wanted, announced, announcement)
            announcement.before_commit()
        return removed

    def _load(self, connection: Connection, act: Act, wanted: Sequence[str]) -> list[OrganizationView]:
        """These organizations in their order; raises NotFound."""
        chosen = organizations.c.organization_id.in_(wanted)
        loaded = organization_rows.load(connection, chosen, self._calendar, act.at)
        found = {view.organization_id: view for view in loaded}
        for organization_id in wanted:
            if organization_id not in found:
                raise organization_not_found(organization_id)
        return [found[organization_id] for organization_id in wanted]

    def _remove(
        self,
        transaction: Connection,
        act: Act,
        wanted: Sequence[str],
        announced: _Bearing,
        announcement: Announcement,
    ) -> list[OrganizationView]:
        chosen = organizations.c.organization_id.in_(wanted)
        # Whoever puts a team, a key or a member into one of them waits, and finds it gone.
        _hold(transaction, organizations.c.organization_id, chosen)
        views = self._load(transaction, act, wanted)
        if not _bearing(transaction, wanted).within(announced):
            raise Conflict(
                "The organization was changed by somebody else at the same moment. Send it again.",
                "organization_ids",
            )
        team_ids = _hold(transaction, teams.c.team_id, teams.c.organization_id.in_(wanted))
        account_ends.hold(transaction, _accounts(wanted))
        team_ends.archive(transaction, act, team_ids, self._calendar, announcement.renew)
        named = keys.c.organization_id.in_(wanted)
        key_ends.archive_all(transaction, act, named, self._calendar, announcement.renew)
        _remove_rows(transaction, act, views)
        return views


def _accounts(ids: Sequence[str]) -> Select[str, str]:
    """Scope and id of their accounts."""
    chosen = organizations.c.organization_id.in_(ids)
    return select(literal(ScopeKind.ORGANIZATION.value), organizations.c.organization_id).where(chosen)


def _remove_rows(transaction: Connection, act: Act, views: Sequence[OrganizationView]) -> None:
    """Remove organizations that have no teams and no keys any more, with what belonged to them alone."""
    ids = [view.organization_id for view in views]
    chosen, members = organizations.c.organization_id.in_(ids), organization_members.c.organization_id.in_(ids)
    linked = select(organization_members.c.budget_id).where(members, organization_members.c.budget_id.is_not(None))
    tiers = {*transaction.execute(linked).scalars(), *(view.columns["budget_id"] for view in views)}
    for page in paged(tiers):
        budget_rows.locked(transaction, page)
    account_ends.close(transaction, act, _accounts(ids))
    transaction.execute(delete(organization_members).where(members))
    transaction.execute(delete(organizations).where(chosen))
    for page in paged(tiers):
        budget_rows.remove_unlinked(transaction, page)
    key_relations.drop_permissions(transaction, views)
    changes = [Changed(view.organization_id, view.fields(), None) for view in views]
    audit.record(transaction, act, "delete", "organization", changes)
    delivery.enqueue(transaction, [_event(view) for view in views], act.at)


def _bearing(connection: Connection, wanted: Sequence[str]) -> _Bearing:
    elsewhere = (
        select(keys.c.key_id)
        .join(teams, teams.c.team_id == keys.c.team_id)
        .where(keys.c.organization_id.in_(wanted), teams.c.organization_id.not_in(wanted))
    )
    administering = select(organization_members.c.user_id).where(
        organization_members.c.organization_id.in_(wanted), organization_members.c.user_role == "org_admin"
    )
    return _Bearing(*(frozenset(connection.execute(found).scalars()) for found in (elsewhere, administering)))


def _unknown(connection: Connection, wanted: Sequence[str]) -> list[str]:
    known = select(organizations.c.organization_id).where(organizations.c.organization_id.in_(wanted))
    found = set(connection.execute(known).scalars())
    return [organization_id for organization_id in wanted if organization_id not in found]


def _deleted_lately(connection: Connection, act: Act, organization_ids: Sequence[str]) -> Sequence[str]:
    """The keys that named one of these and counted in another, of those that were deleted a moment ago."""
    found = (
        select(deleted_keys.c.key_id)
        .join(teams, teams.c.team_id == deleted_keys.c.team_id)
        .where(deleted_keys.c.organization_id.in_(organization_ids), deleted_keys.c.deleted_at > act.at - LATELY)
    )
    return connection.execute(found).scalars().all()


def _hold(transaction: Connection, identity: Column[str], chosen: ColumnElement[bool]) -> Sequence[str]:
    """The ids of the rows that match, held until the transaction ends."""
    return transaction.execute(select(identity).where(chosen).order_by(identity).with_for_update()).scalars().all()


def _event(view: OrganizationView) -> Event:
    return Event("organization_deleted", "organization", view.organization_id, view.event_fields())
