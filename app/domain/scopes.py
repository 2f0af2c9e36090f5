"""Whose budgets and rates there are."""

from dataclasses import dataclass
from enum import StrEnum


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


# Their accounts go with the key, whose id never comes again.
OF_KEYS = frozenset({ScopeKind.KEY, ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW})


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money or rate it is; `sub` names the model, or the spelling of the further window."""

    kind: ScopeKind
    id: str
    sub: str = ""
