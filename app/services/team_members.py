"""Adding members to teams: what the API calls member_add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from app.db import Database
from app.domain import access
from app.domain.teams import OWN_TIER_FIELDS, member_tier
from app.domain.windows import Calendar
from app.errors import MemberExists
from app.models import team_members, teams, users
from app.services import audit, memberships, newcomers, team_rows, user_rows
from app.services.audit import Act, Changed
from app.services.memberships import Joining
from app.services.newcomers import Newcomer
from app.services.refusals import enforce, rules
from app.services.standings import of_teams
from app.services.team_views import MemberView, TeamView
from app.services.teams import team_not_found
from app.services.user_views import shown_to
from app.store import policies
from app.store.policies import Entity, Policies


@dataclass(frozen=True, slots=True)
class AddedMembers:
    """A team after users joined it; each user as the caller may see it."""

    team: TeamView
    users: Sequence[Mapping[str, Any]]
    memberships: Sequence[MemberView]


class TeamMembers:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def member_add(self, act: Act, sent: Mapping[str, Any]) -> AddedMembers:
        """Add one user to a team, or several.

        Raises MemberExists for one that is a member already; of several, those are passed over, so that a list
        may be sent again. Raises NotFound, InvalidRequest, Conflict, Forbidden and its kin and StoreUnavailable,
        all of them without any change, and WriteStands.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        entries = request["member"]
        single = isinstance(entries, Mapping)
        with rules():
            tier = member_tier(request, OWN_TIER_FIELDS, self._calendar, act.at)
            with self._database.read() as connection:
                _team(connection, act, request["team_id"])
                wanted = newcomers.resolve(connection, [entries] if single else entries)
            with (
                self._policies.change(_entities(act, request["team_id"], wanted)) as before_commit,
                self._database.transaction() as transaction,
            ):
                team = _team(transaction, act, request["team_id"], lock=True)
                joinings = self._joinings(transaction, act, team, wanted, tier, single=single)
                added = self._add(transaction, act, team, joinings)
                before_commit()
        return added

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
        self, transaction: Connection, act: Act, team: Mapping[str, Any], joinings: Sequence[Joining]
    ) -> AddedMembers:
        memberships.join(transaction, act, joinings, self._calendar)
        (view,) = team_rows.load(transaction, teams.c.team_id == team["team_id"], self._calendar, act.at)
        joined = {joining.user_id for joining in joinings}
        added = [member for member in view.members if member.user_id in joined]
        if added:
            after = {"members_added": [member.fields() for member in added]}
            audit.record(transaction, act, "member_add", "team", [Changed(view.team_id, {}, after)])
        found = user_rows.load(transaction, users.c.user_id.in_(joined), self._calendar, act.at)
        return AddedMembers(view, [shown_to(act.caller, user) for user in found.values()], added)


def _team(connection: Connection, act: Act, team_id: str, *, lock: bool = False) -> Mapping[str, Any]:
    """The team, if the caller may add members to it."""
    facts = of_teams(connection, act.caller, [team_id], lock=lock)
    if team_id not in facts:
        raise team_not_found(team_id)
    enforce(access.may_add_member(act.caller, team_id, facts[team_id].standing), team_not_found(team_id))
    return facts[team_id].row


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
