"""Metadata that settings are folded into: LiteLLM keeps many fields there, each under its own name."""

from collections.abc import Iterable, Mapping
from typing import Any


def folded_into(sent: Mapping[str, Any], fields: Iterable[str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata after a request: sent metadata takes the place of the stored, the sent `fields` go on top.

    A null field removes its entry.
    """
    metadata = dict((sent["metadata"] or {}) if "metadata" in sent else stored)
    for field in fields:
        if field not in sent:
            continue
        if sent[field] is None:
            metadata.pop(field, None)
        else:
            metadata[field] = sent[field]
    return metadata
