"""Which logging callbacks a finished call goes to, and how each is known while the call's log waits for it.

The key's own list goes before its team's, and an empty one silences that. Nothing is merged: each entry keeps its
own variables. An entry is known by its owner, its name, its type and its place among those that are alike in
these, not by its place in the list: so what waits for one is never sent to another that has moved there, and a
callback whose address or credentials are put right gets what has waited for it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.callbacks import LOGGING, MOST_CALLBACKS, SETTINGS, SETTINGS_OF, entries_of, name_of, type_of

PREFIX = "callback"
KEY, TEAM = "key", "team"
DISABLED = "litellm_disabled_callbacks"
_HEARD_BY = {"success": {"success", "success_and_failure"}, "failure": {"failure", "success_and_failure"}}


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """One callback of a key or a team; `ordinal` counts those of the same name and type."""

    owner: str
    owner_id: str
    callback_name: str
    callback_type: str
    ordinal: int = 0

    def __str__(self) -> str:
        """The target of its deliveries."""
        own = (self.callback_name, self.callback_type, str(self.ordinal))
        return ":".join((PREFIX, self.owner, self.owner_id, *own))

    @classmethod
    def parse(cls, target: str) -> "CallbackTarget":
        """From the text of one; an owner's id may hold anything. Raises ValueError."""
        start, name, kind, ordinal = target.rsplit(":", 3)
        _, owner, owner_id = start.split(":", 2)
        return cls(owner, owner_id, name, kind, int(ordinal))

    def entry(self, metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What its owner's metadata says of it now; None where it is not there any more, or switched off."""
        for target, entry in _in_effect(self.owner, self.owner_id, metadata):
            if target == self:
                return None if self.callback_name in _disabled(metadata) else entry
        return None


def targets_of(
    status: str,
    key_id: str,
    key_metadata: Mapping[str, Any],
    team_id: str | None,
    team_metadata: Mapping[str, Any],
    *,
    supported: Collection[str],
) -> list[CallbackTarget]:
    """The callbacks that hear of a call of this status, `success` or `failure`, as far as they are spoken here."""
    if key_metadata.get(LOGGING) is not None:
        entries = _in_effect(KEY, key_id, key_metadata)
    elif team_id is not None:
        entries = _in_effect(TEAM, team_id, team_metadata)
    else:
        return []
    disabled = _disabled(key_metadata) | _disabled(team_metadata)
    return [
        target
        for target, _ in entries
        if target.callback_type in _HEARD_BY[status]
        and target.callback_name in supported
        and target.callback_name not in disabled
    ]


def _in_effect(
    owner: str, owner_id: str, metadata: Mapping[str, Any]
) -> Iterator[tuple[CallbackTarget, Mapping[str, Any]]]:
    counts: dict[tuple[str, str], int] = {}
    for entry in _entries(owner, metadata)[:MOST_CALLBACKS]:
        alike = (name_of(entry), type_of(entry))
        counts[alike] = counts.get(alike, -1) + 1
        yield CallbackTarget(owner, owner_id, *alike, counts[alike]), entry


def _entries(owner: str, metadata: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The entries in either form; only a team has the older one, in which all have the same variables."""
    if metadata.get(LOGGING) is not None:
        return entries_of(metadata[LOGGING])
    settings = metadata.get(SETTINGS)
    if owner != TEAM or not isinstance(settings, Mapping):
        return ()
    return [
        {"callback_name": name, "callback_type": kind, "callback_vars": settings.get("callback_vars")}
        for kind, field in SETTINGS_OF.items()
        for name in (settings[field] if isinstance(settings.get(field), list) else ())
        if isinstance(name, str)
    ]


def _disabled(metadata: Mapping[str, Any]) -> frozenset[str]:
    listed = metadata.get(DISABLED)
    return frozenset(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else frozenset()
