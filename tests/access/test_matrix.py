"""Every route, for every kind of caller and of target, answers as the oracle says; a refusal changes nothing.

And what a caller may not see answers and costs what does not exist does.
"""

import re

import orjson
import pytest

from app.container import Services
from tests.access.callers import SHUT
from tests.access.matrix import ROWS
from tests.access.oracle import NOTHING, UNKNOWN, Row, cells, expected, passes
from tests.access.world import Watch, World
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Answer, Api


def test_every_route_has_rows_and_every_row_a_route(shared_services: Services):
    rules = app_over(shared_services).url_map.iter_rules()
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(row.method, row.route) for row in ROWS} == routes


def test_no_two_rows_have_one_name():
    assert len({row.name for row in ROWS}) == len(ROWS)


def call(api: Api, row: Row, key: str | None, name: str) -> Answer:
    sent = row.sends(name)
    path = row.route.format(**sent.pop("path", {}))
    return api.call(row.method, path, key=key, **sent)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_caller_gets_what_it_may_of_every_target(shared_api: Api, world: World, watch: Watch, row: Row):
    wrong = []
    for caller, target in cells(row):
        key, name = world.keys[caller], world.name(row.noun.name, caller, target)
        answer = call(shared_api, row, key, name)
        changed = watch.changed()
        if changed:
            watch.restore()
        status = expected(row, caller, target)
        if answer.status != status:
            wrong.append(f"{caller} / {target}: {answer.status}, not {status}: {answer.body}")
        elif changed and (answer.status >= 300 or row.method == "GET"):
            wrong.append(f"{caller} / {target}: something was changed")
        elif row.shows is not None and status == 200:
            shown = world.mark(row.noun.name, name).encode() in orjson.dumps(answer.body)
            if shown is not (caller in row.shows.get(target, ())):
                wrong.append(f"{caller} / {target}: {'shown' if shown else 'not shown'}")

    assert wrong == []


class Asking:
    """What a row answers, and what that costs."""

    def __init__(self, api: Api, services: Services, world: World, row: Row) -> None:
        self._api, self._database, self._world, self._row = api, services.database, world, row

    def __call__(self, caller: str, target: str) -> tuple[int, str, int]:
        """Status and body, without the name that was asked for, and the number of statements."""
        name = self._world.name(self._row.noun.name, caller, target)
        with statements(self._database) as sent:
            answer = call(self._api, self._row, self._world.keys[caller], name)
        body = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<asked>", orjson.dumps(answer.body).decode())
        return answer.status, body, len(sent)


ABOUT_SOMETHING = [row for row in ROWS if row.noun is not NOTHING]


@pytest.mark.parametrize("row", ABOUT_SOMETHING, ids=lambda row: row.name)
def test_what_a_caller_may_not_see_answers_and_costs_what_does_not_exist_does(
    shared_api: Api, shared_services: Services, world: World, row: Row
):
    ask = Asking(shared_api, shared_services, world, row)
    hidden: dict[str, list[str]] = {}
    for caller, target in cells(row):
        if caller not in SHUT and passes(row, caller) and target != UNKNOWN and not row.sees(caller, target):
            hidden.setdefault(caller, []).append(target)
    wrong = []
    for caller, targets in hidden.items():
        ask(caller, UNKNOWN)  # the caller is known to the cache from here on
        unknown = ask(caller, UNKNOWN)
        # What is asked for the second time is known to the caches, too.
        told = {target: ask(caller, target) == unknown or ask(caller, target) == unknown for target in targets}
        wrong += [f"{caller} / {target}" for target, alike in told.items() if not alike]

    assert wrong == []


@pytest.mark.parametrize(
    "row", [row for row in ABOUT_SOMETHING if row.hidden == row.done], ids=lambda row: row.name
)
def test_where_what_is_unknown_is_passed_over_what_a_caller_sees_is_told(
    shared_api: Api, shared_services: Services, world: World, row: Row
):
    ask = Asking(shared_api, shared_services, world, row)
    silent = [
        f"{caller} / {target}"
        for caller, target in cells(row)
        if caller not in SHUT and passes(row, caller) and row.sees(caller, target)
        if ask(caller, target)[:2] == ask(caller, UNKNOWN)[:2]
    ]

    assert silent == []
