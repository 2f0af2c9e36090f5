"""Secrets inside settings: which entries of a logging callback must never be shown again.

The rule for names is LiteLLM's: a variable whose name speaks of a key, secret, token or password is one.
"""

import re
from collections.abc import Mapping
from typing import Any

from app.domain.minting import key_name

MASK = "****"
_SECRET_PARTS = ("key", "secret", "token", "password", "credential", "auth")
# Secret as a whole, though their names do not say so.
_SECRET_NAMES = frozenset({"gcs_path_service_account", "generic_api_headers", "otel_headers"})


def is_secret_name(name: str) -> bool:
    lowered = name.lower()
    return lowered in _SECRET_NAMES or any(part in lowered for part in _SECRET_PARTS)


def masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with every secret of the callbacks in `metadata` replaced; the rest is untouched."""
    metadata = fields.get("metadata")
    if not isinstance(metadata, Mapping):
        return dict(fields)
    return {**fields, "metadata": masked_team_metadata(metadata)}


def masked_team_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """A team's metadata with every secret of its callbacks replaced, in both forms that they may have."""
    shown = masked_metadata(metadata)
    if not isinstance(metadata.get("callback_settings"), Mapping):
        return shown
    return {**shown, "callback_settings": _callback(metadata["callback_settings"])}


def masked_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """A key's metadata with every secret of its `logging` replaced."""
    if not isinstance(metadata.get("logging"), list):
        return metadata
    return {**metadata, "logging": [_callback(entry) for entry in metadata["logging"]]}


def _callback(entry: Any) -> Any:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("callback_vars"), Mapping):
        return entry
    return {**entry, "callback_vars": masked_variables(entry["callback_vars"])}


def masked_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a callback, every secret among them replaced."""
    return {name: MASK if is_secret_name(str(name)) and value else value for name, value in variables.items()}


# A key by its shape, where a word begins: `task-0123456789` is none. Behind an escape a word begins as well.
KEY_SHAPED = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))sk-[A-Za-z0-9_-]{8,}"
)


def without_keys(value: Any) -> Any:
    """A JSON value in which all that looks like a key is cut to what may be shown of one, names included."""
    match value:
        case str():
            return KEY_SHAPED.sub(lambda found: key_name(found.group()), value) if "sk-" in value else value
        case dict():
            return {without_keys(name): without_keys(entry) for name, entry in value.items()}
        case list():
            return [without_keys(entry) for entry in value]
        case _:
            return value
