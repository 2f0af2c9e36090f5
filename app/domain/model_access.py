"""Which models a list of names opens, and what an alias of a key or its team stands for.

An empty list opens every model. Otherwise an entry opens the model of that very name, or is a pattern with `*`
that fits the name, or the name behind its provider where the name tells the provider: `openai/*` opens `gpt-4o`.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from app.domain.access import OF_TEAM
from app.domain.budgets import ALL_MODELS
from app.domain.snapshots import Snapshot

# A user whose models are this reaches none but by way of a team.
NO_MODELS = "no-default-models"

# Names that only one provider gives to models of its own, so that they tell it without naming it.
_PROVIDERS = (
    (re.compile(r"(gpt-|chatgpt-|o)[0-9]|text-embedding-(3|ada)|dall-e-|tts-1|whisper-1"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-[0-9]"), "vertex_ai"),
    (re.compile(r"command-"), "cohere"),
)


def opens(models: Iterable[str], model: str) -> bool:
    """Whether this list, as a key, team, user or organization has it, opens the model."""
    listed = frozenset(models)
    if not listed or model in listed or not listed.isdisjoint(ALL_MODELS):
        return True
    names = (model, *_behind_provider(model))
    return any(fits(entry, name) for entry in listed if "*" in entry for name in names)


def key_opens(models: Iterable[str], model: str) -> bool:
    """As `opens` for a key's list, which may leave the answer to its team."""
    listed = frozenset(models)
    return OF_TEAM in listed or opens(listed, model)


def fits(pattern: str, name: str) -> bool:
    """Whether the name is the pattern, in which each `*` stands for any text and nothing else is special."""
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def own_name(snapshot: Snapshot, model: str) -> str:
    """What the key's own aliases make of a model's name."""
    return _target(snapshot.key["aliases"], model)


def resolved_model(snapshot: Snapshot, model: str) -> str:
    """The model that a call reaches in truth: the key's aliases apply first, then those of its team.

    Each applies once: an alias of an alias is that alias's name.
    """
    named = own_name(snapshot, model)
    return named if snapshot.team is None else _target(snapshot.team["model_aliases"], named)


def _target(aliases: object, model: str) -> str:
    # Any JSON is stored as aliases; only a text can name a model.
    target = aliases.get(model) if isinstance(aliases, dict) else None
    return target if isinstance(target, str) and target else model


def _behind_provider(model: str) -> tuple[str, ...]:
    if "/" in model:
        return ()
    return tuple(f"{provider}/{model}" for names, provider in _PROVIDERS if names.match(model))
