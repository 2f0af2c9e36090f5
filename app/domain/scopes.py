"""Whose budgets and rates there are."""

from dataclasses import dataclass
from enum import StrEnum


class ScopeKind(StrEnum):
    KEY = "key"
    KEY_MODEL = "key_model"
    KEY_WINDOW = "key_window"
    TEAM = "team"
    TEAM_MODEL = "team_model"
    USER = "user"
    MEMBER = "member"
    ORGANIZATION = "organization"
    ORGANIZATION_MODEL = "organization_model"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money or rate it is; `sub` names the model, or the spelling of the further window."""

    kind: ScopeKind
    id: str
    sub: str = ""
