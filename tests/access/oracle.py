"""What each cell of the matrix should answer, from tables of who sees what and who may do what.

The tables are written from the contract and its decisions. A row is one thing that one route does; its cells are
all callers times all targets of its noun. What a caller may not see is expected to answer as what does not exist.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.access.callers import CALLERS, EVERYBODY, NOBODY, OPENED, RESTRICTED, SHUT, VIEWER

# Who sees, or may do something to, which target.
Grants = Mapping[str, frozenset[str]]

UNKNOWN = "unknown"
NONE = "none"


@dataclass(frozen=True, slots=True)
class Noun:
    """What a route is about: its targets, each with those who see it. `held_by` are the callers that have one."""

    name: str
    seen_by: Grants
    held_by: Grants = field(default_factory=dict)

    def targets(self, caller: str) -> Iterator[str]:
        """The targets that there are for this caller; there is always one that does not exist."""
        for target in (*self.seen_by, UNKNOWN):
            if caller in self.held_by.get(target, frozenset(CALLERS)):
                yield target


# Of routes that are about nothing in particular.
NOTHING = Noun(NONE, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`sends` makes the arguments of the call from the name of the target.

    `public` rows ask for no key. `reaches` are the callers that pass the gate; `may` those that may do it to a
    target that they see, by target.
    `odd` are single cells whose status is neither `done`, `refused` nor `hidden`, with the reason beside them.
    `shows`: a 200 holds the target's mark for these callers and for nobody else.
    """

    method: str
    route: str
    does: str = ""
    noun: Noun = NOTHING
    sends: Callable[[str], dict[str, Any]] = lambda _: {}
    public: bool = False
    reaches: frozenset[str] = EVERYBODY
    may: Grants
    done: int = 200
    refused: int = 403
    hidden: int = 404
    odd: Mapping[tuple[str, str], int] = field(default_factory=dict)
    seen_by: Grants | None = None
    shows: Grants | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}" + (f" ({self.does})" if self.does else "")

    def sees(self, caller: str, target: str) -> bool:
        """Whether the target exists as far as the caller is concerned."""
        seen_by = self.noun.seen_by if self.seen_by is None else self.seen_by
        return self.noun is NOTHING or caller in seen_by.get(target, NOBODY)


def passes(row: Row, caller: str) -> bool:
    """Whether the caller gets as far as what the route does."""
    if caller == RESTRICTED:
        return row.route in CALLERS[RESTRICTED].key["allowed_routes"]
    return caller in row.reaches or caller == OPENED


def expected(row: Row, caller: str, target: str) -> int:
    """The status of a cell."""
    if row.public:
        return row.done
    if caller in SHUT:
        return 401
    if not passes(row, caller):
        return 403 if caller in {VIEWER, RESTRICTED} else 401
    if (caller, target) in row.odd:
        return row.odd[caller, target]
    if not row.sees(caller, target):
        return row.hidden
    return row.done if caller in row.may.get(target, NOBODY) else row.refused


def cells(row: Row) -> Iterator[tuple[str, str]]:
    for caller in CALLERS:
        for target in row.noun.targets(caller) if row.noun is not NOTHING else (NONE,):
            yield caller, target


def on(callers: frozenset[str], *targets: str) -> dict[str, frozenset[str]]:
    """The same callers for several targets."""
    return dict.fromkeys(targets, callers)


def joined(*grants: Grants) -> dict[str, frozenset[str]]:
    """Who may by any of these."""
    targets = {target for grant in grants for target in grant}
    return {target: frozenset().union(*(grant.get(target, NOBODY) for grant in grants)) for target in targets}


def opened(status: int, *targets: str) -> dict[tuple[str, str], int]:
    """What a key is answered that reaches the route by the list of its own routes alone.

    Where the contract leaves a route to its gate, that is all it needs; elsewhere a list of routes shows nobody more
    than the owner sees, and lets nobody do more.
    """
    return dict.fromkeys(((OPENED, target) for target in targets or (NONE,)), status)
