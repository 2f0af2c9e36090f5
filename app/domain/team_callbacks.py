"""The logging callbacks of a team one by one: which are in effect, adding one, taking one away.

They stand in `metadata.logging`. LiteLLM's older form, `metadata.callback_settings`, is in effect only where the
other is not there at all, even where that lists nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.callbacks import (
    BOTH,
    LOGGING,
    MOST_CALLBACKS,
    SETTINGS,
    SETTINGS_OF,
    TYPES,
    Vault,
    entries_of,
    name_of,
    new_entry,
    type_of,
    variables_of,
)
from app.domain.masking import masked_variables
from app.domain.values import InvalidValue


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Which callbacks hear of calls that succeed and of those that fail, and their variables, secrets masked."""

    success: list[str]
    failure: list[str]
    variables: Mapping[str, Any]


def in_effect(metadata: Mapping[str, Any]) -> Callbacks:
    """The callbacks of a team; of several, the variables stand in one object, a later one's over the others'."""
    names: dict[str, list[str]] = {kind: [] for kind in TYPES}
    variables: dict[str, Any] = {}
    if metadata.get(LOGGING) is not None:
        for entry in entries_of(metadata[LOGGING]):
            names.setdefault(type_of(entry), []).append(name_of(entry))
            variables |= variables_of(entry)
    elif isinstance(metadata.get(SETTINGS), Mapping):
        settings = metadata[SETTINGS]
        names = {kind: list(settings.get(field) or ()) for kind, field in SETTINGS_OF.items()}
        variables = dict(variables_of(settings))
    success, failure = (
        [name for name in dict.fromkeys([*names[kind], *names[BOTH]]) if name] for kind in ("success", "failure")
    )
    return Callbacks(success, failure, masked_variables(variables))


def added(metadata: Mapping[str, Any], sent: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """The metadata with one more callback; raises InvalidValue, also where the same is there for these calls."""
    given = {name: value for name, value in sent.items() if value is not None}
    entry = {"callback_type": BOTH, **new_entry(given, vault)}
    present = entries_of(metadata.get(LOGGING))
    if any((name_of(other), type_of(other)) == (name_of(entry), type_of(entry)) for other in present):
        raise InvalidValue(
            f"callback_name = {name_of(entry)} already exists for callback_type = {type_of(entry)}",
            "callback_name",
        )
    if len(present) >= MOST_CALLBACKS:
        raise InvalidValue(f"A team may have {MOST_CALLBACKS} callbacks at most", "callback_name")
    return {**metadata, LOGGING: [*present, entry]}


def without(metadata: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The metadata without any callback of this name; None where there is none."""
    present = entries_of(metadata.get(LOGGING))
    kept = [entry for entry in present if name_of(entry) != name]
    return None if len(kept) == len(present) else {**metadata, LOGGING: kept}


def silenced(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without any callback or secret of one, in either form."""
    return {**{name: value for name, value in metadata.items() if name != SETTINGS}, LOGGING: []}
