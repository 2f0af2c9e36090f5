"""Changing teams: what the API calls update, block and unblock."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, update

from app.db import Database
from app.domain import access
from app.domain.access import Caller
from app.domain.budgets import check_within, limits_nothing
from app.domain.callbacks import Vault
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import MEMBER_TIER_FIELDS, columns_of, member_tier_changes
from app.domain.windows import Calendar
from app.errors import Conflict
from app.models import team_members, teams
from app.services.access.refusals import enforce, rules, unknown_reference
from app.services.access.standings import OrganizationFacts, TeamFacts, of_organizations, of_teams
from app.services.accounts import holder_accounts, rearming, tier_accounts
from app.services.accounts.holder_accounts import HolderChange
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.keys import key_relations
from app.services.teams import team_rows
from app.services.teams.team_views import TeamView
from app.services.teams.teams import team_not_found
from app.store import policies
from app.store.policies import Entity, Policies


class TeamChanges:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar, vault: Vault) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._vault = vault

    # --- update ----------------------------------------------------------------------------------------------

    def update(self, act: Act, sent: Mapping[str, Any]) -> TeamView:
        """Change what was sent of the team named by `team_id`, and of the tier that its members share.

        Raises NotFound, InvalidRequest, Forbidden, Conflict (the team was moved meanwhile) and StoreUnavailable,
        all of them without any change; WriteStands where the change is stored but not announced. Sending it again
        is safe.
        """
        team_id = sent["team_id"]
        with rules():
            with self._database.read() as connection:
                seen = managed_team(connection, act, team_id, "/team/update")
            with (
                self._policies.long_change(_entities(seen)) as announcement,
                self._database.transaction() as transaction,
            ):
                view = self._update(transaction, act, seen, sent, announcement.renew)
                announcement.before_commit()
        return view

    def _update(
        self,
        transaction: Connection,
        act: Act,
        seen: TeamFacts,
        sent: Mapping[str, Any],
        renew: Callable[[], None],
    ) -> TeamView:
        team_id = sent["team_id"]
        named = {seen.row["organization_id"], sent.get("organization_id") or None} - {None}
        organizations = of_organizations(transaction, act.caller, named, lock=True)
        facts = managed_team(transaction, act, team_id, "/team/update", lock=True)
        if any(facts.row[name] != seen.row[name] for name in ("organization_id", "member_budget_id")):
            raise Conflict("The team was changed by somebody else at the same moment. Send it again.", "team_id")
        before = self._load(transaction, act, team_id)
        columns = columns_of(sent, before.columns, self._calendar, act.at, self._vault)
        enforce(access.may_turn_team(act.caller, facts.standing, before.columns, {**before.columns, **columns}))
        _check_organization(act.caller, before.columns, columns, organizations)
        columns["member_budget_id"] = self._change_member_tier(transaction, act, before.columns, sent, renew)
        if "object_permission" in sent:
            enforce(access.may_permit_team(act.caller, facts.standing))
            columns["object_permission_id"] = key_relations.put_permission(
                transaction, before.object_permission, sent["object_permission"]
            )
        self._write(transaction, act, before, columns)
        view = self._load(transaction, act, team_id)
        changes = [Changed(team_id, before.stored_fields(), view.stored_fields())]
        audit.record(transaction, act, "update", "team", changes)
        return view

    def _write(self, transaction: Connection, act: Act, before: TeamView, columns: Mapping[str, Any]) -> None:
        account = Account(Scope(ScopeKind.TEAM, before.team_id))
        change = HolderChange(account, before.columns, {**before.columns, **columns})
        with holder_accounts.follow(transaction, act, [change], self._calendar):
            transaction.execute(
                update(teams).where(teams.c.team_id == before.team_id).values({**columns, "updated_at": act.at})
            )
            key_relations.drop_given_up(transaction, before, columns)

    def _change_member_tier(
        self,
        transaction: Connection,
        act: Act,
        team: Mapping[str, Any],
        sent: Mapping[str, Any],
        renew: Callable[[], None],
    ) -> str | None:
        """Change the tier that the team's members share, or make one and link those without a tier; its id."""
        budget_id: str | None = team["member_budget_id"]
        if not MEMBER_TIER_FIELDS.keys() & sent.keys():
            return budget_id
        stored = {}
        if budget_id is not None:
            stored = budget_rows.locked(transaction, [budget_id], rearming.rolls_beside())[budget_id]
        columns = member_tier_changes(sent, MEMBER_TIER_FIELDS, stored, self._calendar, act.at)
        changes = columns
        if budget_id is None:
            if limits_nothing(columns):
                return None
            budget_id = str(uuid.uuid4())
            stored, changes = budget_rows.unlimited(budget_id), {}
            budget_rows.put(transaction, act, {budget_id: columns})
            transaction.execute(
                update(team_members)
                .where(team_members.c.team_id == team["team_id"], team_members.c.budget_id.is_(None))
                .values(budget_id=budget_id)
            )
        tier_accounts.follow(transaction, stored, columns, calendar=self._calendar, now=act.at, renew=renew)
        budget_rows.change(transaction, act, budget_id, changes)
        tier_accounts.watch(transaction, stored, columns, renew)
        return budget_id

    # --- block and unblock -----------------------------------------------------------------------------------

    def set_blocked(self, act: Act, team_id: str, route: str, *, blocked: bool) -> TeamView:
        """Block or unblock a team, and with it every key of it; doing it again changes nothing.

        Raises NotFound, Forbidden and StoreUnavailable, without any change, and WriteStands.
        """
        with self._database.read() as connection:
            managed_team(connection, act, team_id, route)
        with (
            self._policies.change([policies.team(team_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._set_blocked(transaction, act, team_id, route, blocked=blocked)
            before_commit()
        return view

    def _set_blocked(
        self, transaction: Connection, act: Act, team_id: str, route: str, *, blocked: bool
    ) -> TeamView:
        managed_team(transaction, act, team_id, route, lock=True)
        before = self._load(transaction, act, team_id)
        if bool(before.columns["blocked"]) is blocked:
            return before
        transaction.execute(
            update(teams).where(teams.c.team_id == team_id).values(blocked=blocked, updated_at=act.at)
        )
        view = self._load(transaction, act, team_id)
        action = "block" if blocked else "unblock"
        audit.record(transaction, act, action, "team", [Changed(team_id, before.fields(), view.fields())])
        delivery.enqueue(transaction, [Event(f"team_{action}ed", "team", team_id, view.event_fields())], act.at)
        return view

    def _load(self, transaction: Connection, act: Act, team_id: str) -> TeamView:
        (view,) = team_rows.load(transaction, teams.c.team_id == team_id, self._calendar, act.at)
        return view


def managed_team(connection: Connection, act: Act, team_id: str, route: str, *, lock: bool = False) -> TeamFacts:
    """A team that the caller may change; raises NotFound where there is none for it to see, else Forbidden."""
    facts = of_teams(connection, act.caller, [team_id], lock=lock)
    if team_id not in facts:
        raise team_not_found(team_id)
    refusal = access.may_manage_team(act.caller, team_id, facts[team_id].standing, route)
    enforce(refusal, team_not_found(team_id))
    return facts[team_id]


def _entities(team: TeamFacts) -> list[Entity]:
    """What a change of a team bears on: it stands in the versions of each of its keys, beside their tiers."""
    tier = team.row["member_budget_id"]
    entities = [policies.team(team.row["team_id"])]
    return entities if tier is None else [*entities, policies.tier(tier)]


def _check_organization(
    caller: Caller,
    before: Mapping[str, Any],
    columns: Mapping[str, Any],
    organizations: Mapping[str, OrganizationFacts],
) -> None:
    """Refuse a team beyond its organization: all of it where that is another one, else what changes of it."""
    after = {**before, **columns}
    organization_id = after["organization_id"]
    moved = organization_id != before["organization_id"]
    if moved:
        _check_move(caller, organization_id, organizations)
    if organization_id is not None:
        changed = {name: value for name, value in columns.items() if value != before[name]}
        organization = organizations[organization_id]
        limited = after if moved else changed
        check_within(limited, organization.row["models"], organization.tier, "the organization")


def _check_move(
    caller: Caller, organization_id: str | None, organizations: Mapping[str, OrganizationFacts]
) -> None:
    """An organization out of the caller's sight answers like one that is not there."""
    if organization_id is not None:
        facts = organizations.get(organization_id)
        if facts is None or not access.may_see_organization(caller, organization_id, is_member=facts.is_member):
            raise unknown_reference("organization_id")
    enforce(access.may_move_team(caller, organization_id))
