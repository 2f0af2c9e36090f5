"""Whose budgets and rates there are."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ScopeKind(StrEnum):
    KEY = "key"
    KEY_MODEL = "key_model"
    KEY_WINDOW = "key_window"
    TEAM = "team"
    TEAM_MODEL = "team_model"
    TEAM_WINDOW = "team_window"
    USER = "user"
    USER_MODEL = "user_model"
    MEMBER = "member"
    ORGANIZATION = "organization"
    ORGANIZATION_MODEL = "organization_model"


# By their names, among which another release may have more.
KINDS = frozenset(kind.value for kind in ScopeKind)

# Their accounts go with the key, whose id never comes again.
OF_KEYS = frozenset({ScopeKind.KEY, ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW})


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money or rate it is; `sub` names the model, or the spelling of the further window."""

    kind: ScopeKind
    id: str
    sub: str = ""


def scopes_in(stored: Any) -> list[Scope]:
    """The scopes that a row of the ledger names, each by kind, id and `sub`; what is none of these is left out."""
    found = []
    for named in stored if isinstance(stored, list) else ():
        match named:
            case [str(kind), str(identity), str(sub)] if kind in KINDS:
                found.append(Scope(ScopeKind(kind), identity, sub))
    return found
