"""Thresholds with many processes at work, and with processes that are killed: still once for each window."""

from collections import Counter
from itertools import count
from typing import Any

from sqlalchemy import func, select

from app.config import Settings
from app.container import Services
from app.dispatch import TaskName
from app.models import budget_state, events, ledger_unfolded, watched
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, everything, rows
from tests.services.capped import ALL, CAP, SOFT, fold, look, settle, told
from tests.services.due import restore
from tests.services.job_processes import JobProcess, die_at, together, wait_for_the_locks
from tests.services.settling_processes import Settling

PROCESSES, CALLS = 8, 5
GROUPS = {"key", "team", "user", "member", "organization"}


def capped_everywhere(api: Api) -> list[str]:
    """Three keys of one team, owner and organization, each of which has the same cap."""
    caps = {"max_budget": CAP, "budget_duration": "1d"}
    organization = api.post("/organization/new", {"organization_alias": "o", **caps}).body["organization_id"]
    api.post("/user/new", {"user_id": "u", "auto_create_key": False, **caps})
    members = {"members_with_roles": [{"role": "user", "user_id": "u"}], "team_member_budget": CAP}
    team = {"team_id": "t", "organization_id": organization, "team_member_budget_duration": "1d"}
    assert api.post("/team/new", {**team, **members, **caps}).status == 200
    return [api.generate(team_id="t", user_id="u", **caps)["key"] for _ in range(3)]


def waits(services: Services) -> int:
    with services.database.read() as connection:
        return connection.execute(select(func.count()).select_from(ledger_unfolded)).scalar_one()


def entities(services: Services) -> Counter[tuple[str, str, Any]]:
    """How often each threshold of each budget was told."""
    return Counter(
        (row["entity"], row["entity_id"], (row["kind"], row["payload"]["percentage"]))
        for row in rows(services.database, events)
        if "threshold" in row["payload"]
    )


def test_eight_processes_that_settle_and_two_that_fold_tell_each_threshold_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    keys = capped_everywhere(api)
    # Each key comes to twice its cap, and all of them together to six times that of the others.
    each = 2 * CAP * NANOS // (PROCESSES * CALLS)

    settling = Settling(settings, clock.now(), keys, processes=PROCESSES, calls=CALLS, cost_nanos=each)
    folded = 0
    while settling.runs:
        folded += fold(services)
        look(services)
    settling.check()
    folded += sum(together(TaskName.FOLD_LEDGER, settings, clock.now())) if waits(services) else 0

    assert (folded, waits(services)) == (3 * PROCESSES * CALLS, 0)
    spent = Counter({row["scope"]: 0 for row in rows(services.database, budget_state)})
    for row in rows(services.database, budget_state):
        spent[row["scope"]] += row["window_spend_nanos"]
    assert spent == dict.fromkeys(GROUPS, 6 * CAP * NANOS)
    found = entities(services)
    assert set(found.values()) == {1}
    assert {entity for entity, _, _ in found} == GROUPS
    assert len(found) == len(ALL[1:]) * (3 + 4)


def test_two_folds_side_by_side_tell_each_threshold_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    keys = capped_everywhere(api)
    for number in range(4):
        for key in keys:
            settle(api, key, 2.5 + number / 10)

    together(TaskName.FOLD_LEDGER, settings, clock.now())

    found = entities(services)
    assert set(found.values()) == {1}
    assert len(found) == len(ALL[1:]) * (3 + 4)


def test_a_fold_that_is_killed_at_any_point_and_run_again_tells_each_threshold_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    key = api.generate(max_budget=CAP, soft_budget=SOFT, budget_duration="1d")["key"]
    settle(api, key, 10)
    stored = everything(services.database)
    killed = 0

    for number in count(1):
        point = JobProcess(TaskName.FOLD_LEDGER, settings, clock.now(), die_at, number).result()
        wait_for_the_locks(services.database)
        fold(services)

        assert told(services) == ALL
        (state,) = rows(services.database, budget_state, scope="key")
        assert (state["window_spend_nanos"], waits(services)) == (10 * NANOS, 0)
        if isinstance(point, int):
            break
        killed += 1
        restore(services.database, stored)

    assert killed >= 10


def test_a_look_that_is_killed_at_any_point_and_done_again_tells_each_threshold_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    key = api.generate(max_budget=1_000, spend=10)["key"]
    fold(services)
    api.post("/key/update", {"key": key, "max_budget": CAP, "soft_budget": SOFT})
    stored = everything(services.database)

    for number in count(1):
        point = JobProcess(TaskName.WATCH_BUDGETS, settings, clock.now(), die_at, number).result()
        wait_for_the_locks(services.database)
        look(services)

        assert told(services) == ALL
        assert rows(services.database, watched) == []
        if isinstance(point, int):
            break
        restore(services.database, stored)
