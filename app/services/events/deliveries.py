"""Delivering what waits: route, claim, send, record, again and again, on as many machines as there are.

What is sent and then not recorded, because the process was killed in between, is sent again with the same ids once
the lease of its target is over. A target that fails rests as a whole, so that an outage costs one attempt for each
rest and not one for each delivery; what waits for it is neither lost nor sent all at once afterwards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import TimeoutError as StillSending
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from app.clock import Clock
from app.db import Database
from app.domain.deliveries import Subject
from app.integrations.destinations import DeliveryResult
from app.integrations.senders import Sender
from app.services.events import event_retention
from app.services.events.claiming import MOST_TARGETS, Claim, claim
from app.services.events.event_routing import ROUTE_BATCH
from app.services.events.recording import Delivered, Recorded, record
from app.services.jobs.job_batches import JobBatch

_log = structlog.get_logger(__name__)

# A sender takes at most twice the seconds of one delivery; whoever takes a target over waits longer than that.
LEASE_DELIVERIES = 3
UNKNOWN_TARGET = "nothing is configured for this target"
BROKEN = "the delivery failed here, not at the destination"


class Router(Protocol):
    """Writes the deliveries of one kind of subject."""

    def route_due(self, now: datetime) -> int:
        """Route up to ROUTE_BATCH of what is not routed yet, in a transaction of its own, and say how many."""


class Deliveries:
    """`senders` are known by the first part of their targets' names; `seconds` bound one delivery as a whole.

    What waits for longer than `hours` is parked. `chance` gives a number from 0 to 1, another one each time.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        routers: Sequence[Router],
        senders: Mapping[str, Sender],
        on_delivered: Mapping[Subject, Delivered],
        chance: Callable[[], float],
        *,
        seconds: float,
        hours: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._routers = routers
        self._senders = senders
        self._on_delivered = on_delivered
        self._chance = chance
        self._seconds = seconds
        self._hours = hours

    def sweep(self) -> JobBatch:
        """Route what is new, and send one batch to each of the targets that are due.

        Ends within twice the seconds of a delivery, and a little. Two at once share no target; killed anywhere, it
        loses nothing, and what was being sent is sent again after its lease.
        """
        parked = self._tidy()
        routed = [router.route_due(self._clock.now()) for router in self._routers]
        claims = self._claim()
        done = [self._recorded(claim, results) for claim, results in self._sent(claims)]
        return JobBatch(
            parked + sum(routed) + sum(each.ended for each in done),
            parked=parked + sum(each.parked for each in done),
            more=bool(claims) or ROUTE_BATCH in routed or parked == event_retention.TIDY_BATCH,
        )

    def _tidy(self) -> int:
        """Before anything is sent: a secret whose day is over does not leave any more."""
        now = self._clock.now()
        more = True
        while more:
            with self._database.transaction() as transaction:
                more = event_retention.erase_sealed(transaction, now)
        with self._database.transaction() as transaction:
            return event_retention.park_old(transaction, now, self._hours)

    def _claim(self) -> list[Claim]:
        now = self._clock.now()
        lease = now + timedelta(seconds=LEASE_DELIVERIES * self._seconds)
        with self._database.transaction() as transaction:
            return claim(transaction, self._most, now, lease)

    def _most(self, target: str) -> int:
        sender = self._sender(target)
        return MOST_TARGETS if sender is None else sender.most

    def _sender(self, target: str) -> Sender | None:
        return self._senders.get(target.partition(":")[0])

    def _sent(self, claims: Sequence[Claim]) -> Iterable[tuple[Claim, Mapping[int, DeliveryResult]]]:
        """Each claim with its results, as they come; one whose sender does not come back is left to its lease."""
        if not claims:
            return
        pool = ThreadPoolExecutor(len(claims), thread_name_prefix="sender")
        sending: dict[Future[Mapping[int, DeliveryResult]], Claim] = {
            pool.submit(self._send, claim): claim for claim in claims
        }
        try:
            for future in as_completed(sending, timeout=(LEASE_DELIVERIES - 0.5) * self._seconds):
                yield sending.pop(future), future.result()
        except StillSending:
            for claim in sending.values():
                _log.error("sender_does_not_come_back", target=claim.target)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _send(self, claim: Claim) -> Mapping[int, DeliveryResult]:
        sender = self._sender(claim.target)
        if sender is None:
            return self._all(claim, DeliveryResult(False, None, 0, UNKNOWN_TARGET))
        if not claim.claimed:
            return {}
        try:
            return sender.send(claim.target, claim.claimed)
        except Exception as error:  # noqa: BLE001 - the others must go on; the error's text could hold a secret
            _log.error("sender_failed", target=claim.target, error=type(error).__name__)
            return self._all(claim, DeliveryResult(False, None, 0, BROKEN, retryable=True))

    @staticmethod
    def _all(claim: Claim, result: DeliveryResult) -> Mapping[int, DeliveryResult]:
        return {each.delivery_id: result for each in claim.claimed}

    def _recorded(self, claim: Claim, results: Mapping[int, DeliveryResult]) -> Recorded:
        with self._database.transaction() as transaction:
            return record(transaction, claim, results, self._on_delivered, self._clock.now(), self._chance())
