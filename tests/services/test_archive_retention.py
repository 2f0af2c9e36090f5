"""The archive forgets what was deleted long ago, and nothing that is still asked of it breaks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert

from app.config import Settings
from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.models import deleted_keys, deleted_teams, retired_secrets
from app.services.rows.old_rows import DROP_BATCH
from tests.api.calls import allowed, post_settle, refused, spent
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, everything, rows
from tests.services.due import restore
from tests.services.job_processes import check_one_batch, kills, together

TASK = TaskName.PURGE_ARCHIVE
KEPT = timedelta(days=40)
INSTANT = timedelta(microseconds=1)
KEY = "sk-soon-forgotten-0123456789"
ARCHIVES = (deleted_keys, deleted_teams, retired_secrets)
PERIOD = {"start_date": "2026-11-01", "end_date": "2026-12-31"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, archive_days=KEPT.days)


def run(services: Services) -> int:
    return services.jobs.run(TASK, lambda: True)


def delete_a_key(api: Api) -> None:
    api.generate(key=KEY)
    api.post("/key/delete", {"keys": [KEY]})


def delete_a_team(api: Api) -> None:
    api.post("/team/new", {"team_id": "crew"})
    api.post("/team/delete", {"team_ids": ["crew"]})


def rotate_a_key(api: Api) -> None:
    api.generate(key=KEY)
    api.post("/key/regenerate", {"key": KEY})


def counts(database: Database) -> list[int]:
    return [len(rows(database, table)) for table in ARCHIVES]


def archived(services: Services, api: Api, clock: MovableClock, count: int) -> None:
    """So many deleted keys, deleted teams and retired secrets each, kept for longer than they need be."""
    delete_a_key(api)
    delete_a_team(api)
    for table in ARCHIVES:
        (row,) = rows(services.database, table)
        copies = [{name: value for name, value in row.items() if name != "id"}] * (count - 1)
        if copies:
            with services.database.transaction() as transaction:
                transaction.execute(insert(table), copies)
    clock.advance(KEPT + INSTANT)


# --- which ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remove", "table", "rows_of_each"),
    [
        (delete_a_key, deleted_keys, [1, 0, 1]),
        (delete_a_team, deleted_teams, [0, 1, 0]),
        (rotate_a_key, retired_secrets, [0, 0, 1]),
    ],
    ids=["a key", "a team", "a secret"],
)
def test_what_was_deleted_is_forgotten_an_instant_after_the_days(
    services: Services,
    api: Api,
    clock: MovableClock,
    remove: Callable[[Api], None],
    table: Table,
    rows_of_each: list[int],
):
    remove(api)
    clock.advance(KEPT)

    at_the_bound = run(services), counts(services.database)
    clock.advance(INSTANT)

    assert at_the_bound == (0, rows_of_each)
    assert [run(services), run(services)] == [sum(rows_of_each), 0]
    assert rows(services.database, table) == []


# --- what goes on without them -------------------------------------------------------------------------------


def test_the_lists_of_deleted_ones_show_those_that_are_remembered(
    services: Services, api: Api, clock: MovableClock
):
    archived(services, api, clock, 1)
    api.generate(key="sk-deleted-today-0123456789", key_alias="today")
    api.post("/key/delete", {"key_aliases": ["today"]})

    assert run(services) == 3

    listed = api.get("/key/list", status="deleted", return_full_object="true").body
    assert (listed["total_count"], [key["key_alias"] for key in listed["keys"]]) == (1, ["today"])
    assert api.get("/v2/team/list", status="deleted").body["total"] == 0


def test_a_forgotten_secret_is_unknown_as_before_and_can_be_used_again_as_before(
    services: Services, api: Api, clock: MovableClock
):
    old = "sk-rotated-long-ago-0123456789"
    api.generate(key=old, key_alias="rotated")
    api.post("/key/regenerate", {"key": old, "new_key": "sk-the-present-one-0123456789"})
    api.generate(key=KEY, key_alias="ci")
    api.post("/key/delete", {"keys": [KEY]})
    clock.advance(KEPT + INSTANT)
    before = [answers(api, key) for key in (old, KEY)]

    assert run(services) == 3

    assert [answers(api, key) for key in (old, KEY)] == before
    assert {answer["code"] for answer, *_ in before} == {"unknown"}
    for key, alias in ((KEY, "ci"), (old, "another")):
        api.generate(key=key, key_alias=alias)
        assert allowed(api, key)
        assert api.info(key)["spend"] == 0


def answers(api: Api, key: str) -> tuple[Any, ...]:
    """What a key is answered that opens nothing: as the subject of a call, as a caller, and when it is deleted."""
    asked = api.call("GET", "/key/info", query={"key": key})
    deleted = api.post("/key/delete", {"keys": [key]})
    return (
        refused(api, key, request_id="asked again"),
        api.get("/key/info", key).status,
        asked.status,
        deleted.status,
    )


@dataclass(frozen=True)
class Reported:
    """What the reports say of one key, its name apart."""

    spends: list[float]
    top: list[float]
    days: list[float]
    tags: list[float]

    @classmethod
    def to(cls, api: Api, name: str, **query: str) -> "Reported":
        logs = api.get("/spend/logs", summarize="false", **query).body
        top = api.get("/global/spend/keys", start_date="2026-11-01").body
        by_key = [
            day["breakdown"]["api_keys"][name]["metrics"]["spend"]
            for day in api.get("/user/daily/activity", **PERIOD, **query).body["results"]
        ]
        return cls(
            [row["spend"] for row in logs if row["api_key"] == name],
            [row["total_spend"] for row in top if row["api_key"] == name],
            by_key,
            [row["total_spend"] for row in api.get("/spend/tags", **query).body],
        )


def test_a_charge_of_a_forgotten_key_is_reported_under_its_id(services: Services, api: Api, clock: MovableClock):
    made = api.generate(key=KEY, key_alias="ci", tags=["x"])
    spent(api, KEY, 0.25)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    api.post("/key/delete", {"keys": [KEY]})
    clock.advance(KEPT + INSTANT)
    before = Reported.to(api, made["token"])
    assert before == Reported([0.25], [0.25], [0.25], [0.25])

    assert run(services) == 2

    assert Reported.to(api, made["key_id"]) == before
    assert Reported.to(api, made["key_id"], api_key=made["key_id"]) == before, "found by the name that is shown"
    assert api.get("/spend/logs", api_key=KEY).body == []
    assert services.ledger_check.check(10).drifts == []


def test_a_call_is_charged_to_a_deleted_key_until_it_is_forgotten(
    services: Services, api: Api, clock: MovableClock
):
    api.generate(key=KEY)
    called = clock.now().isoformat()
    api.post("/key/delete", {"keys": [KEY]})
    clock.advance(timedelta(days=31))
    run(services)

    late = post_settle(api, key=KEY, request_id="late", cost=1, occurred_at=called)
    clock.advance(KEPT - timedelta(days=31) + INSTANT)
    run(services)

    assert late.status == 200
    assert post_settle(api, key=KEY, request_id="too late", cost=1).status == 404


def test_the_id_of_a_team_or_user_that_has_spent_stays_taken_for_those_who_do_not_administer(
    services: Services, api: Api, clock: MovableClock
):
    """Whoever could take it would see what was spent under it."""
    add_organization(services.database, "acme", {"boss": "org_admin"})
    boss = add_person(api, services.database, "boss")
    api.generate(key=KEY, team_id="crew", user_id="ann")
    spent(api, KEY, 1)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    api.generate(key="sk-never-used-0123456789", team_id="idle", user_id="eve")
    api.post("/key/delete", {"keys": [KEY, "sk-never-used-0123456789"]})
    clock.advance(KEPT + INSTANT)

    def taken() -> list[int]:
        team = {"organization_id": "acme", "team_alias": "x"}
        user = {"organizations": ["acme"], "user_role": "internal_user", "auto_create_key": False}
        return [
            *(api.post("/team/new", {**team, "team_id": name}, key=boss).status for name in ("crew", "idle")),
            *(api.post("/user/new", {**user, "user_id": name}, key=boss).status for name in ("ann", "eve")),
        ]

    before = taken()
    assert run(services) == 4

    assert before == [400, 400, 409, 409]
    assert taken() == [400, 200, 409, 200]


# --- batches, kills, two at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_costs_the_same_statements_however_much_is_forgotten(
    services: Services, api: Api, clock: MovableClock, count: int
):
    archived(services, api, clock, count)

    with statements(services.database) as sent:
        assert run(services) == 3 * count

    assert len(sent) == 7  # find and drop, of three tables; the record
    assert counts(services.database) == [0, 0, 0]


def test_more_than_a_batch_holds_goes_in_one_run(services: Services, api: Api, clock: MovableClock):
    archived(services, api, clock, DROP_BATCH + 3)
    asked: list[list[int]] = []

    def go_on() -> bool:
        asked.append(counts(services.database))
        return True

    assert services.jobs.run(TASK, go_on) == 3 * (DROP_BATCH + 3)

    assert asked == [[3, 3, 3]]
    assert counts(services.database) == [0, 0, 0]


def test_a_purge_that_is_killed_at_any_point_and_run_again_leaves_the_same(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    archived(services, api, clock, 2)
    delete_a_team(api)
    stored = everything(services.database)
    found = []

    for point, left in kills(services, settings, clock, TASK, stored):
        found.append((point, left))
        if left:
            run(services)
            assert counts(services.database) == [0, 1, 0]
            restore(services.database, stored)

    assert counts(services.database) == [0, 1, 0]
    check_one_batch(found)


def test_two_processes_share_what_is_to_be_forgotten(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    archived(services, api, clock, DROP_BATCH + 3)

    assert sum(together(TASK, settings, clock.now())) == 3 * (DROP_BATCH + 3)

    assert counts(services.database) == [0, 0, 0]
