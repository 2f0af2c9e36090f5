"""What the keys of balances are called, and instants as they stand in them: milliseconds, as text."""

from datetime import UTC, datetime

from app.domain.limits import Account, Slots, Unit
from app.domain.scopes import Scope
from app.store.connection import Lease


def counter(lease: Lease, account: Account) -> str:
    """The counter of an account in one window of one arming: the next window begins at zero by its name."""
    armed_at = "-" if account.armed_at is None else milliseconds(account.armed_at)
    start = "-" if account.window is None else milliseconds(account.window.start)
    return lease.name("balance", *_scope(account.scope), armed_at, start)


def rate(lease: Lease, scope: Scope, unit: Unit, now: datetime) -> str:
    """What is counted of a rate in the calendar minute of `now`."""
    return lease.name("rate", unit.value, *_scope(scope), str(int(now.timestamp()) // 60))


def slots(lease: Lease, limit: Slots) -> str:
    """The parallel requests that are under way."""
    return lease.name("slots", *_scope(limit.scope))


def hold(lease: Lease, key_id: str, request_id: str) -> str:
    return lease.name("hold", key_id, request_id)


def milliseconds(instant: datetime) -> str:
    return str(int(instant.timestamp() * 1000))


def instant(text: str) -> datetime:
    """The instant of so many milliseconds."""
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def _scope(scope: Scope) -> tuple[str, ...]:
    # The length keeps an id that holds a colon apart from what follows it.
    return scope.kind.value, str(len(scope.id)), scope.id, scope.sub
