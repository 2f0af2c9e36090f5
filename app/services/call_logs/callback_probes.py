"""Testing one logging callback of a key: what the worker does for /key/health.

Secrets are opened here, go to the destination that their owner has set, and nowhere else: results, logs and the
queue hold none.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import structlog

from app.clock import Clock
from app.db import Database
from app.domain.callbacks import entries_of, name_of, variables_of
from app.domain.standard_payload import probe
from app.domain.windows import Calendar
from app.integrations.destinations import Destinations
from app.integrations.outbound import Fence
from app.services.keys import key_rows
from app.services.keys.key_views import KeyView
from app.services.sealing.sealing import CannotOpen, Sealer
from app.store.replies import Replies

_log = structlog.get_logger(__name__)

CHANGED_MEANWHILE = "the callbacks were changed during the test"
NAMELESS = "callback_name is required in key_logging"
NOT_SUPPORTED = "not supported here"


@dataclass(frozen=True, slots=True)
class CallbackHealth:
    """How one destination took a test log; `http_status` is its own last answer, where there was one."""

    callback_name: str
    ok: bool
    http_status: int | None = None
    milliseconds: int | None = None
    reason: str | None = None


class CallbackProbes:
    def __init__(
        self,
        database: Database,
        calendar: Calendar,
        clock: Clock,
        sealer: Sealer,
        destinations: Destinations,
        fence: Fence,
        replies: Replies,
    ) -> None:
        self._database = database
        self._calendar = calendar
        self._clock = clock
        self._sealer = sealer
        self._destinations = destinations
        self._fence = fence
        self._replies = replies

    def run(self, key_id: str, index: int, reply_to: str) -> CallbackHealth:
        """Send a test log to the callback at `index` of the key and leave the result for whoever waits.

        Ends within the fence's seconds, plus a read of SQL; raises StoreUnavailable. Run again, it sends again.
        """
        health = self._test(key_id, index)
        self._replies.send(reply_to, asdict(health))
        return health

    def _test(self, key_id: str, index: int) -> CallbackHealth:
        with self._database.read() as connection:
            found = key_rows.load(connection, [key_id], self._calendar, self._clock.now())
        entries = entries_of(found[0].columns["metadata"].get("logging")) if found else ()
        if index >= len(entries):
            return CallbackHealth("", ok=False, reason=CHANGED_MEANWHILE)
        name = name_of(entries[index])
        try:
            variables = self._sealer.opened(variables_of(entries[index]))
            return self._send(name, variables, found[0])
        except CannotOpen as fault:
            return CallbackHealth(name, ok=False, reason=f"a stored secret cannot be opened: {fault}")
        except Exception as error:  # noqa: BLE001 - whoever waits is told; the error's text could hold a secret
            _log.error("callback_test_failed", callback=name, error=type(error).__name__)
            return CallbackHealth(name, ok=False, reason="the test failed here, not at the destination")

    def _send(self, name: str, variables: Mapping[str, str], key: KeyView) -> CallbackHealth:
        destination = self._destinations.named(name)
        if destination is None:
            return CallbackHealth(name, ok=False, reason=NOT_SUPPORTED)
        test = probe(str(uuid.uuid4()), key.fields(), key.seen_at)
        result = destination.send(variables, [test], self._fence.open())
        return CallbackHealth(name, result.ok, result.http_status, result.milliseconds, result.reason)
