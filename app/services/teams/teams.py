"""Teams: users with keys, limits and a budget in common, perhaps within an organization."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, or_

from app.db import Database
from app.domain import access
from app.domain.access import Caller, Standing
from app.domain.budgets import check_within
from app.domain.callbacks import Vault
from app.domain.further_budgets import further_accounts
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import DASHBOARD_TEAM, MEMBER_TIER_FIELDS, columns_of, member_tier
from app.domain.windows import Calendar
from app.errors import InvalidRequest, NotFound
from app.models import keys, teams
from app.services.access.refusals import enforce, rules, unknown_reference
from app.services.access.standings import of_organizations, of_teams, standing_in
from app.services.accounts import accounts, further_spends
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.keys import key_relations, key_rows
from app.services.keys.key_views import KeyView
from app.services.rows import claims
from app.services.teams import memberships, newcomers, team_rows
from app.services.teams.memberships import Joining
from app.services.teams.team_views import TeamView
from app.services.thresholds import watched
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class TeamInfo:
    """A team with those of its keys that the caller may see, newest first."""

    team: TeamView
    keys: Sequence[KeyView]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A team that a request has described and that nothing but the store can still refuse."""

    team_id: str
    columns: Mapping[str, Any]
    members: Sequence[Mapping[str, Any]]
    member_tier: Mapping[str, Any] | None
    object_permission: Mapping[str, Any] | None


class Teams:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar, vault: Vault) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._vault = vault

    def new(self, act: Act, sent: Mapping[str, Any]) -> TeamView:
        """Make a team with its first members from the sent wire fields.

        Raises InvalidRequest (a limit that cannot be or is beyond the organization's, an id that exists),
        Conflict, Forbidden and its kin, and StoreUnavailable. A failed call leaves nothing behind. Sent again
        without a `team_id`, it makes another team.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        enforce(access.may_create_in_organization(act.caller, request.get("organization_id") or None))
        team_id = request.get("team_id") or str(uuid.uuid4())
        exists = InvalidRequest(f"Team id = {team_id} already exists. Use a different team id.", "team_id")
        with rules(taken={"pk_teams": exists}):
            draft = self._draft(act, team_id, request)
            # The team stands in the versions of each of its keys, so its members need no mark of their own.
            named = [entry["user_id"] for entry in draft.members if entry.get("user_id")]
            announced = [policies.team(team_id), *map(policies.user, named)]
            with (
                self._policies.change(announced) as before_commit,
                self._database.transaction() as transaction,
            ):
                claims.check_team(transaction, act.caller, team_id, exists)
                view = self._create(transaction, act, draft)
                before_commit()
        return view

    def _draft(self, act: Act, team_id: str, request: Mapping[str, Any]) -> _Draft:
        if team_id == DASHBOARD_TEAM:
            raise InvalidRequest(f"Team id = {team_id} is reserved. Use a different team id.", "team_id")
        columns = access.bounded(act.caller, columns_of(request, None, self._calendar, act.at, self._vault))
        enforce(access.within_own_caps(act.caller, {**request, **columns}, columns.get("max_budget_nanos")))
        return _Draft(
            team_id,
            columns,
            [*request.get("members_with_roles", ()), *_creator(act.caller)],
            member_tier(request, MEMBER_TIER_FIELDS, self._calendar, act.at),
            request.get("object_permission"),
        )

    def _create(self, transaction: Connection, act: Act, draft: _Draft) -> TeamView:
        if draft.columns.get("organization_id") is not None:
            _check_organization(transaction, act.caller, draft.columns)
        row = {
            **draft.columns,
            "team_id": draft.team_id,
            "member_budget_id": None if draft.member_tier is None else str(uuid.uuid4()),
            "object_permission_id": key_relations.put_permission(transaction, None, draft.object_permission),
            "created_at": act.at,
            "updated_at": act.at,
        }
        if draft.member_tier is not None:
            budget_rows.put(transaction, act, {row["member_budget_id"]: draft.member_tier})
        transaction.execute(insert(teams).values(row))
        spelling = draft.columns.get("budget_duration")
        account = accounts.open_account(
            transaction, Scope(ScopeKind.TEAM, draft.team_id), spelling, self._calendar, act.at
        )
        further = further_accounts(account.scope, draft.columns)
        accounts.replace_further(transaction, {}, further, self._calendar, act.at)
        if watched.bears({}, draft.columns):
            watched.watch(transaction, [account.scope])
        members = newcomers.settle(transaction, act, newcomers.resolve(transaction, draft.members), self._calendar)
        joinings = [Joining(row, member.user_id, member.user_email, member.role) for member in members]
        memberships.join(transaction, act, joinings, self._calendar)
        (view,) = team_rows.load(transaction, teams.c.team_id == draft.team_id, self._calendar, act.at)
        audit.record(transaction, act, "new", "team", [Changed(draft.team_id, None, view.stored_fields())])
        return view

    def info(self, act: Act, team_id: str, key_limit: int) -> TeamInfo:
        """A team with its newest keys, so many at the most; raises NotFound.

        A team that the caller may not see is not found.
        """
        with self._database.read() as connection:
            standing = standing_in(of_teams(connection, act.caller, [team_id]), team_id)
            visible = access.may_see_team(act.caller, team_id, standing)
            chosen = teams.c.team_id == team_id
            found = team_rows.load(connection, chosen, self._calendar, act.at) if visible else []
            if not found:
                raise team_not_found(team_id)
            seen = keys_seen(act.caller, team_id, standing)
            views = key_rows.newest(connection, seen, key_limit, self._calendar, act.at)
            holder = Scope(ScopeKind.TEAM, team_id)
            further = further_spends.load(connection, {holder: found[0].columns}, self._calendar, act.at)
        return TeamInfo(replace(found[0], further=further[holder]), views)


def team_not_found(team_id: str) -> NotFound:
    return NotFound(f"Team not found, passed team id: {team_id}.", "team_id")


def _creator(caller: Caller) -> list[dict[str, Any]]:
    """Whoever makes a team is its first administrator, if that is a user: the master key is none."""
    if caller.key_id is None or not caller.has_owner:
        return []
    return [{"user_id": caller.user_id, "role": "admin"}]


def _check_organization(transaction: Connection, caller: Caller, columns: Mapping[str, Any]) -> None:
    """Refuse a team beyond its organization; one out of the caller's sight answers like one that is not there."""
    organization_id = columns["organization_id"]
    organization = of_organizations(transaction, caller, [organization_id], lock=True).get(organization_id)
    if organization is None or not access.may_see_organization(
        caller, organization_id, is_member=organization.is_member
    ):
        raise unknown_reference("organization_id")
    check_within(columns, organization.row["models"], organization.tier, "the organization")


def keys_seen(caller: Caller, team_id: str, standing: Standing) -> ColumnElement[bool]:
    """Which keys of a team the caller may see."""
    in_team = keys.c.team_id == team_id
    if access.sees_every_key_of(caller, team_id, standing):
        return in_team
    own = keys.c.key_id == caller.key_id
    if caller.user_id is not None:
        own = or_(own, keys.c.user_id == caller.user_id)
    return and_(in_team, own)
