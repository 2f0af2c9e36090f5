"""The end of a tier: what the API calls delete. Whatever was linked to it goes on without its limits."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, union, update

from app.db import Database
from app.domain import access
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.models import keys, organization_members, organizations, team_members, teams
from app.services.access.refusals import enforce
from app.services.accounts import rearming, tier_accounts
from app.services.accounts.tier_accounts import LINKED_BATCH
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.budgets.budget_views import BudgetView, budget_view
from app.services.budgets.budgets import budget_not_found
from app.store import policies
from app.store.policies import Policies


class BudgetEnds:
    """`batch` is how many linked keys are unlinked at a time."""

    def __init__(
        self, database: Database, policy_store: Policies, calendar: Calendar, *, batch: int = LINKED_BATCH
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._batch = batch

    def delete(self, act: Act, budget_id: str) -> BudgetView:
        """Remove a tier, unlinking the keys, members and teams that are linked to it; answers it as it was.

        Raises Forbidden, NotFound, InvalidRequest (it caps an organization, which needs one) and StoreUnavailable,
        without any change, and WriteStands. Sent again, it raises NotFound, but not before it has announced the
        tier: so a WriteStands is made good.
        """
        enforce(access.may_update_budget(act.caller))
        with self._database.read() as connection:
            known = budget_rows.rows_of(connection, [budget_id])
        # A tier stands in the versions of everything that it caps.
        announced = [policies.tier(budget_id)]
        if not known:
            self._policies.publish(announced)
            raise budget_not_found(budget_id, "id")
        with (
            self._policies.long_change(announced) as announcement,
            self._database.transaction() as transaction,
        ):
            view = self._remove(transaction, act, budget_id, announcement.renew)
            announcement.before_commit()
        return view

    def _remove(self, transaction: Connection, act: Act, budget_id: str, renew: Callable[[], None]) -> BudgetView:
        _hold_linked(transaction, budget_id)
        stored = budget_rows.locked(transaction, [budget_id], rearming.rolls_beside()).get(budget_id)
        if stored is None:
            raise budget_not_found(budget_id, "id")
        if _caps_organization(transaction, budget_id):
            raise InvalidRequest(
                "The budget caps an organization, and every organization has one. "
                "Link the organization to another budget first.",
                "id",
            )
        view = budget_view(stored, self._calendar, act.at)
        nothing: dict[str, Any] = {"budget_duration": None, "max_budget_nanos": None, "model_max_budget": {}}
        # Whatever ran by the tier is left without a window, its spend so far with it.
        tier_accounts.follow(
            transaction,
            stored,
            nothing,
            calendar=self._calendar,
            now=act.at,
            renew=renew,
            batch=self._batch,
        )
        _unlink_members(transaction, act, budget_id)
        for chosen in tier_accounts.linked_keys(transaction, budget_id, self._batch):
            _unlink_keys(transaction, act, budget_id, chosen)
            renew()
        budget_rows.remove(transaction, budget_id)
        audit.record(transaction, act, "delete", "budget", [Changed(budget_id, view.fields(), None)])
        return view


def _unlink_keys(transaction: Connection, act: Act, budget_id: str, chosen: ColumnElement[bool]) -> None:
    lost = Changed("", {"budget_id": budget_id}, {"budget_id": None})
    of_keys = select(keys.c.key_id).where(chosen).subquery()
    audit.record_alike(transaction, act, "update", "key", of_keys.c.key_id, lost)
    stamps = {"updated_at": act.at, "settings_updated_at": act.at, "updated_by": act.caller.user_id}
    transaction.execute(update(keys).where(chosen).values(budget_id=None, **stamps))


def _hold_linked(transaction: Connection, budget_id: str) -> None:
    """Hold what is linked to the tier, in the order of locks; it is counted, so that none of it comes here."""
    linked_teams = select(team_members.c.team_id).where(team_members.c.budget_id == budget_id)
    in_organizations = select(organization_members.c.organization_id).where(
        organization_members.c.budget_id == budget_id
    )
    for identity, chosen in (
        (organizations.c.organization_id, organizations.c.organization_id.in_(in_organizations)),
        (teams.c.team_id, or_(teams.c.member_budget_id == budget_id, teams.c.team_id.in_(linked_teams))),
        (keys.c.key_id, keys.c.budget_id == budget_id),
    ):
        # What only refers to them goes on meanwhile.
        held = select(identity).where(chosen).order_by(identity).with_for_update(key_share=True).subquery()
        transaction.execute(select(func.count()).select_from(held))


def _caps_organization(transaction: Connection, budget_id: str) -> bool:
    capped = select(organizations.c.organization_id).where(organizations.c.budget_id == budget_id).limit(1)
    return transaction.execute(capped).first() is not None


def _unlink_members(transaction: Connection, act: Act, budget_id: str) -> None:
    """Unlink the members of teams and organizations, and the teams whose members would share the tier."""
    lost = Changed("", {"team_member_budget_id": budget_id}, {"team_member_budget_id": None})
    of_teams = union(
        select(teams.c.team_id).where(teams.c.member_budget_id == budget_id),
        select(team_members.c.team_id).where(team_members.c.budget_id == budget_id),
    ).subquery()
    audit.record_alike(transaction, act, "update", "team", of_teams.c.team_id, lost)
    lost = Changed("", {"member_budget_id": budget_id}, {"member_budget_id": None})
    of_organizations = (
        select(organization_members.c.organization_id)
        .where(organization_members.c.budget_id == budget_id)
        .distinct()
        .subquery()
    )
    audit.record_alike(transaction, act, "update", "organization", of_organizations.c.organization_id, lost)
    for column in (teams.c.member_budget_id, team_members.c.budget_id, organization_members.c.budget_id):
        transaction.execute(update(column.table).where(column == budget_id).values({column: None}))
