"""What a request sends to change on a key, and what of it the rules let pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.services.keys import key_rows
from app.services.keys.key_views import KeyView


@dataclass(frozen=True, slots=True)
class Patch:
    """A locked key, and the settings that a request sends to change on it."""

    before: KeyView
    sent: Mapping[str, Any]

    def will_be(self, name: str) -> str | None:
        """What the key will refer to by this column; the empty text is nothing."""
        named: str | None = self.sent[name] if name in self.sent else self.before.columns[name]
        return named or None


@dataclass(frozen=True, slots=True)
class AllowedPatch:
    """A patch that the rules let pass: the columns that it changes, and the tier and spend that come with it.

    `tier` is what the key will be linked to, None for nothing. A window that it gets `carries` the spend so far.
    """

    patch: Patch
    columns: dict[str, Any]
    tier: Mapping[str, Any] | None
    spend_nanos: int | None
    carries: bool

    @property
    def before(self) -> KeyView:
        return self.patch.before

    @property
    def running(self) -> str | None:
        """The spelling of the window that the key has so far."""
        return key_rows.effective_duration(self.before.columns, self.before.tier)

    @property
    def spelling(self) -> str | None:
        """The spelling of the window that it is to have."""
        return key_rows.effective_duration(self.after, self.tier)

    @property
    def after(self) -> dict[str, Any]:
        return {**self.before.columns, **self.columns}
