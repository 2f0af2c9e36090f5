"""A call that is charged: what a gateway says it has cost, the charge that is made of it, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.finished_calls import FinishedCall
from app.domain.reservations import Reservation
from app.services.call_logs.call_logs import Logged
from app.services.decisions.reservations import Subject
from app.services.ledger.ledger import Entry


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call has cost, in nano-dollars or in tokens; `occurred_at` only counts where nothing was held.

    `log` is what the callbacks of its key are to hear of it.
    """

    subject: Subject
    cost_nanos: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    log: FinishedCall | None = None

    @property
    def tokens(self) -> int | None:
        """All tokens together; None where nothing was said of them."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)


@dataclass(frozen=True, slots=True)
class Settled:
    """A charge as the ledger has it; `held_nanos` is None where nothing was held for the call.

    `logged` is what has become of its log, where it brought one.
    """

    key_id: str
    request_id: str
    model: str | None
    amount_nanos: int
    held_nanos: int | None
    duplicate: bool
    logged: Logged | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """A call about to be charged; `was_held` where something had been held for it."""

    usage: Usage
    reservation: Reservation
    was_held: bool
    entry: Entry

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it one charge: key id and request id."""
        return self.reservation.key_id, self.reservation.request_id

    def finished(self) -> FinishedCall:
        """The call as its log tells of it, with what was said of its charge."""
        usage, columns = self.usage, self.entry.columns
        told = usage.log or FinishedCall(status="success")
        return told.completed(
            model=columns["model"],
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_nanos=self.entry.amount_nanos,
            tags=tuple(columns["tags"] or ()),
            end_user=columns["end_user"],
        )

    def settled(self, recorded: Mapping[str, Any] | None, logged: Logged | None) -> Settled:
        """The answer: by what the ledger has `recorded` of it before, where it is a repeat."""
        return Settled(
            key_id=self.reservation.key_id,
            request_id=self.reservation.request_id,
            model=self.entry.columns["model"] if recorded is None else recorded["model"],
            amount_nanos=self.entry.amount_nanos if recorded is None else recorded["amount_nanos"],
            held_nanos=self.reservation.amount_nanos if self.was_held else None,
            duplicate=recorded is not None,
            logged=logged,
        )
