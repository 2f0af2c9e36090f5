"""Which thresholds of a budget a spend has crossed, and how the fact is spelled that makes it known once.

A threshold is crossed where the spend of a window comes from below it to it or above. Each is known by whose
budget, which window and how much, and by when its holder was made, for another may get that one's name: so it is
told once in a window, however the charges fall into folds and on whichever process, and again in the next one. A
cap that was changed makes other thresholds. Whoever cannot tell what a spend comes from asks for all that stand
crossed: the fact is the same.

Beside the caps themselves there are 85 and 95 per cent of the hard one, and those at which somebody wants to
hear of it. Each is a threshold of its own, and none swallows another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.event_routing import ALERT_EMAILS
from app.domain.scopes import Scope
from app.domain.windows import Window

# What is left of a cap when LiteLLM calls it nearly used up: 15 and 5 per cent.
NEAR_PERCENTAGES = (85, 95)
# A window says nothing of its end before so much of it has passed.
_JUDGED_AFTER = 10


class CrossingKind(StrEnum):
    """What crossing a threshold is called as an event."""

    SOFT = "soft_budget_crossed"
    ALERT = "max_budget_alert"
    NEAR = "threshold_crossed"
    HARD = "budget_crossed"
    PROJECTED = "projected_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Caps:
    """What a scope may spend in a window, in nano-dollars, and at which percentages of that somebody is told."""

    max_nanos: int | None = None
    soft_nanos: int | None = None
    alert_percentages: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """A spend in nano-dollars that is told of when it is reached; `percentage` of the hard cap, if it is one."""

    kind: CrossingKind
    nanos: int
    percentage: int | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """What a window comes to if it goes on as it began, and when that passes the soft cap."""

    spend_nanos: int
    exceeded_at: datetime


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that a scope has crossed in a window, None where it has none, with what it has spent there.

    The scope's holder is there `since` it was made.
    """

    scope: Scope
    window: Window | None
    threshold: Threshold
    spend_nanos: int
    projection: Projection | None = None
    since: datetime | None = None

    @property
    def fact(self) -> str:
        """The one name of it: equal for the same holder's budget, window and threshold."""
        threshold = self.threshold
        opened = "" if self.window is None else self.window.start.isoformat()
        percentage = "" if threshold.percentage is None else f"{threshold.percentage}:"
        since = "" if self.since is None else self.since.isoformat()
        named = f"{threshold.kind}:{self.scope.kind}:{self.scope.id}"
        return f"{named}:{since}:{opened}:{percentage}{threshold.nanos}"


def thresholds(caps: Caps) -> Iterator[Threshold]:
    """Every threshold of these caps but the projected one; a budget that nothing was spent of has crossed none."""
    if caps.soft_nanos is not None:
        yield Threshold(CrossingKind.SOFT, max(caps.soft_nanos, 1))
    if caps.max_nanos is None:
        return
    for percentage in sorted(set(caps.alert_percentages)):
        yield _part(CrossingKind.ALERT, caps.max_nanos, percentage)
    for percentage in NEAR_PERCENTAGES:
        yield _part(CrossingKind.NEAR, caps.max_nanos, percentage)
    yield Threshold(CrossingKind.HARD, max(caps.max_nanos, 1))


def crossings(
    scope: Scope,
    caps: Caps,
    window: Window | None,
    *,
    before: int | None,
    after: int,
    now: datetime,
    since: datetime | None = None,
) -> list[Crossing]:
    """What a spend that goes from `before` to `after` nano-dollars in a window crosses, or is about to.

    Without a `before`, all that stands crossed. The projection is judged by where the spend stands, whatever it
    comes from, for time alone moves it: there only the fact keeps it from being told twice.
    """
    found = [
        Crossing(scope, window, threshold, after, since=since)
        for threshold in thresholds(caps)
        if (before is None or before < threshold.nanos) and threshold.nanos <= after
    ]
    projection = projected(caps, window, after, now)
    if projection is not None and caps.soft_nanos is not None:
        threshold = Threshold(CrossingKind.PROJECTED, caps.soft_nanos)
        found.append(Crossing(scope, window, threshold, after, projection, since))
    return found


def projected(caps: Caps, window: Window | None, spend_nanos: int, now: datetime) -> Projection | None:
    """How a running window will pass its soft cap if it goes on in a straight line; None where it will not.

    Nothing is projected before a tenth of the window has passed, once the cap is reached, or without a window.
    """
    soft = caps.soft_nanos
    if soft is None or window is None or not 0 < spend_nanos < soft or not window.start < now < window.end:
        return None
    length, passed = _microseconds(window.end - window.start), _microseconds(now - window.start)
    if passed * _JUDGED_AFTER < length or spend_nanos * length <= soft * passed:
        return None
    exceeded_at = window.start + timedelta(microseconds=soft * passed // spend_nanos)
    return Projection(spend_nanos * length // passed, exceeded_at)


def alert_percentages(metadata: Mapping[str, Any], default: Sequence[int]) -> tuple[int, ...]:
    """At which percentages a key's metadata asks for an alert; where it asks for none, the default.

    Metadata is free-form: what is no percentage from 1 to 100 asks for nothing.
    """
    asked = metadata.get(ALERT_EMAILS)
    if not isinstance(asked, Mapping):
        return tuple(default)
    found = {int(name) for name in asked if name.isascii() and name.isdecimal() and len(name) <= len("100")}
    return tuple(sorted(found & set(range(1, 101)))) or tuple(default)


def _part(kind: CrossingKind, cap: int, percentage: int) -> Threshold:
    # Rounded up: below it the percentage is not reached.
    return Threshold(kind, max(-(-cap * percentage // 100), 1), percentage)


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
