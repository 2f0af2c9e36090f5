"""Scheduled rotation: by which way a new secret may leave, what becomes of it there, and when the next is due.

A secret leaves by one way only, and only by one that has been seen to work: what nobody takes would be lost.
"""

from bisect import bisect_right
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.durations import Duration, InvalidDuration, Unit
from app.domain.event_routing import MAIL
from app.domain.mail_address import is_mail_address
from app.domain.values import InvalidValue

# How long the former secret lives on where no setting says so: its holders need time to change over.
DEFAULT_GRACE = Duration(24, Unit.HOUR)
# A rotation that failed is tried again after a day, however often the key rotates: each failure is told to people.
RETRY_AFTER = timedelta(hours=24)
# A sealed secret is kept for a day; what was sent in its last moment is recorded soon after that.
GIVEN_UP_AFTER = timedelta(hours=24, minutes=5)


@dataclass(frozen=True, slots=True)
class Carriers:
    """What the settings let carry a secret: the targets of signed https webhooks, and mail."""

    webhooks: tuple[str, ...] = ()
    mail: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        return (*((MAIL,) if self.mail else ()), *self.webhooks)


@dataclass(frozen=True, slots=True)
class Way:
    """Whom a new secret goes to: a target and, for mail, the address of the key's user."""

    target: str
    recipient: str = ""


class Fate(StrEnum):
    """What has become of a secret on its way."""

    DELIVERED = "delivered"
    GIVEN_UP = "given up"


def way_of(carriers: Carriers, confirmed: AbstractSet[str], address: str | None) -> Way:
    """The one way of a key's new secrets: mail to its user, else the first webhook.

    `confirmed` are the targets that have taken something before, `address` is the user's. Raises InvalidValue,
    which says what is missing and how to get it.
    """
    missing = []
    if not carriers.targets:
        missing.append(
            "set KEYLEDGER_MAIL_KEYS with SMTP_HOST, or KEYLEDGER_WEBHOOK_SECRET with an https WEBHOOK_URL"
        )
    for target in carriers.targets:
        if target == MAIL and (address is None or not is_mail_address(address)):
            missing.append("mail: the key's user has no mail address")
        elif target not in confirmed:
            missing.append(f"{target}: nothing has arrived there yet, 'keyledger events test' confirms it")
        else:
            return Way(target, address or "" if target == MAIL else "")
    raise InvalidValue(
        f"auto_rotate needs a confirmed channel for new secrets ({'; '.join(missing)})", "auto_rotate"
    )


def fate(
    sent_at: datetime, delivered_at: datetime | None, parked_at: datetime | None, now: datetime
) -> Fate | None:
    """What has become of a secret that was sent off at `sent_at`, by its delivery; None while it is on its way."""
    if delivered_at is not None:
        return Fate.DELIVERED
    if parked_at is not None or now - sent_at >= GIVEN_UP_AFTER:
        return Fate.GIVEN_UP
    return None


def next_rotation(interval: Duration, due_at: datetime, now: datetime) -> datetime | None:
    """The first instant after `now` that is a whole number of intervals from `due_at`; None: beyond the calendar.

    So the instants do not drift with the job, and rotations that an outage has swallowed are not made up for.
    Raises InvalidValue for an interval without any length.
    """
    if interval.count == 0:
        raise InvalidValue("rotation_interval must be above 0", "rotation_interval")

    def after(count: int) -> datetime:
        return Duration(interval.count * count, interval.unit).after(due_at)

    try:
        shortest = (after(1) - due_at) * 0.9  # months and years differ, by less than that
        most = (now - due_at) // shortest + 2
        return after(bisect_right(range(1, most), now, key=after) + 1)
    except InvalidDuration:
        return None


def spelled(length: Duration) -> str:
    """The length as people write it, such as 24h."""
    return f"{length.count}{length.unit}"
