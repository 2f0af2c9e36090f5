"""Organizations: the outermost scope of a budget, each with a tier that caps it, its members and its teams."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, insert

from app.db import Database
from app.domain import access
from app.domain.budgets import tier_of
from app.domain.organizations import TIER_FIELDS, columns_of
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.errors import Conflict, NotFound
from app.models import organization_members, organizations, teams
from app.services.access.refusals import rules, unknown_reference
from app.services.access.standings import of_organizations, teams_seen
from app.services.accounts import accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.keys import key_relations
from app.services.organizations import organization_rows
from app.services.organizations.organization_views import OrganizationView
from app.services.teams import team_rows
from app.services.teams.team_views import TeamView
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class OrganizationInfo:
    """An organization with its members, each as the caller may see it, and the teams that the caller may see."""

    organization: OrganizationView
    members: Sequence[Mapping[str, Any]]
    teams: Sequence[TeamView]


class Organizations:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def new(self, act: Act, sent: Mapping[str, Any]) -> OrganizationView:
        """Make an organization over the named tier, or over one of its own made from the sent limits.

        Raises InvalidRequest, Conflict (the id exists) and StoreUnavailable. A failed call leaves nothing behind.
        Sent again without an `organization_id`, it makes another organization.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        organization_id = request.get("organization_id") or str(uuid.uuid4())
        exists = Conflict(f"Organization with id '{organization_id}' already exists.", "organization_id")
        with rules(taken={"pk_organizations": exists}):
            columns = {**columns_of(request), "organization_id": organization_id}
            own = tier_of({name: request[name] for name in TIER_FIELDS & request.keys()}, self._calendar, act.at)
            with (
                self._policies.change([policies.organization(organization_id)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                view = self._create(transaction, act, request, columns, own)
                before_commit()
        return view

    def _create(
        self,
        transaction: Connection,
        act: Act,
        request: Mapping[str, Any],
        columns: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> OrganizationView:
        budget_id = request.get("budget_id")
        if budget_id:
            tier = budget_rows.linked(transaction, [budget_id]).get(budget_id)
            if tier is None:
                raise unknown_reference("budget_id")
        else:
            budget_id, tier = str(uuid.uuid4()), dict(own)
            budget_rows.put(transaction, act, {budget_id: own})
        author = act.caller.user_id
        permission_id = key_relations.put_permission(transaction, None, request.get("object_permission"))
        transaction.execute(
            insert(organizations).values(
                {
                    **columns,
                    "budget_id": budget_id,
                    "object_permission_id": permission_id,
                    "created_at": act.at,
                    "created_by": author,
                    "updated_at": act.at,
                    "updated_by": author,
                }
            )
        )
        organization_id, spelling = columns["organization_id"], tier.get("budget_duration")
        accounts.open_account(
            transaction, Scope(ScopeKind.ORGANIZATION, organization_id), spelling, self._calendar, act.at
        )
        chosen = organizations.c.organization_id == organization_id
        (view,) = organization_rows.load(transaction, chosen, self._calendar, act.at)
        audit.record(transaction, act, "new", "organization", [Changed(organization_id, None, view.fields())])
        return view

    def info(self, act: Act, organization_id: str) -> OrganizationInfo:
        """An organization with its members and teams; raises NotFound.

        An organization that the caller may not see is not found.
        """
        with self._database.read() as connection:
            facts = of_organizations(connection, act.caller, [organization_id]).get(organization_id)
            visible = facts is not None and access.may_see_organization(
                act.caller, organization_id, is_member=facts.is_member
            )
            chosen = organizations.c.organization_id == organization_id
            found = organization_rows.load(connection, chosen, self._calendar, act.at) if visible else []
            if not found:
                raise organization_not_found(organization_id)
            belongs = organization_members.c.organization_id == organization_id
            members = organization_rows.members(connection, belongs, self._calendar, act.at)
            inside = and_(teams.c.organization_id == organization_id, teams_seen(act.caller))
            shown = team_rows.load(connection, inside, self._calendar, act.at)
        return OrganizationInfo(found[0], [member.shown_to(act.caller) for member in members], shown)


def organization_not_found(organization_id: str) -> NotFound:
    return NotFound(f"Organization not found, passed organization_id={organization_id}", "organization_id")
