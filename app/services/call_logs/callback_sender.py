"""Sending logs of finished calls to the logging callbacks of keys and teams.

A callback is looked up again whenever something is sent to it: its owner may have changed its address or its
credentials, or taken it away. Its secrets are opened here, and go to the place that their owner has set.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection, select

from app.db import Database
from app.domain.callback_targets import KEY, CallbackTarget
from app.domain.callbacks import hears_bodies, variables_of
from app.domain.deliveries import Claimed
from app.domain.standard_payload import Log, without_bodies
from app.errors import StoreUnavailable
from app.integrations.batches import OF_THE_LOGS
from app.integrations.destinations import DeliveryResult, Destination, Destinations
from app.integrations.outbound import Fence, Outbound
from app.models import call_logs, deleted_keys, keys, teams
from app.services.sealing.sealing import CannotOpen, Sealer

_log = structlog.get_logger(__name__)

GONE = "the callback is not there any more, or is switched off"
NOT_KEPT = "the log is not kept any more"
NOT_SUPPORTED = "not supported here"
MOST_LOGS = 100


@dataclass(frozen=True, slots=True)
class _Callback:
    """One callback at work on one claim."""

    destination: Destination
    variables: Mapping[str, str]
    outbound: Outbound


class CallbackSender:
    most = MOST_LOGS

    def __init__(self, database: Database, sealer: Sealer, destinations: Destinations, fence: Fence) -> None:
        self._database = database
        self._sealer = sealer
        self._destinations = destinations
        self._fence = fence

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        """Send these logs to one callback as one batch; the results by delivery id.

        Where the destination refuses the batch for what is in it, it is halved until the one at fault stands
        alone, as far as the fence's seconds reach: what was not sent by then has no result. A repeat sends again,
        with the same identities.
        """
        try:
            found = CallbackTarget.parse(target)
            with self._database.read() as connection:
                entry = found.entry(_metadata(connection, found))
                payloads = _payloads(connection, [each.subject_id for each in claimed])
        except StoreUnavailable:
            return {}
        if entry is None:
            return _all(claimed, GONE)
        destination = self._destinations.named(found.callback_name)
        if destination is None:
            return _all(claimed, NOT_SUPPORTED)
        try:
            variables = self._sealer.opened(variables_of(entry))
        except CannotOpen as fault:
            # The right salt key may be set yet.
            return _all(claimed, f"a stored secret cannot be opened: {fault}", retryable=True)
        bodies = hears_bodies(variables)
        logs = {
            each.delivery_id: Log(each.subject_id, each.created_at, payload if bodies else without_bodies(payload))
            for each in claimed
            if (payload := payloads.get(each.subject_id)) is not None
        }
        lost = _all([each for each in claimed if each.delivery_id not in logs], NOT_KEPT)
        callback = _Callback(destination, variables, self._fence.open())
        return {**lost, **self._in_halves(callback, list(logs.items()))}

    def _in_halves(self, callback: _Callback, logs: Sequence[tuple[int, Log]]) -> dict[int, DeliveryResult]:
        results: dict[int, DeliveryResult] = {}
        waiting = [logs] if logs else []
        while waiting and callback.outbound.milliseconds < self._fence.seconds * 1000:
            part = waiting.pop()
            result = callback.destination.send(callback.variables, [log for _, log in part], callback.outbound)
            if result.ok or result.retryable or result.http_status not in OF_THE_LOGS or len(part) == 1:
                results |= {delivery_id: result for delivery_id, _ in part}
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        if waiting and not results:
            # Too slow for halves: after a failure that may pass it is tried with one alone.
            late = replace(result, retryable=True)
            results = {delivery_id: late for delivery_id, _ in logs}
        return results


def _metadata(connection: Connection, target: CallbackTarget) -> Mapping[str, Any]:
    """What the callback's owner is set to; a deleted key as it was, and nothing of a team that is gone."""
    if target.owner == KEY:
        found = [
            select(table.c.metadata).where(table.c.key_id == target.owner_id) for table in (keys, deleted_keys)
        ]
    else:
        found = [select(teams.c.metadata).where(teams.c.team_id == target.owner_id)]
    for statement in found:
        row = connection.execute(statement).first()
        if row is not None:
            return row.metadata or {}
    return {}


def _payloads(connection: Connection, log_ids: Collection[str]) -> dict[str, Any]:
    rows = connection.execute(
        select(call_logs.c.log_id, call_logs.c.payload).where(call_logs.c.log_id.in_(log_ids))
    )
    return {row.log_id: row.payload for row in rows}


def _all(claimed: Sequence[Claimed], reason: str, *, retryable: bool = False) -> dict[int, DeliveryResult]:
    result = DeliveryResult(ok=False, http_status=None, milliseconds=0, reason=reason, retryable=retryable)
    return {each.delivery_id: result for each in claimed}
