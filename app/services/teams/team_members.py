"""Adding members to teams: what the API calls member_add and bulk_member_add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from app.db import Database
from app.domain import access
from app.domain.teams import MOST_MEMBERS, OWN_TIER_FIELDS, member_tier
from app.domain.users import folded
from app.domain.windows import Calendar
from app.errors import InvalidRequest, MemberExists, ServiceError
from app.models import team_members, teams, users
from app.services.access.refusals import enforce, rules
from app.services.access.standings import of_teams
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.teams import memberships, newcomers, team_rows
from app.services.teams.memberships import Joining
from app.services.teams.newcomers import Newcomer
from app.services.teams.team_views import MemberView, TeamView
from app.services.teams.teams import team_not_found
from app.services.users import user_rows
from app.services.users.user_views import shown_to
from app.store import policies
from app.store.policies import Entity, Policies


@dataclass(frozen=True, slots=True)
class AddedMembers:
    """A team after users joined it; each user as the caller may see it."""

    team: TeamView
    users: Sequence[Mapping[str, Any]]
    memberships: Sequence[MemberView]


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """What came of one entry of a bulk request: a membership, new or old, or the reason why there is none."""

    user_id: str | None
    user_email: str | None
    membership: MemberView | None
    user: Mapping[str, Any] | None
    failed_reason: str | None = None


class TeamMembers:
    """Adds members; everybody may join the teams that are `available`."""

    def __init__(
        self, database: Database, policy_store: Policies, calendar: Calendar, *, available: Sequence[str]
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._available = frozenset(available)

    # --- member_add ------------------------------------------------------------------------------------------

    def member_add(self, act: Act, sent: Mapping[str, Any]) -> AddedMembers:
        """Add one user to a team, or several.

        Raises MemberExists for one that is a member already; of several, those are passed over, so that a list
        may be sent again. Raises NotFound, InvalidRequest, Conflict, Forbidden and its kin and StoreUnavailable,
        all of them without any change, and WriteStands.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        team_id, entries = request["team_id"], request["member"]
        single = isinstance(entries, Mapping)
        with rules():
            tier = member_tier(request, OWN_TIER_FIELDS, self._calendar, act.at)
            with self._database.read() as connection:
                wanted = newcomers.resolve(connection, [entries] if single else entries)
                self._team(connection, act, team_id, wanted, tier)
            with (
                self._policies.change(_entities(act, team_id, wanted)) as before_commit,
                self._database.transaction() as transaction,
            ):
                team = self._team(transaction, act, team_id, wanted, tier, lock=True)
                joinings = self._joinings(transaction, act, team, wanted, tier, single=single)
                added = self._add(transaction, act, team, joinings, "member_add")
                before_commit()
        return added

    # --- bulk_member_add -------------------------------------------------------------------------------------

    def bulk_member_add(self, act: Act, sent: Mapping[str, Any]) -> tuple[TeamView, list[MemberOutcome]]:
        """Add up to MOST_MEMBERS users to a team, or `all_users` not in it yet; tells of each what came of it.

        An entry that cannot be followed keeps none of the others, and one that is a member already stays what it
        is, so the same may be sent again. Raises NotFound, InvalidRequest, Conflict (somebody was made at the same
        moment), Forbidden and StoreUnavailable, all of them without any change, and WriteStands.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        team_id = request["team_id"]
        with rules():
            tier = member_tier(request, OWN_TIER_FIELDS, self._calendar, act.at)
            with self._database.read() as connection:
                self._team(connection, act, team_id, (), tier)
                wanted = newcomers.resolve_each(connection, _entries(connection, act, request))
            with (
                self._policies.change(_entities(act, team_id, newcomers.distinct(wanted))) as before_commit,
                self._database.transaction() as transaction,
            ):
                team = self._team(transaction, act, team_id, (), tier, lock=True)
                faults = newcomers.faults(transaction, act, wanted)
                able = newcomers.distinct(each for each in wanted if each.user_id not in faults)
                joinings = self._joinings(transaction, act, team, able, tier, single=False)
                added = self._add(transaction, act, team, joinings, "bulk_member_add")
                before_commit()
        return added.team, _outcomes(wanted, added, faults)

    # --- both ------------------------------------------------------------------------------------------------

    def _team(
        self,
        connection: Connection,
        act: Act,
        team_id: str,
        wanted: Sequence[Newcomer],
        tier: Mapping[str, Any] | None,
        *,
        lock: bool = False,
    ) -> Mapping[str, Any]:
        """The team, if the caller may add members to it, or is about to join it."""
        facts = of_teams(connection, act.caller, [team_id], lock=lock)
        if team_id not in facts:
            raise team_not_found(team_id)
        refusal = access.may_add_member(act.caller, team_id, facts[team_id].standing)
        if refusal is not None and team_id in self._available:
            joiners = [(newcomer.user_id, newcomer.role) for newcomer in wanted]
            refusal = access.may_join_team(act.caller, joiners, limited=tier is not None)
        enforce(refusal, team_not_found(team_id))
        return facts[team_id].row

    def _joinings(
        self,
        transaction: Connection,
        act: Act,
        team: Mapping[str, Any],
        wanted: Sequence[Newcomer],
        tier: Mapping[str, Any] | None,
        *,
        single: bool,
    ) -> list[Joining]:
        settled = newcomers.settle(transaction, act, wanted, self._calendar)
        present = set(
            transaction.execute(
                select(team_members.c.user_id).where(
                    team_members.c.team_id == team["team_id"],
                    team_members.c.user_id.in_([newcomer.user_id for newcomer in settled]),
                )
            ).scalars()
        )
        if single and present:
            raise MemberExists(f"User already in team. user_id={settled[0].user_id}", "user_id")
        return [
            Joining(team, newcomer.user_id, newcomer.user_email, newcomer.role, tier)
            for newcomer in settled
            if newcomer.user_id not in present
        ]

    def _add(
        self, transaction: Connection, act: Act, team: Mapping[str, Any], joinings: Sequence[Joining], action: str
    ) -> AddedMembers:
        memberships.join(transaction, act, joinings, self._calendar)
        (view,) = team_rows.load(transaction, teams.c.team_id == team["team_id"], self._calendar, act.at)
        joined = {joining.user_id for joining in joinings}
        added = [member for member in view.members if member.user_id in joined]
        if added:
            after = {"members_added": [member.fields() for member in added]}
            audit.record(transaction, act, action, "team", [Changed(view.team_id, {}, after)])
        found = user_rows.load(transaction, users.c.user_id.in_(joined), self._calendar, act.at)
        return AddedMembers(view, [shown_to(act.caller, user) for user in found.values()], added)


def _entries(connection: Connection, act: Act, request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Whom a bulk request names: so many at the most, or every user that is not in the team."""
    if request.get("all_users"):
        enforce(access.may_add_everybody(act.caller))
        present = select(team_members.c.user_id).where(team_members.c.team_id == request["team_id"])
        others = select(users.c.user_id, users.c.user_email).where(users.c.user_id.not_in(present))
        rows = connection.execute(
            others.order_by(users.c.created_at.desc(), users.c.user_id).limit(MOST_MEMBERS + 1)
        )
        entries = [{**row, "role": "user"} for row in rows.mappings()]
    else:
        entries = request.get("members", [])
        if not entries:
            raise InvalidRequest("At least one member is required", "members")
    if len(entries) > MOST_MEMBERS:
        raise InvalidRequest(f"Maximum {MOST_MEMBERS} members can be added at once", "members")
    return entries


def _outcomes(
    wanted: Sequence[Newcomer], added: AddedMembers, faults: Mapping[str, ServiceError]
) -> list[MemberOutcome]:
    members = {member.user_id: member for member in added.team.members}
    # Somebody may have registered an address in the meantime: then it is that user who joined.
    by_address = {folded(member.user_email): member for member in added.team.members if member.user_email}
    joined = {user["user_id"]: user for user in added.users}
    outcomes = []
    for newcomer in wanted:
        fault = faults.get(newcomer.user_id)
        member = members.get(newcomer.user_id) or by_address.get(folded(newcomer.user_email))
        if fault is not None or member is None:
            reason = None if fault is None else fault.message
            outcomes.append(MemberOutcome(newcomer.user_id, newcomer.user_email, None, None, reason))
        else:
            user = joined.get(member.user_id)
            outcomes.append(MemberOutcome(member.user_id, newcomer.user_email, member, user))
    return outcomes


def _entities(act: Act, team_id: str, wanted: Sequence[Newcomer]) -> list[Entity]:
    """What the change bears on.

    A fresh id is nobody's yet, but its address may become somebody's before the transaction: then any member may
    be meant, and the whole team is announced.
    """
    entities = [policies.member(team_id, newcomer.user_id) for newcomer in wanted]
    if any(newcomer.fresh for newcomer in wanted):
        entities.append(policies.team(team_id))
    if access.may_create_users(act.caller):
        entities += [policies.user(newcomer.user_id) for newcomer in wanted]
    return entities
