"""Who belongs to an organization, and as what: what the API calls member_add, member_update and member_delete."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from app.db import Database
from app.domain import access
from app.domain.organizations import member_tier
from app.domain.users import folded
from app.domain.windows import Calendar
from app.errors import Conflict, InvalidRequest, NotFound
from app.models import organization_members, users
from app.services.access.refusals import enforce, rules
from app.services.access.standings import of_organizations
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.organizations import organization_rows
from app.services.organizations.organization_views import OrganizationMemberView
from app.services.organizations.organizations import organization_not_found
from app.services.teams import newcomers
from app.services.teams.newcomers import Newcomer
from app.services.users.user_views import shown_to
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class AddedOrganizationMembers:
    """The users that joined an organization, each as the caller may see it, and their memberships."""

    organization_id: str
    users: Sequence[Mapping[str, Any]]
    memberships: Sequence[OrganizationMemberView]


class OrganizationMembers:
    """A member's role there is a right that its keys carry, so a change of it is announced as one of the user."""

    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    # --- member_add ------------------------------------------------------------------------------------------

    def member_add(self, act: Act, sent: Mapping[str, Any]) -> AddedOrganizationMembers:
        """Let one user join an organization, or several; who does not exist yet becomes a user.

        Raises InvalidRequest for one that is a member already; of several, those are passed over, so that a list
        may be sent again. Raises NotFound, InvalidRequest, Conflict, Forbidden and StoreUnavailable, all of them
        without any change, and WriteStands.
        """
        organization_id, entries = sent["organization_id"], sent["member"]
        single = isinstance(entries, Mapping)
        with rules(taken={"pk_organization_members": _changed_meanwhile()}):
            tier = member_tier(sent.get("max_budget_in_organization"))
            with self._database.read() as connection:
                _check(connection, act, organization_id)
                wanted = newcomers.resolve(connection, [entries] if single else entries)
            announced = {newcomer.user_id for newcomer in wanted}
            with (
                self._policies.change([policies.user(user_id) for user_id in sorted(announced)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                _check(transaction, act, organization_id, lock=True)
                settled = newcomers.settle(transaction, act, wanted, self._calendar)
                if not announced.issuperset(newcomer.user_id for newcomer in settled):
                    raise _changed_meanwhile()  # an address has become somebody's who is not announced
                joining = self._joining(transaction, organization_id, settled, single=single)
                added = self._add(transaction, act, organization_id, joining, tier)
                before_commit()
        return added

    def _joining(
        self, transaction: Connection, organization_id: str, settled: Sequence[Newcomer], *, single: bool
    ) -> list[Newcomer]:
        """Those who are no members yet."""
        those = _those(organization_id, [newcomer.user_id for newcomer in settled])
        present = set(transaction.execute(select(organization_members.c.user_id).where(those)).scalars())
        if single and present:
            raise InvalidRequest(f"User already in organization. user_id={settled[0].user_id}", "user_id")
        return [newcomer for newcomer in settled if newcomer.user_id not in present]

    def _add(
        self,
        transaction: Connection,
        act: Act,
        organization_id: str,
        joining: Sequence[Newcomer],
        tier: Mapping[str, Any] | None,
    ) -> AddedOrganizationMembers:
        if not joining:
            return AddedOrganizationMembers(organization_id, [], [])
        own = {newcomer.user_id: str(uuid.uuid4()) for newcomer in joining} if tier is not None else {}
        budget_rows.put(transaction, act, {budget_id: tier or {} for budget_id in own.values()})
        transaction.execute(
            insert(organization_members),
            [
                {
                    "organization_id": organization_id,
                    "user_id": newcomer.user_id,
                    "user_role": newcomer.role,
                    "budget_id": own.get(newcomer.user_id),
                    "created_at": act.at,
                    "updated_at": act.at,
                }
                for newcomer in joining
            ],
        )
        ids = [newcomer.user_id for newcomer in joining]
        added = organization_rows.members(transaction, _those(organization_id, ids), self._calendar, act.at)
        after = {"members_added": [member.fields() for member in added]}
        audit.record(transaction, act, "member_add", "organization", [Changed(organization_id, {}, after)])
        shown = [shown_to(act.caller, member.user) for member in added if member.user is not None]
        return AddedOrganizationMembers(organization_id, shown, added)

    # --- member_update and member_delete ---------------------------------------------------------------------

    def member_update(self, act: Act, sent: Mapping[str, Any]) -> OrganizationMemberView:
        """Change the role of a member, named by `user_id` or else by `user_email`, and its budget there.

        Raises NotFound, InvalidRequest, Forbidden and StoreUnavailable, all of them without any change, and
        WriteStands. Sending it again is safe.
        """
        organization_id = sent["organization_id"]
        with rules():
            tier = member_tier(sent.get("max_budget_in_organization"))
            with self._database.read() as connection:
                _check(connection, act, organization_id)
                user_id = _resolve(connection, sent)
            with (
                self._policies.change([policies.user(user_id)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                before = self._hold(transaction, act, organization_id, user_id)
                columns: dict[str, Any] = {"user_role": sent.get("role") or before.columns["user_role"]}
                unlinked = None
                if "max_budget_in_organization" in sent:
                    columns["budget_id"], unlinked = self._change_tier(transaction, act, before, tier)
                those = _those(organization_id, [user_id])
                transaction.execute(update(organization_members).where(those).values(**columns, updated_at=act.at))
                if unlinked is not None:
                    budget_rows.remove(transaction, unlinked)
                (view,) = organization_rows.members(transaction, those, self._calendar, act.at)
                change = Changed(organization_id, {"member": before.fields()}, {"member": view.fields()})
                audit.record(transaction, act, "member_update", "organization", [change])
                before_commit()
        return view

    def _change_tier(
        self, transaction: Connection, act: Act, member: OrganizationMemberView, tier: Mapping[str, Any] | None
    ) -> tuple[str | None, str | None]:
        """The tier that the member is to have, and the one that nobody will have then.

        A tier that others are linked to stays as it is.
        """
        present = member.columns["budget_id"]
        own = self._own_tier(transaction, member)
        if tier is None:
            return None, own
        if own is not None:
            budget_rows.change(transaction, act, own, tier)
            return own, None
        copied = {} if present is None else budget_rows.rows_of(transaction, [present])[present]
        budget_id = str(uuid.uuid4())
        budget_rows.put(transaction, act, {budget_id: {**budget_rows.limits_in(copied), **tier}})
        return budget_id, None

    def _own_tier(self, transaction: Connection, member: OrganizationMemberView) -> str | None:
        """The tier that the member has for itself, held; None where it has none or shares one."""
        budget_id: str | None = member.columns["budget_id"]
        if budget_id is None or not budget_rows.locked(transaction, [budget_id]):
            return None
        return None if budget_rows.is_shared(transaction, budget_id) else budget_id

    def member_delete(self, act: Act, sent: Mapping[str, Any]) -> OrganizationMemberView:
        """Take a member out of an organization; answers the membership as it was.

        What the user has stays: its keys, also those that name the organization, and its place in the
        organization's teams. Both are taken away where they are managed, and the organization's limits go on to
        bind them. What ends at once is what the role granted: seeing the organization, and administering it.
        Raises NotFound, Forbidden and StoreUnavailable, all of them without any change, and WriteStands.
        """
        organization_id = sent["organization_id"]
        with self._database.read() as connection:
            _check(connection, act, organization_id)
            user_id = _resolve(connection, sent)
        with (
            self._policies.change([policies.user(user_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            before = self._hold(transaction, act, organization_id, user_id)
            own = self._own_tier(transaction, before)
            transaction.execute(delete(organization_members).where(_those(organization_id, [user_id])))
            if own is not None:
                budget_rows.remove(transaction, own)
            change = Changed(organization_id, {"member": before.fields()}, {"member": None})
            audit.record(transaction, act, "member_delete", "organization", [change])
            before_commit()
        return before

    def _hold(
        self, transaction: Connection, act: Act, organization_id: str, user_id: str
    ) -> OrganizationMemberView:
        """The membership, held before it is read: a statement that waits does not see anew what it joins."""
        _check(transaction, act, organization_id, lock=True)
        those = _those(organization_id, [user_id])
        transaction.execute(select(organization_members.c.user_id).where(those).with_for_update())
        found = organization_rows.members(transaction, those, self._calendar, act.at)
        if not found:
            raise _not_in_organization("user_id", user_id)
        return found[0]


def _check(connection: Connection, act: Act, organization_id: str, *, lock: bool = False) -> None:
    """Refuse a caller that does not say who belongs to the organization; raises NotFound and Forbidden."""
    facts = of_organizations(connection, act.caller, [organization_id], lock=lock).get(organization_id)
    unknown = organization_not_found(organization_id)
    if facts is None:
        raise unknown
    refusal = access.may_manage_members_of(act.caller, organization_id, is_member=facts.is_member)
    enforce(refusal, unknown)


def _those(organization_id: str, user_ids: Sequence[str]) -> ColumnElement[bool]:
    return and_(
        organization_members.c.organization_id == organization_id, organization_members.c.user_id.in_(user_ids)
    )


def _resolve(connection: Connection, sent: Mapping[str, Any]) -> str:
    """The id of the member that the request names; raises NotFound."""
    user_id = sent.get("user_id")
    field = "user_id" if user_id else "user_email"
    by_id = organization_members.c.user_id == user_id
    named = by_id if user_id else users.c.email_folded == folded(sent["user_email"])
    found: str | None = connection.execute(
        select(organization_members.c.user_id)
        .select_from(organization_members.outerjoin(users, users.c.user_id == organization_members.c.user_id))
        .where(organization_members.c.organization_id == sent["organization_id"], named)
    ).scalar()
    if found is None:
        raise _not_in_organization(field, sent[field])
    return found


def _not_in_organization(field: str, value: str) -> NotFound:
    return NotFound(f"User not found in organization. {field}={value}", field)


def _changed_meanwhile() -> Conflict:
    return Conflict("Somebody else has changed these users at the same moment. Send it again.", "member")
