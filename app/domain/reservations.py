"""What a verify promised, whole: enough to charge the call rightly when everything in Redis is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Window

# A charge comes no later than this after its call: so long a repeated one is surely recognised.
SETTLED_WITHIN = timedelta(days=31)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Reservation:
    """`amount_nanos` is what is held by the estimate, `tokens` what it counts against token rates."""

    key_id: str
    request_id: str
    held_at: datetime
    amount_nanos: int
    tokens: int
    model: str | None
    team_id: str | None
    user_id: str | None
    organization_id: str | None
    end_user: str | None
    tags: tuple[str, ...]
    accounts: tuple[Account, ...]

    def packed(self) -> dict[str, Any]:
        """The reservation as JSON, short: it travels with every call."""
        return {
            "k": self.key_id,
            "r": self.request_id,
            "t": _micros(self.held_at),
            "a": self.amount_nanos,
            "n": self.tokens,
            "m": self.model,
            "i": [self.team_id, self.user_id, self.organization_id, self.end_user],
            "g": self.tags,
            "s": [_packed_account(account) for account in self.accounts],
        }


def unpacked(packed: Mapping[str, Any]) -> Reservation:
    """The reservation that was packed; raises KeyError, TypeError or ValueError for anything else."""
    team_id, user_id, organization_id, end_user = packed["i"]
    return Reservation(
        key_id=packed["k"],
        request_id=packed["r"],
        held_at=_instant(packed["t"]),
        amount_nanos=packed["a"],
        tokens=packed["n"],
        model=packed["m"],
        team_id=team_id,
        user_id=user_id,
        organization_id=organization_id,
        end_user=end_user,
        tags=tuple(packed["g"]),
        accounts=tuple(_unpacked_account(*account) for account in packed["s"]),
    )


def _packed_account(account: Account) -> Sequence[Any]:
    scope = [account.scope.kind.value, account.scope.id, account.scope.sub]
    if account.armed_at is None:
        return scope
    window = () if account.window is None else (account.window.start, account.window.end)
    terms = () if account.terms is None else (account.terms.spelling, account.terms.cap_nanos)
    return [*scope, *map(_micros, (account.armed_at, *window)), *terms]


def _unpacked_account(kind: str, identity: str, sub: str, *rest: Any) -> Account:
    scope = Scope(ScopeKind(kind), identity, sub)
    if not rest:
        return Account(scope)
    armed_at, *window = map(_instant, rest[:3])
    terms = Terms(*rest[3:]) if rest[3:] else None
    return Account(scope, Window(*window) if window else None, armed_at, terms)


def _micros(instant: datetime) -> int:
    """Exact to the microsecond, as the store has it: a float of seconds would not be."""
    return (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
