"""Changing many keys in one request: each is judged on its own, so that one bad item stops no other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.db import Database
from app.domain import access
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound
from app.services.access.callers import Callers
from app.services.access.refusals import enforce, rules
from app.services.accounts import account_rows
from app.services.audit.audit import Act
from app.services.keys import key_names, key_rows
from app.services.keys.key_changes import KeyChanges, settings_of
from app.services.keys.key_patches import Patch
from app.services.keys.key_views import KeyView
from app.store import policies
from app.store.policies import Policies

MOST_ITEMS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What to change of a key: as the request names it, the key that this is, and the settings that were sent."""

    reference: str
    key_id: str | None
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BulkItem:
    """What became of one item: the key as it is now, and why it was left alone where it was."""

    reference: str
    view: KeyView | None
    failed_reason: str | None = None


class KeyBulk:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        callers: Callers,
        changes: KeyChanges,
        calendar: Calendar,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._changes = changes
        self._calendar = calendar

    def update(self, act: Act, items: Sequence[Mapping[str, Any]], route: str) -> list[BulkItem]:
        """Update the keys of all items that may be, in one transaction; sending the whole again is safe.

        Raises ManagersOnly for who is no administrator, InvalidRequest for none or more than MOST_ITEMS, and
        StoreUnavailable, all without any change, and WriteStands.
        """
        enforce(access.may_update_in_bulk(act.caller))
        if not 0 < len(items) <= MOST_ITEMS:
            raise InvalidRequest(f"keys must hold 1 to {MOST_ITEMS} items. Received: {len(items)}", "keys")
        with self._database.read() as connection:
            named = key_names.by_reference(connection, act.caller, [item["key"] for item in items], act.at)
        asked = [Asked(item["key"], named.get(item["key"]), settings_of(item)) for item in items]
        return self.change(act, asked, route)

    def change(
        self, act: Act, asked: Sequence[Asked], route: str, *, team_id: str | None = None
    ) -> list[BulkItem]:
        """Change keys, each as `/key/update` would by this caller, in one transaction; what became of each.

        With a `team_id`, a key that is not in this team is like one that is not there. Raises StoreUnavailable,
        without any change, and WriteStands.
        """
        key_ids = {item.key_id for item in asked if item.key_id is not None}
        if not key_ids:
            return [self._unknown(item.reference) for item in asked]
        with (
            rules(),
            self._policies.change([policies.key(key_id) for key_id in key_ids]) as before_commit,
            self._database.transaction() as transaction,
        ):
            locked = key_rows.load(transaction, key_ids, self._calendar, act.at, lock=True)
            present = {
                view.key_id: view for view in locked if team_id is None or view.columns["team_id"] == team_id
            }
            outcomes = self._change(transaction, act, asked, present, route)
            before_commit()
        corrected = {item.key_id for item in asked if item.key_id is not None and "spend" in item.settings}
        if corrected:
            self._changes.spend_changed(corrected)
        return outcomes

    def _change(
        self,
        transaction: Connection,
        act: Act,
        asked: Sequence[Asked],
        present: dict[str, KeyView],
        route: str,
    ) -> list[BulkItem]:
        outcomes = [self._unknown(item.reference) for item in asked]
        turns = [*_turns([item.key_id for item in asked])]
        if len(turns) > 1:  # in one order for everybody, which turns of the same keys would not keep
            account_rows.lock(transaction, account_rows.of_keys(present))
        for turn in turns:
            patches = [
                Patch(present[key_id], asked[index].settings)
                for key_id, index in turn.items()
                if key_id in present
            ]
            changed, refused = self._changes.change(transaction, act, patches, route)
            present |= changed
            for patch in patches:
                key_id = patch.before.key_id
                reason = refused[key_id].message if key_id in refused else None
                index = turn[key_id]
                outcomes[index] = BulkItem(asked[index].reference, present[key_id], reason)
        return outcomes

    def _unknown(self, reference: str) -> BulkItem:
        is_master = self._callers.is_master(reference)
        reason = "The master key is no virtual key." if is_master else KeyNotFound().message
        return BulkItem(reference, None, reason)


def _turns(found: Sequence[str | None]) -> Iterator[dict[str, int]]:
    """The positions of the items by key, one of each key at a time: items of the same key follow one another."""
    left = [(key_id, index) for index, key_id in enumerate(found) if key_id is not None]
    while left:
        turn: dict[str, int] = {}
        later = []
        for key_id, index in left:
            if turn.setdefault(key_id, index) != index:
                later.append((key_id, index))
        yield turn
        left = later
