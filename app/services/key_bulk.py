"""Changing many keys in one request: each on its own, so that one bad item stops no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.db import Database
from app.domain import access
from app.domain.windows import Calendar
from app.errors import BulkSize, ServiceError, StoreUnavailable
from app.services import key_rows
from app.services.audit import Act
from app.services.key_changes import KeyChanges
from app.services.key_views import KeyView
from app.services.refusals import enforce

MOST_ITEMS = 500


@dataclass(frozen=True, slots=True)
class BulkItem:
    """What became of one item: the key as it is now, and why it was left alone where it was."""

    reference: str
    view: KeyView | None
    failed_reason: str | None = None


class KeyBulk:
    def __init__(self, database: Database, changes: KeyChanges, calendar: Calendar) -> None:
        self._database = database
        self._changes = changes
        self._calendar = calendar

    def update(self, act: Act, items: Sequence[Mapping[str, Any]], route: str) -> list[BulkItem]:
        """Update each item's key in a transaction of its own; sending the whole again is safe.

        Raises BulkSize for none or more than MOST_ITEMS, ManagersOnly for who is no administrator, and
        StoreUnavailable as soon as the store is away: what was done until then stands.
        """
        if not 0 < len(items) <= MOST_ITEMS:
            raise BulkSize(f"keys must hold 1 to {MOST_ITEMS} items. Received: {len(items)}", "keys")
        enforce(access.may_update_in_bulk(act.caller))
        return [self._update(act, item, route) for item in items]

    def _update(self, act: Act, item: Mapping[str, Any], route: str) -> BulkItem:
        try:
            return BulkItem(item["key"], self._changes.update(act, item, route))
        except StoreUnavailable:
            raise
        except ServiceError as error:
            return BulkItem(item["key"], self._present(act, item["key"]), error.message)

    def _present(self, act: Act, reference: str) -> KeyView | None:
        with self._database.read() as connection:
            ids = key_rows.ids_of_references(connection, [reference], act.at)
            views = key_rows.load(connection, ids.values(), self._calendar, act.at) if ids else []
        return views[0] if views else None
