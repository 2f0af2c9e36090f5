"""Notices of keys that are about to expire, and of jobs that are silent: each once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.models import events, keys
from app.services.keys.notices import NOTICE_BATCH
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import copy_key, rows
from tests.services.job_processes import together

DAY = timedelta(days=1)


def tell(services: Services) -> int:
    return services.jobs.run(TaskName.ANNOUNCE_EXPIRY, lambda: True)


def told(services: Services) -> list[int]:
    """How many days were left, in the order of the notices."""
    found = sorted(rows(services.database, events, kind="key_expiring"), key=lambda row: row["created_at"])
    return [row["payload"]["days_left"] for row in found]


def test_a_key_is_told_of_thirty_seven_and_one_days_before_it_expires(
    api: Api, services: Services, clock: MovableClock
):
    made = api.generate(duration="40d", key_alias="a")
    days = []
    for day in range(42):
        ran = [tell(services) for _ in range(2)]
        assert ran[1] == 0
        if ran[0]:
            days.append(day)
        clock.advance(DAY)

    assert (days, told(services)) == ([10, 33, 39], [30, 7, 1])
    payload = rows(services.database, events, kind="key_expiring")[0]["payload"]
    assert (payload["key_alias"], payload["token"]) == ("a", made["token"])
    assert payload["expires"] == made["expires"]
    assert made["key"] not in str(payload)


@pytest.mark.parametrize(("duration", "expected"), [("1h", []), ("1d", []), ("30d", [7, 1]), ("3d", [1])])
def test_a_notice_whose_instant_is_over_when_the_key_is_made_is_none(
    api: Api, services: Services, clock: MovableClock, duration: str, expected: list[int]
):
    api.generate(duration=duration)
    for _ in range(35):
        tell(services)
        clock.advance(DAY)

    assert told(services) == expected


def test_another_expiry_has_notices_of_its_own(api: Api, services: Services, clock: MovableClock):
    key = api.generate(duration="8d")["key"]
    clock.advance(DAY)
    tell(services)

    api.post("/key/update", {"key": key, "duration": "8d"})
    tell(services)
    clock.advance(DAY)
    tell(services)
    api.post("/key/update", {"key": key, "duration": "-1"})
    clock.advance(30 * DAY)

    assert tell(services) == 0
    assert told(services) == [7, 7]
    assert [row["notice_at"] for row in rows(services.database, keys)] == [None]


def test_a_job_that_comes_late_tells_the_last_notice_alone_and_nothing_of_what_is_over(
    api: Api, services: Services, clock: MovableClock
):
    api.generate(duration="40d")
    api.generate(duration="20d")
    clock.advance(34 * DAY)

    assert tell(services) == 2
    assert told(services) == [7]


def test_a_rotated_key_keeps_its_notices(api: Api, services: Services, clock: MovableClock):
    key = api.generate(duration="8d")["key"]
    api.post("/key/regenerate", {"key": key})
    clock.advance(DAY)

    tell(services)

    assert told(services) == [7]


def test_days_are_a_setting(settings: Settings, clock: MovableClock, services: Services):
    other = build(replace(settings, expiry_notice_days=(2, 5)), clock)
    Api(create_app(other)).generate(duration="6d")
    for _ in range(7):
        tell(other)
        clock.advance(DAY)
    other.close()

    assert told(services) == [5, 2]


def test_two_processes_share_the_keys_and_tell_of_each_once(
    api: Api, services: Services, settings: Settings, clock: MovableClock
):
    made = api.generate(duration="8d")
    copy_key(services.database, made["key_id"], NOTICE_BATCH)
    clock.advance(DAY)

    shares = together(TaskName.ANNOUNCE_EXPIRY, settings, clock.now())

    assert sum(shares) == NOTICE_BATCH + 1
    assert told(services) == [7] * (NOTICE_BATCH + 1)
    assert (
        len({row["entity_id"] for row in rows(services.database, events, kind="key_expiring")}) == NOTICE_BATCH + 1
    )


def test_a_batch_of_notices_takes_as_many_statements_for_fifty_keys_as_for_one(
    api: Api, services: Services, clock: MovableClock
):
    costs = []
    for count in (0, 50):
        made = api.generate(duration="8d")
        if count:
            copy_key(services.database, made["key_id"], count)
        clock.advance(DAY)
        with statements(services.database) as sent:
            tell(services)
        costs.append(len(sent))

    assert costs[0] == costs[1]


# --- silent jobs -------------------------------------------------------------------------------------------


def watch(services: Services) -> int:
    return services.jobs.run(TaskName.WATCH_JOBS, lambda: True)


def test_a_job_that_is_silent_is_told_of_once_in_each_silence(api: Api, services: Services, clock: MovableClock):
    others = [name for name in services.jobs.names if name not in {TaskName.EXPIRE_KEYS, TaskName.WATCH_JOBS}]

    def run(*names: TaskName) -> None:
        for name in (*others, *names):
            services.jobs.run(name, lambda: False)

    def silent() -> list[tuple[str, str | None]]:
        found = sorted(rows(services.database, events, kind="job_silent"), key=lambda row: row["created_at"])
        return [(row["entity_id"], row["payload"]["last_success_at"]) for row in found]

    run(TaskName.EXPIRE_KEYS)
    # Three intervals, and three signs of life: it is silent a moment later.
    for seconds, count in ((30, 0), (1, 1), (3600, 1)):
        clock.advance(seconds)
        run()
        watch(services)
        assert [name for name, _ in silent() if name == TaskName.EXPIRE_KEYS] == [TaskName.EXPIRE_KEYS] * count

    run(TaskName.EXPIRE_KEYS)
    watch(services)
    clock.advance(60)
    run()
    watch(services)

    found = [(name, at) for name, at in silent() if name == TaskName.EXPIRE_KEYS]
    assert found == [
        (TaskName.EXPIRE_KEYS, "2026-11-18T13:47:33.000000Z"),
        (TaskName.EXPIRE_KEYS, "2026-11-18T14:48:04.000000Z"),
    ]


def test_a_job_that_never_had_a_success_is_silent_once_it_could_have_had_one(
    services: Services, clock: MovableClock
):
    first = watch(services)
    clock.advance(6 * 3600)
    watch(services)
    watch(services)

    assert first == 0
    found = rows(services.database, events, kind="job_silent")
    assert {row["entity_id"] for row in found} == set(services.jobs.names)
    assert len(found) == len(services.jobs.names)
