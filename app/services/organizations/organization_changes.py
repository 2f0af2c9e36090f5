"""Changing organizations and the tiers that cap them: what the API calls update."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from app.db import Database
from app.domain import access
from app.domain.budgets import tier_changes
from app.domain.limits import Account
from app.domain.organizations import TIER_FIELDS, changes_of, check_one_budget
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.models import organizations
from app.services.access.refusals import enforce, rules, unknown_reference
from app.services.access.standings import of_organizations
from app.services.accounts import holder_accounts
from app.services.accounts.holder_accounts import HolderChange
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.keys import key_relations
from app.services.organizations import organization_rows
from app.services.organizations.organization_views import OrganizationView
from app.services.organizations.organizations import organization_not_found
from app.store import policies
from app.store.policies import Policies


class OrganizationChanges:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def update(self, act: Act, sent: Mapping[str, Any]) -> OrganizationView:
        """Change what was sent of the organization named by `organization_id`, and of its tier.

        A tier that others are linked to stays as it is: the organization gets a copy with the change. Raises
        InvalidRequest, NotFound, Forbidden and StoreUnavailable, all of them without any change; WriteStands where
        the change is stored but not announced. Sending it again is safe.
        """
        organization_id = sent.get("organization_id")
        if not organization_id:
            raise InvalidRequest("organization_id is required", "organization_id")
        with self._database.read() as connection:
            facts = of_organizations(connection, act.caller, [organization_id]).get(organization_id)
        unknown = organization_not_found(organization_id)
        if facts is None:
            raise unknown
        refusal = access.may_update_organization(act.caller, organization_id, is_member=facts.is_member)
        enforce(refusal, unknown)
        with (
            rules(),
            self._policies.change([policies.organization(organization_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._update(transaction, act, organization_id, sent)
            before_commit()
        return view

    def _update(
        self, transaction: Connection, act: Act, organization_id: str, sent: Mapping[str, Any]
    ) -> OrganizationView:
        before = self._hold(transaction, act, organization_id)
        present_id = before.columns["budget_id"]
        budget_id = _named_budget(sent, present_id)
        tiers = budget_rows.locked(transaction, {present_id, budget_id})
        if budget_id not in tiers:
            raise unknown_reference("budget_id")
        columns = changes_of(sent, before.columns["metadata"])
        inline = {name: sent[name] for name in TIER_FIELDS & sent.keys()}
        limits = tier_changes(inline, tiers[budget_id], self._calendar, act.at)
        # What was read and goes back is no change: it takes nobody off a tier that is shared.
        limits = {name: limit for name, limit in limits.items() if limit != tiers[budget_id][name]}
        tier = {**tiers[budget_id], **limits}
        was, will_be = {**tiers[present_id], **before.columns}, {**tier, **before.columns, **columns}
        enforce(access.may_turn_organization(act.caller, sent, was, will_be))
        account = Account(Scope(ScopeKind.ORGANIZATION, organization_id))
        capped = HolderChange(account, tiers[present_id], tier)
        with holder_accounts.follow(transaction, act, [capped], self._calendar):
            columns["budget_id"] = self._change_tier(transaction, act, tiers[budget_id], limits)
            if "object_permission" in sent:
                columns["object_permission_id"] = key_relations.put_permission(
                    transaction, before.object_permission, sent["object_permission"]
                )
            self._write(transaction, act, before, columns)
        view = self._load(transaction, act, organization_id)
        change = Changed(organization_id, before.fields(), view.fields())
        audit.record(transaction, act, "update", "organization", [change])
        return view

    def _hold(self, transaction: Connection, act: Act, organization_id: str) -> OrganizationView:
        """The organization, held before it is read: a statement that waits does not see anew what it joins."""
        chosen = organizations.c.organization_id == organization_id
        transaction.execute(select(organizations.c.organization_id).where(chosen).with_for_update())
        return self._load(transaction, act, organization_id)

    def _load(self, transaction: Connection, act: Act, organization_id: str) -> OrganizationView:
        chosen = organizations.c.organization_id == organization_id
        found = organization_rows.load(transaction, chosen, self._calendar, act.at)
        if not found:
            raise organization_not_found(organization_id)
        return found[0]

    def _change_tier(
        self, transaction: Connection, act: Act, stored: Mapping[str, Any], limits: Mapping[str, Any]
    ) -> str:
        """The id of the tier that caps the organization after these limits of it have changed."""
        budget_id: str = stored["budget_id"]
        if not limits:
            return budget_id
        if not budget_rows.is_shared(transaction, budget_id):
            budget_rows.change(transaction, act, budget_id, limits)
            return budget_id
        copy_id = str(uuid.uuid4())
        budget_rows.put(transaction, act, {copy_id: {**budget_rows.limits_in(stored), **limits}})
        return copy_id

    def _write(
        self, transaction: Connection, act: Act, before: OrganizationView, columns: Mapping[str, Any]
    ) -> None:
        transaction.execute(
            update(organizations)
            .where(organizations.c.organization_id == before.organization_id)
            .values({**columns, "updated_at": act.at, "updated_by": act.caller.user_id})
        )
        key_relations.drop_given_up(transaction, before, columns)


def _named_budget(sent: Mapping[str, Any], present_id: str) -> str:
    """The tier that the request leaves the organization with; raises InvalidRequest where it would have none."""
    named: str | None = sent.get("budget_id", present_id)
    if not named:
        raise InvalidRequest("An organization always has a budget: budget_id must name one.", "budget_id")
    if named != present_id:
        check_one_budget(sent)
    return named
