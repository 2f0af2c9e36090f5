"""Keys that expired long ago are deleted as any key is: once, told of, at once everywhere."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event, update

from app.clock import iso
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.errors import StoreUnavailable
from app.models import audit, budget_state, deleted_keys, events, key_secrets, keys, retired_secrets
from app.services.keys.key_retention import PURGE_BATCH
from tests.api.calls import allowed, refused, settle, verify
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import copy_key, everything, rows
from tests.services.due import restore
from tests.services.job_processes import check_one_batch, kills, together
from tests.stores import opened

TASK = TaskName.PURGE_EXPIRED_KEYS
KEY = "sk-that-expires-0123456789"
LIFE = timedelta(hours=1)
KEPT = timedelta(days=30)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, expired_key_days=KEPT.days)


def run(services: Services) -> int:
    return services.jobs.run(TASK, lambda: True)


def expired(services: Services, api: Api, clock: MovableClock, count: int = 1) -> datetime:
    """Make keys that have been expired for as long as they are kept; the instant of their expiry."""
    made = api.generate(key=KEY, key_alias="ci", duration="1h", max_budget=10)
    if count > 1:
        change(services, key_alias=None)  # an alias is one key's
        copy_key(services.database, made["key_id"], count - 1)
    at = clock.advance(LIFE)
    services.jobs.run(TaskName.EXPIRE_KEYS, lambda: True)
    clock.advance(KEPT)
    return at


def change(services: Services, **columns: object) -> None:
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values(**columns))


def check_once(services: Services, count: int) -> None:
    """Fail unless so many keys were deleted, each once, and nothing is left of them."""
    database = services.database
    assert [rows(database, table) for table in (keys, key_secrets, budget_state)] == [[], [], []]
    once = Counter(row["key_id"] for row in rows(database, deleted_keys))
    assert len(once) == count == once.total()
    assert Counter(row["entity_id"] for row in rows(database, audit, action="delete")) == once
    assert Counter(row["entity_id"] for row in rows(database, events, kind="key_deleted")) == once
    assert Counter(row["key_id"] for row in rows(database, retired_secrets)) == once


# --- which, and how ------------------------------------------------------------------------------------------


def test_a_key_is_deleted_an_instant_after_the_days_since_its_expiry(
    services: Services, api: Api, clock: MovableClock
):
    expired(services, api, clock)

    at_the_bound = run(services)
    clock.advance(INSTANT)

    assert [at_the_bound, run(services), run(services)] == [0, 1, 0]
    check_once(services, 1)
    (row,) = rows(services.database, audit, action="delete")
    assert (row["actor_role"], row["actor_user_id"], row["after"]) == ("system", "system", None)
    assert row["before"]["key_alias"] == "ci"
    (shown,) = api.get("/key/list", status="deleted", return_full_object="true").body["keys"]
    assert (shown["key_alias"], shown["deleted_by"], shown["deleted_at"]) == ("ci", "system", iso(clock.now()))
    assert api.call("GET", "/key/info", query={"key": KEY}).status == 404


@pytest.mark.parametrize(
    "columns",
    [
        {"expires_at": None},
        {"expires_at": START + LIFE + INSTANT},
        {"expires_at": START + timedelta(days=90)},
        {"expiry_recorded_at": None},
    ],
    ids=["never expires", "expired later", "is alive", "was not told of"],
)
def test_a_key_stays_that(services: Services, api: Api, clock: MovableClock, columns: dict[str, object]):
    expired(services, api, clock)
    clock.advance(INSTANT)
    change(services, **columns)

    assert run(services) == 0
    assert len(rows(services.database, keys)) == 1


def test_a_key_that_is_given_more_time_at_that_moment_stays(services: Services, api: Api, clock: MovableClock):
    expired(services, api, clock)
    clock.advance(INSTANT)
    url = services.database.url.render_as_string(hide_password=False)
    found = []

    def prolong(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not found and "FROM keys" in statement:
            found.append(statement)
            with opened(url) as other, other.transaction() as transaction:
                transaction.execute(update(keys).values(expires_at=clock.now() + LIFE))

    event.listen(services.database.engine, "after_cursor_execute", prolong)

    assert run(services) == 0
    assert found
    allowed(api, KEY)


def test_the_next_call_with_a_deleted_key_meets_it_on_every_process(
    settings: Settings, services: Services, api: Api, clock: MovableClock
):
    expired(services, api, clock)
    clock.advance(INSTANT)
    cached = [refused(api, KEY)["code"], refused(api, KEY)["code"]]
    elsewhere = build(settings, clock)

    run(elsewhere)
    elsewhere.close()

    assert cached == ["expired", "expired"]
    assert refused(api, KEY)["code"] == "unknown"


def test_a_key_whose_window_cannot_be_computed_is_deleted_too(services: Services, api: Api, clock: MovableClock):
    expired(services, api, clock)
    clock.advance(INSTANT)
    change(services, budget_duration="fortnightly")

    assert run(services) == 1
    check_once(services, 1)


def test_its_secret_and_its_alias_can_be_used_again(services: Services, api: Api, clock: MovableClock):
    expired(services, api, clock)
    clock.advance(INSTANT)
    assert api.post("/key/generate", {"key": KEY}).status == 409
    assert api.post("/key/generate", {"key_alias": "ci"}).status == 400

    run(services)

    again = api.generate(key=KEY, key_alias="ci")
    assert allowed(api, KEY)
    assert run(services) == 0
    assert [row["key_id"] for row in rows(services.database, keys)] == [again["key_id"]]


def test_a_call_from_before_its_expiry_is_charged_after_it_is_deleted(
    services: Services, api: Api, clock: MovableClock
):
    api.generate(key=KEY, key_alias="ci", duration="1h", max_budget=10)
    held = verify(api, KEY)
    clock.advance(LIFE)
    services.jobs.run(TaskName.EXPIRE_KEYS, lambda: True)
    clock.advance(KEPT + INSTANT)
    assert run(services) == 1

    assert settle(api, held, 0.5)["duplicate"] is False

    (charged,) = api.get("/spend/logs").body
    assert (charged["spend"], charged["metadata"]["user_api_key_alias"]) == (0.5, "ci")


def test_while_redis_is_away_no_key_is_deleted(
    settings: Settings, services: Services, api: Api, clock: MovableClock
):
    expired(services, api, clock)
    clock.advance(INSTANT)
    cut_off = build(replace(settings, hot_redis_url="redis://127.0.0.1:1/0"), clock)

    with pytest.raises(StoreUnavailable):
        run(cut_off)
    cut_off.close()

    assert len(rows(services.database, keys)) == 1
    assert rows(services.database, deleted_keys) == []


# --- batches, kills, two at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 30])
def test_a_batch_costs_the_same_statements_however_many_keys_it_has(
    services: Services, api: Api, clock: MovableClock, count: int
):
    expired(services, api, clock, count)
    clock.advance(INSTANT)

    with statements(services.database) as sent:
        assert run(services) == count

    # Find; hold, read, archive, send no secret any more and remember them, remove with the accounts, audit and tell;
    # the record.
    assert len(sent) == 12
    check_once(services, count)


def test_more_keys_than_a_batch_holds_go_in_one_run(services: Services, api: Api, clock: MovableClock):
    expired(services, api, clock, PURGE_BATCH + 3)
    clock.advance(INSTANT)
    asked = []

    assert services.jobs.run(TASK, lambda: not asked.append(len(rows(services.database, keys)))) == PURGE_BATCH + 3

    assert asked == [3]
    check_once(services, PURGE_BATCH + 3)


def test_a_purge_that_is_killed_at_any_point_and_run_again_deletes_each_key_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    expired(services, api, clock, 3)
    clock.advance(INSTANT)
    stored = everything(services.database)
    found = []

    for point, left in kills(services, settings, clock, TASK, stored):
        found.append((point, left))
        if left:
            run(services)
            check_once(services, 3)
            restore(services.database, stored)

    check_once(services, 3)
    check_one_batch(found)


def test_two_processes_delete_each_key_once(services: Services, settings: Settings, api: Api, clock: MovableClock):
    expired(services, api, clock, PURGE_BATCH + 3)
    clock.advance(INSTANT)

    shares = together(TASK, settings, clock.now())

    assert sum(shares) == PURGE_BATCH + 3
    check_once(services, PURGE_BATCH + 3)
