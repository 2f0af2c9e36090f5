"""Whose spend a caller may see."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.access.callers import Caller, Standing


@dataclass(frozen=True, slots=True)
class SpendReach:
    """Everybody's spend, or that of one user, of one key and of some teams."""

    everything: bool = False
    user_id: str | None = None
    key_id: str | None = None
    team_ids: frozenset[str] = frozenset()


def sees_spend_of(standing: Standing) -> bool:
    """Whether the caller sees what a whole team spends: those who manage it do, a plain member sees its own."""
    return standing.manages


def spend_reach(caller: Caller, team_ids: Iterable[str] = ()) -> SpendReach:
    """The reach of a caller to whom `sees_spend_of` shows these teams; without them, what is the caller's own."""
    if caller.sees_all:
        return SpendReach(everything=True)
    return SpendReach(user_id=caller.user_id, key_id=caller.key_id, team_ids=frozenset(team_ids))
