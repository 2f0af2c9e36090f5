"""Checks left out of the rules of access, one at a time: the obvious ways in which somebody comes to hold too much.

Each is what a rule becomes without the check; whatever else the rule says, it goes on to say.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.domain import access
from app.domain.access import HIDDEN, Caller, KeyTarget, Refusal, Standing

Rule = Callable[..., Any]


@contextmanager
def planted(name: str, without: Callable[[Rule], Rule]) -> Iterator[None]:
    """Put what is left of a rule in its place, wherever the application has it."""
    rule = getattr(access, name)
    left = without(rule)
    holders = [
        module
        for at, module in list(sys.modules.items())
        if at.split(".")[0] == "app" and vars(module).get(name) is rule
    ]
    try:
        for module in holders:
            setattr(module, name, left)
        yield
    finally:
        for module in holders:
            setattr(module, name, rule)


def _nothing(_: Rule) -> Rule:
    return lambda *_args, **_kwargs: None


def _everything(_: Rule) -> Rule:
    return lambda *_args, **_kwargs: True


def _no_routes(_: Rule) -> Rule:
    return lambda _: []


def _whoever_sees_it(_: Rule) -> Rule:
    def may_delete(caller: Caller, target: KeyTarget, standing: Standing) -> Refusal | None:
        return None if access.may_see_key(caller, target, standing) else HIDDEN

    return may_delete


def _its_owner_too(rule: Rule) -> Rule:
    def may_block(caller: Caller, target: KeyTarget, standing: Standing, route: str) -> Refusal | None:
        refusal: Refusal | None = rule(caller, target, standing, route)
        return None if refusal and caller.user_id is not None and caller.user_id == target.user_id else refusal

    return may_block


def _as_any_key(rule: Rule) -> Rule:
    return lambda caller, **asked: rule(caller, **{**asked, "service_account": False})


def _as_its_own(rule: Rule) -> Rule:
    return lambda caller, **asked: rule(caller, **{**asked, "user_id": None})


def _of_any_organization(rule: Rule) -> Rule:
    def may_create(caller: Caller, organization_id: str | None) -> Refusal | None:
        return None if caller.organization_admin_of else rule(caller, organization_id)

    return may_create


def _without(*fields: str) -> Callable[[Rule], Rule]:
    def without(rule: Rule) -> Rule:
        def may_update(caller: Caller, target: KeyTarget, sent: Mapping[str, Any], *others: Any) -> Refusal | None:
            refusal: Refusal | None = rule(
                caller, target, {name: value for name, value in sent.items() if name not in fields}, *others
            )
            return refusal

        return may_update

    return without


def _viewers_write(rule: Rule) -> Rule:
    return lambda caller, route, method: rule(caller, route, "GET" if caller.sees_all else method)


OMISSIONS: dict[str, tuple[str, Callable[[Rule], Rule]]] = {
    "a capped key makes wider ones": ("within_own_caps", _nothing),
    "every key is seen": ("may_see_key", _everything),
    "every team is seen": ("may_see_team", _everything),
    "a team's admin lifts its limits": ("may_turn_team", _nothing),
    "an organization's admin lifts its limits": ("may_turn_organization", _nothing),
    "whoever makes a user gives it any role": ("may_assign_role", _nothing),
    "a user gives itself a role and a budget": ("may_update_user", _nothing),
    "whoever sees a key deletes it": ("may_delete", _whoever_sees_it),
    "an owner unblocks its key": ("may_block", _its_owner_too),
    "a member makes service accounts": ("may_generate", _as_any_key),
    "keys are made for others": ("may_generate", _as_its_own),
    "a member turns a key into a service account": ("may_update", _without("metadata")),
    "an owner changes the budget of its key": ("may_update", _without("max_budget", "budget_id", "spend")),
    "an organization's admin makes teams and users in any": ("may_create_in_organization", _of_any_organization),
    "routes and permissions are set by anybody": ("may_set", _nothing),
    "a key bound to routes makes free ones": ("routes_of_new", _no_routes),
    "a key is moved into a foreign team": ("may_move_to_team", _nothing),
    "a team is moved into any organization": ("may_move_team", _nothing),
    "a team's admin rotates the key of who stands higher": ("may_learn_secret", _nothing),
    "viewers write": ("gate", _viewers_write),
}
