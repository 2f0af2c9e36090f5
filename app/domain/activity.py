"""Sums of charges, and how a report breaks those of a day down."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Sums:
    """What some charges come to: nano-dollars, tokens, and how many they are."""

    spend_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.spend_nanos + other.spend_nanos,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
        )


class Identity(NamedTuple):
    """What daily sums are kept by; the empty text stands for what a charge does not have."""

    day: str
    key_id: str
    team_id: str
    user_id: str
    organization_id: str
    model: str


@dataclass(slots=True)
class Part:
    """One model, provider, team or user of a day, and which keys its sums come from."""

    sums: Sums = Sums()
    keys: dict[str, Sums] = field(default_factory=dict)

    def add(self, key_id: str, sums: Sums) -> None:
        self.sums += sums
        self.keys[key_id] = self.keys.get(key_id, Sums()) + sums


@dataclass(slots=True)
class Day:
    """The sums of one UTC day, as a whole and broken down; `whole.keys` are those by key."""

    day: str
    whole: Part = field(default_factory=Part)
    models: dict[str, Part] = field(default_factory=dict)
    providers: dict[str, Part] = field(default_factory=dict)
    entities: dict[str, Part] = field(default_factory=dict)


def days_of(rows: Iterable[tuple[Identity, Sums]], entity: str) -> list[Day]:
    """The days of these rows, in the order in which they come; `entity` is `team_id` or `user_id`."""
    days: dict[str, Day] = {}
    for identity, sums in rows:
        day = days.setdefault(identity.day, Day(identity.day))
        day.whole.add(identity.key_id, sums)
        for parts, name in (
            (day.models, identity.model),
            (day.providers, provider_of(identity.model)),
            (day.entities, getattr(identity, entity)),
        ):
            if name:
                parts.setdefault(name, Part()).add(identity.key_id, sums)
    return list(days.values())


def provider_of(model: str) -> str:
    """The provider that a model's name tells (`openai/gpt-4o`); the empty text where it tells none."""
    provider, slash, _ = model.partition("/")
    return provider if slash else ""
