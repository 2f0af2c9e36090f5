"""The ways a key stops: blocked, deleted, expired."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from app.clock import Clock, iso
from app.db import Database
from app.domain import access, minting
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound, MalformedKey, NothingFound
from app.models import budget_state, deleted_keys, keys
from app.services.access.callers import Callers
from app.services.access.refusals import enforce
from app.services.access.standings import of_teams, standing_in
from app.services.accounts import account_rows
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events import delivery
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_names, key_relations, key_rows, key_secrets
from app.services.keys.key_views import KeyView
from app.store import policies
from app.store.policies import Policies

EXPIRY_BATCH = 500
ARCHIVE_BATCH = 500


class KeyEnds:
    def __init__(
        self, database: Database, policy_store: Policies, callers: Callers, clock: Clock, calendar: Calendar
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._clock = clock
        self._calendar = calendar

    # --- block and unblock ---------------------------------------------------------------------------------------

    def set_blocked(self, act: Act, reference: str, route: str, *, blocked: bool) -> KeyView:
        """Block or unblock a key; doing it again changes nothing.

        Raises MalformedKey, KeyNotFound, ManagersOnly and StoreUnavailable, without any change, and WriteStands.
        """
        if self._callers.is_master(reference):
            raise InvalidRequest("The master key is no virtual key.", "key")
        if not minting.is_reference(reference):
            raise MalformedKey("Invalid key format.", "key")
        with self._database.read() as connection:
            key_id = key_names.by_reference(connection, act.caller, [reference], act.at).get(reference)
        if key_id is None:
            raise _not_found()
        with (
            self._policies.change([policies.key(key_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._set_blocked(transaction, act, key_id, route, blocked=blocked)
            before_commit()
        return view

    def _set_blocked(
        self, transaction: Connection, act: Act, key_id: str, route: str, *, blocked: bool
    ) -> KeyView:
        found = key_rows.load(transaction, [key_id], self._calendar, act.at, lock=True)
        if not found:
            raise _not_found()
        before = found[0]
        facts = of_teams(transaction, act.caller, [before.columns["team_id"]])
        standing = standing_in(facts, before.columns["team_id"])
        enforce(access.may_block(act.caller, before.target, standing, route), _not_found())
        if bool(before.columns["blocked"]) is blocked and before.columns["blocked"] is not None:
            return before
        transaction.execute(
            update(keys)
            .where(keys.c.key_id == key_id)
            .values(blocked=blocked, updated_at=act.at, updated_by=act.caller.user_id)
        )
        (view,) = key_rows.load(transaction, [key_id], self._calendar, act.at)
        action = "block" if blocked else "unblock"
        audit.record(transaction, act, action, "key", [Changed(key_id, before.fields(), view.fields())])
        delivery.enqueue(transaction, [key_events.of_key(f"key_{action}ed", view)], act.at)
        return view

    # --- delete --------------------------------------------------------------------------------------------------

    def delete(self, act: Act, references: Sequence[str], aliases: Sequence[str]) -> list[str]:
        """Archive and remove the keys named by plaintext, hash or alias; answers those removed, as sent.

        Unknown ones are passed over; raises NothingFound where none is left, Forbidden (and removes none) where
        one may be seen but not deleted, StoreUnavailable and WriteStands. Sent again, it raises NothingFound, but
        not before it has announced what the names named until lately: so a WriteStands is made good.
        """
        with self._database.read() as connection:
            by_reference = key_names.by_reference(connection, act.caller, references, act.at)
            by_alias = key_names.by_alias(connection, act.caller, aliases)
            unknown = [name for name in references if name not in by_reference]
            unknown_aliases = [name for name in aliases if name not in by_alias]
            gone: set[str] = set()
            if unknown or unknown_aliases:
                gone = key_names.deleted_lately(connection, act.caller, unknown, unknown_aliases, act.at)
        named = sorted({*by_reference.values(), *by_alias.values()})
        announced = [policies.key(key_id) for key_id in (*named, *gone)]
        if not named:
            self._policies.publish(announced)
            raise _none_found()
        with (
            self._policies.change(announced) as before_commit,
            self._database.transaction() as transaction,
        ):
            removed = self._remove(transaction, act, named)
            before_commit()
        return [
            *(reference for reference in references if by_reference.get(reference) in removed),
            *(alias for alias in aliases if by_alias.get(alias) in removed),
        ]

    def _remove(self, transaction: Connection, act: Act, key_ids: Sequence[str]) -> set[str]:
        views = key_rows.load(transaction, key_ids, self._calendar, act.at, lock=True)
        facts = of_teams(transaction, act.caller, [view.columns["team_id"] for view in views])
        mine = []
        for view in views:
            refusal = access.may_delete(act.caller, view.target, standing_in(facts, view.columns["team_id"]))
            if refusal is access.HIDDEN:
                continue
            enforce(refusal)
            mine.append(view)
        if not mine:
            raise _none_found()
        archive(transaction, act, mine)
        return {view.key_id for view in mine}

    # --- expiry --------------------------------------------------------------------------------------------------

    def expire_due(self) -> JobBatch:
        """Record the expiry of up to EXPIRY_BATCH keys, each exactly once.

        The clock has refused them since their instant; this writes the audit and the events. Run twice, late,
        killed half-way or side by side, it leaves the same rows.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            due = (
                select(keys.c.key_id, keys.c.expires_at)
                .where(
                    keys.c.expires_at.is_not(None),
                    keys.c.expiry_recorded_at.is_(None),
                    keys.c.expires_at <= now,
                )
                .order_by(keys.c.expires_at)
                .limit(EXPIRY_BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.execute(due).all()
            if not rows:
                return JobBatch(0)
            key_ids = [row.key_id for row in rows]
            transaction.execute(update(keys).where(keys.c.key_id.in_(key_ids)).values(expiry_recorded_at=now))
            views = key_rows.load(transaction, key_ids, self._calendar, now)
            changes = [Changed(row.key_id, {"expired": None}, {"expired": iso(row.expires_at)}) for row in rows]
            audit.record(transaction, Act(SYSTEM, now), "expire", "key", changes)
            delivery.enqueue(transaction, [key_events.of_key("key_expired", view) for view in views], now)
            return JobBatch(len(rows), more=len(rows) == EXPIRY_BATCH)


def archive(transaction: Connection, act: Act, views: Sequence[KeyView]) -> None:
    """Move keys into the archive: their rows, secrets, spend and own object permissions, with audit and events."""
    if not views:
        return
    transaction.execute(insert(deleted_keys), [_archived(act, view) for view in views])
    key_ids = [view.key_id for view in views]
    delivery.withdraw(transaction, key_secrets.events_of(key_ids))
    key_secrets.retire_all(transaction, key_ids, act.at)
    transaction.execute(delete(keys).where(keys.c.key_id.in_(key_ids)))
    account_rows.lock(transaction, account_rows.of_keys(key_ids))
    transaction.execute(delete(budget_state).where(account_rows.of_keys(key_ids)))
    key_relations.drop_permissions(transaction, views)
    changes = [Changed(view.key_id, view.fields(), None) for view in views]
    audit.record(transaction, act, "delete", "key", changes)
    delivery.enqueue(transaction, [key_events.of_key("key_deleted", view) for view in views], act.at)


def archive_all(
    transaction: Connection, act: Act, chosen: ColumnElement[bool], calendar: Calendar, renew: Callable[[], None]
) -> None:
    """Archive every key that matches, ARCHIVE_BATCH at a time: memory does not grow with their number.

    `renew` is called with each batch, so that the change may take as long as there are keys.
    """
    last = ""
    while True:
        batch = select(keys.c.key_id).where(chosen, keys.c.key_id > last).order_by(keys.c.key_id)
        key_ids = transaction.execute(batch.limit(ARCHIVE_BATCH)).scalars().all()
        if not key_ids:
            return
        archive(transaction, act, key_rows.load(transaction, key_ids, calendar, act.at, lock=True))
        last = key_ids[-1]
        renew()


def _archived(act: Act, view: KeyView) -> dict[str, Any]:
    columns: Mapping[str, Any] = view.columns
    window = view.spend.window
    return {
        **{name: value for name, value in columns.items() if name in deleted_keys.c},
        "key_id": view.key_id,
        "token": view.token,
        "key_name": view.key_name,
        "object_permission": view.object_permission,
        "litellm_budget_table": view.tier,
        "spend_nanos": view.spend.window_nanos,
        "total_spend_nanos": view.spend.lifetime_nanos,
        "window_start": None if window is None else window.start,
        "budget_reset_at": None if window is None else window.end,
        "deleted_at": act.at,
        "deleted_by": act.caller.user_id,
        "deleted_by_key_id": act.caller.key_id or act.caller.key_alias,
        "changed_by": act.changed_by,
    }


def _not_found() -> KeyNotFound:
    return KeyNotFound("Key not found.")


def _none_found() -> NothingFound:
    return NothingFound("No keys found", "keys")
