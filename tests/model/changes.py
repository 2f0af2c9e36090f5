"""What administrators change: caps, blocks, the key's team, deletion and creation."""

from dataclasses import replace
from typing import Any

from tests.model.requests import Change
from tests.model.scopes import TEAMS, Scope
from tests.model.sql import Policy


def of_key(**fields: Any) -> Change:
    def edit(policy: Policy) -> Policy:
        revision = policy.key.revision + 1
        return replace(policy, key=policy.key._replace(revision=revision, **fields))

    return Change(("digest", "key"), edit)


def of_team(team: Scope, **fields: Any) -> Change:
    def edit(policy: Policy) -> Policy:
        old = policy.teams[team]
        return replace(policy, teams=policy.teams | {team: old._replace(revision=old.revision + 1, **fields)})

    return Change((team.id,), edit)


def move(team: Scope) -> Change:
    return of_key(team=team)


def together(one: Change, other: Change) -> Change:
    """Two edits in one transaction."""
    return Change((*one.entities, *other.entities), lambda policy: other.edit(one.edit(policy)))


BLOCK, UNBLOCK = of_key(blocked=True), of_key(blocked=False)
TIGHTEN, LOOSEN = (together(of_key(cap=cap), of_team(TEAMS[0], cap=cap)) for cap in (5, 9))
DELETE, CREATE = of_key(deleted=True), of_key(deleted=False)
ALL: list[Change] = [
    *(of_key(cap=cap) for cap in (4, 8, 8)),
    *(of_team(team, cap=cap) for team in TEAMS for cap in (5, 10)),
    *(of_team(TEAMS[0], blocked=blocked) for blocked in (True, False)),
    *(move(team) for team in TEAMS),
    *(BLOCK, UNBLOCK, UNBLOCK, DELETE, CREATE, CREATE),
    *(TIGHTEN, TIGHTEN, LOOSEN, LOOSEN),
]
