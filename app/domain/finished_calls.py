"""A call that is over, as its gateway tells of it, and how much of it may be kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.domain.reservations import Reservation
from app.domain.values import InvalidValue

# The field of a key's or a team's metadata that lets the bodies of messages be kept; the key's goes before.
ALLOWED_BY = "log_messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """What is None was not told; `status` is `success` or `failure`.

    Raises InvalidValue for one that ended before it began.
    """

    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    call_type: str | None = None
    route: str | None = None
    model: str | None = None
    model_group: str | None = None
    model_id: str | None = None
    custom_llm_provider: str | None = None
    api_base: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_nanos: int | None = None
    tags: tuple[str, ...] = ()
    end_user: str | None = None
    session_id: str | None = None
    trace_id: str | None = None
    cache_hit: bool | None = None
    messages: Any = field(default=None, repr=False)
    response: Any = field(default=None, repr=False)
    error_str: str | None = field(default=None, repr=False)
    error_information: Mapping[str, Any] | None = field(default=None, repr=False)
    model_parameters: Mapping[str, Any] | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.started_at is not None and self.ended_at is not None and self.ended_at < self.started_at:
            raise InvalidValue("end_time must not lie before start_time.", "end_time")

    def completed(self, **known: Any) -> "FinishedCall":
        """With what is known of the call besides, where it was not told."""
        return replace(self, **{name: value for name, value in known.items() if getattr(self, name) in (None, ())})

    def held_by(self, reservation: Reservation) -> "FinishedCall":
        """With what was known of the call when it was held; one that ended before is told by another clock."""
        held_at = reservation.held_at
        return self.completed(
            started_at=held_at if self.ended_at is None else min(held_at, self.ended_at),
            model=reservation.model,
            tags=reservation.tags,
            end_user=reservation.end_user,
        )


def keeps_messages(key_metadata: Mapping[str, Any], team_metadata: Mapping[str, Any], *, default: bool) -> bool:
    """Whether the bodies of a call may be kept: as the key says, else its team, else `default`.

    What is neither true nor false keeps nothing, so that a mistake never stores more than was meant.
    """
    for metadata in (key_metadata, team_metadata):
        if metadata.get(ALLOWED_BY) is not None:
            return metadata[ALLOWED_BY] is True
    return default
