"""/key/health: whether the logging callbacks of the caller's own key work, asked of each destination itself.

The tests run in the workers, so a slow destination holds no more than a few web threads, and those for a limited
time. A verdict is about one destination: nothing else that goes wrong meanwhile makes it unhealthy.
"""

import uuid
from collections.abc import Mapping, Sequence
from threading import BoundedSemaphore
from typing import Any

from sqlalchemy import select

from app.db import Database
from app.dispatch import Dispatch, TaskName
from app.domain.callbacks import MOST_CALLBACKS, entries_of, name_of
from app.errors import NoWorker, Overloaded
from app.integrations.destinations import SUPPORTED
from app.models import keys
from app.services.audit.audit import Act
from app.services.call_logs.callback_probes import CHANGED_MEANWHILE, NAMELESS, NOT_SUPPORTED, CallbackHealth
from app.store.replies import Replies


class KeyHealth:
    """`seconds` is how long a request waits for the workers, `waiting` how many may wait in this process."""

    def __init__(
        self, database: Database, dispatch: Dispatch, replies: Replies, *, seconds: float, waiting: int
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._replies = replies
        self._seconds = seconds
        self._places = BoundedSemaphore(waiting)

    def check(self, act: Act) -> Sequence[CallbackHealth] | None:
        """Send a test log to every callback of the caller's key; None where the key has no `logging` at all.

        Raises Overloaded (nothing was sent), NoWorker and StoreUnavailable. Each call sends anew.
        """
        entries = self._entries(act.caller.key_id)
        if entries is None:
            return None
        results = {index: fault for index, entry in enumerate(entries) if (fault := _untestable(index, entry))}
        testable = [index for index in range(len(entries)) if index not in results]
        if testable:
            if not self._places.acquire(blocking=False):
                raise Overloaded("Too many key health checks are under way. Try again in some seconds.")
            try:
                results |= self._test(str(act.caller.key_id), entries, testable)
            finally:
                self._places.release()
        return [results[index] for index in range(len(entries))]

    def _entries(self, key_id: str | None) -> Sequence[Mapping[str, Any]] | None:
        if key_id is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(keys.c.metadata).where(keys.c.key_id == key_id)).first()
        logging = None if row is None else row.metadata.get("logging")
        return entries_of(logging) if isinstance(logging, list) else None

    def _test(
        self, key_id: str, entries: Sequence[Mapping[str, Any]], indexes: Sequence[int]
    ) -> dict[int, CallbackHealth]:
        messages = {str(uuid.uuid4()): index for index in indexes}
        for message_id, index in messages.items():
            self._dispatch.send(
                TaskName.TEST_CALLBACK, [key_id, index], message_id=message_id, expires_seconds=self._seconds
            )
        replies = self._replies.collect(messages, self._seconds)
        if not replies:
            raise NoWorker(f"No worker has answered within {self._seconds:g} s. Is one running?")
        late = f"no result within {self._seconds:g} s: the workers are busy"
        results = {}
        for message_id, index in messages.items():
            name = name_of(entries[index])
            reply = replies.get(message_id)
            result = CallbackHealth(**reply) if reply else CallbackHealth(name, ok=False, reason=late)
            if result.callback_name != name:
                result = CallbackHealth(name, ok=False, reason=CHANGED_MEANWHILE)
            results[index] = result
        return results


def _untestable(index: int, entry: Mapping[str, Any]) -> CallbackHealth | None:
    """The result of an entry for which no worker is needed."""
    name = name_of(entry)
    if not name:
        return CallbackHealth("", ok=False, reason=NAMELESS)
    if name not in SUPPORTED:
        return CallbackHealth(name, ok=False, reason=NOT_SUPPORTED)
    if index >= MOST_CALLBACKS:
        return CallbackHealth(name, ok=False, reason=f"only the first {MOST_CALLBACKS} callbacks are tested")
    return None
