"""What /metrics tells: the work of this process, and how the installation stands; of no key, and to few."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text, update

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.domain.deliveries import Route, Subject
from app.domain.minting import Secret
from app.models import keys
from app.services.events import delivery
from tests.api.calls import allowed, refused, settle, spent
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer

TOKEN = "a-scraper-of-the-tests-0123"

Sample = tuple[str, frozenset[tuple[str, str]]]


def read(api: Api, key: str | None = None) -> dict[Sample, float]:
    """Every sample by its name and labels, read as Prometheus reads it."""
    answer = api.get("/metrics") if key is None else api.get("/metrics", key)
    assert answer.status == 200, answer
    assert answer.headers["content-type"].count("charset") == 1
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body)
        for sample in family.samples
    }


def value(samples: dict[Sample, float], name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_method_route_and_status(api: Api) -> None:
    before = read(api)
    made = api.generate()
    api.get("/key/info", key=made["key"])
    api.get("/key/info", key="sk-of-nobody-at-all")
    api.post(f"/key/{made['token']}/regenerate")

    after = read(api)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    counted = "keyledger_http_requests_total"
    assert more(counted, method="POST", route="/key/generate", status="200") == 1
    assert more(counted, method="GET", route="/key/info", status="200") == 1
    assert more(counted, method="GET", route="/key/info", status="401") == 1
    assert more(counted, method="POST", route="/key/{key}/regenerate", status="200") == 1
    assert more("keyledger_http_request_seconds_count", route="/key/info") == 2


@on_one_store
def test_paths_and_methods_that_nobody_documents_are_counted_as_one(api: Api) -> None:
    before = read(api)
    for path in ("/nothing", "/no/thing/either"):
        api.call("GET", path)
    api.call("BREW", "/coffee")

    after = read(api)

    name = "keyledger_http_requests_total"
    labels = {"method": "GET", "route": "unknown", "status": "404"}
    assert value(after, name, **labels) - value(before, name, **labels) == 2
    assert {dict(labels)["route"] for _, labels in after if ("route", "unknown") in labels} == {"unknown"}
    assert not any("nothing" in text or "BREW" in text for _, labels in after for _, text in labels)


@on_one_store
def test_verdicts_are_counted_by_their_code(api: Api) -> None:
    key = api.generate(max_budget=1)["key"]
    before = read(api)
    allowed(api, key, 0.25)
    allowed(api, key, 0.25)
    refused(api, key, 5)

    after = read(api)

    def more(code: str) -> float:
        return value(after, "keyledger_decisions_total", code=code) - value(
            before, "keyledger_decisions_total", code=code
        )

    assert (more("allowed"), more("budget_exceeded"), more("blocked")) == (2, 1, 0)


def test_holds_and_what_the_ledger_waits_for_are_told(api: Api, services: Services, clock: MovableClock) -> None:
    key = api.generate(max_budget=10)["key"]
    verdict = allowed(api, key, 1)
    allowed(api, key, 1)
    settle(api, verdict, 1)
    clock.advance(timedelta(seconds=40))
    spent(api, key, 2)

    waiting = read(api)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    folded = read(api)

    assert value(waiting, "keyledger_holds_open") == 1
    assert value(waiting, "keyledger_ledger_unfolded_rows") == 2
    assert value(waiting, "keyledger_ledger_lag_seconds") == 40
    assert value(folded, "keyledger_ledger_unfolded_rows") == 0
    assert value(folded, "keyledger_ledger_lag_seconds") == 0


def test_what_is_to_go_to_the_outside_is_told(api: Api, services: Services, clock: MovableClock) -> None:
    api.generate()
    before = read(api)
    with services.database.transaction() as transaction:
        delivery.address(transaction, [Route("webhook:1", Subject.EVENT, f"e{n}") for n in range(3)], clock.now())
    clock.advance(90)
    waiting = read(api)
    services.jobs.run(TaskName.DELIVER, lambda: False)  # nothing is configured for that target
    after = read(api)

    names = ("events_unrouted", "deliveries_waiting", "deliveries_parked", "deliveries_lag_seconds")

    def told(samples: dict[Sample, float]) -> list[float]:
        return [value(samples, f"keyledger_{name}") for name in names]

    assert told(before) == [1, 0, 0, 0]
    assert told(waiting) == [1, 3, 0, 90]
    assert told(after) == [0, 0, 3, 0]


@on_one_store
def test_a_job_is_told_with_its_last_success_rows_and_interval(
    api: Api, services: Services, clock: MovableClock
) -> None:
    name = TaskName.EXPIRE_KEYS
    before = read(api)
    api.generate(duration="1s")
    clock.advance(timedelta(seconds=5))
    services.jobs.run(name, lambda: True)

    after = read(api)

    ended = "keyledger_job_last_success_timestamp_seconds"
    assert (ended, frozenset({("job", name.value)})) not in before
    assert value(after, ended, job=name) == clock.now().timestamp()
    assert value(after, "keyledger_job_last_rows", job=name) == 1
    assert value(after, "keyledger_job_failures", job=name) == 0
    assert value(after, "keyledger_job_interval_seconds", job=name) == 5


@on_one_store
def test_what_a_job_has_set_aside_is_told_until_it_is_put_right(
    api: Api, services: Services, clock: MovableClock
) -> None:
    key = api.generate(budget_duration="1d")["key"]
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values(budget_duration="fortnightly"))
    clock.advance(timedelta(days=1))
    name = TaskName.RESET_BUDGETS

    def told() -> float:
        return value(read(api), "keyledger_job_parked_rows", job=name)

    before = told()
    for _ in range(2):  # the second finds nothing, and what the first has set aside still is
        services.jobs.run(name, lambda: True)
    aside = told()
    api.post("/key/update", {"key": key, "budget_duration": "7d"})

    assert (before, aside, told()) == (0, 1, 0)


@on_one_store
def test_no_label_names_a_key_or_anybody(api: Api) -> None:
    made = api.generate(key_alias="an-alias-of-mine", user_id="a-user-of-mine", max_budget=1)
    allowed(api, made["key"], 0.5)
    api.get("/key/info", query_key=made["token"])

    told = api.get("/metrics").body

    for named in (made["key"], made["token"], made["key_id"], "an-alias-of-mine", "a-user-of-mine"):
        assert named not in told
    assert not re.search(r"[0-9a-f]{32}", told)


@on_one_store
def test_a_scraper_with_the_token_is_let_in_and_nobody_else_without_a_role(serving: Callable[..., Api]) -> None:
    api = serving(metrics_token=Secret(TOKEN))

    assert read(api, TOKEN)
    assert api.get("/metrics", "a-scraper-of-somebody-else").status == 401
    assert api.get("/metrics", None).status == 401
    assert api.get("/metrics", api.generate()["key"]).status == 401
    assert api.get("/key/list", TOKEN).status == 401


@on_one_store
def test_a_key_that_may_see_everything_reads_them_without_a_token(api: Api) -> None:
    api.post("/user/new", {"user_id": "watcher", "user_role": "proxy_admin_viewer", "auto_create_key": False})

    assert read(api, api.generate(user_id="watcher")["key"])


@on_one_store
def test_a_look_costs_five_statements(services: Services) -> None:
    with statements(services.database) as sent:
        services.gauges.read()

    assert len(sent) == 5


@on_one_store
def test_while_redis_is_away_the_rest_is_told(
    settings: Settings, clock: MovableClock, redis_server: RedisServer
) -> None:
    with RedisProxy(redis_server.port) as proxy:
        services = build(replace(settings, hot_redis_url=proxy.url, metrics_token=Secret(TOKEN)), clock)
        api = Api(app_over(services))
        up = read(api, TOKEN)
    away = read(api, TOKEN)
    services.close()

    assert [value(samples, "keyledger_store_up", store="redis") for samples in (up, away)] == [1, 0]
    assert value(away, "keyledger_store_up", store="sql") == 1
    assert ("keyledger_holds_open", frozenset()) in up
    assert ("keyledger_holds_open", frozenset()) not in away


@on_one_store
def test_a_store_without_its_tables_is_told_of_as_one_that_is_away(api: Api, services: Services) -> None:
    with services.database.transaction() as transaction:
        transaction.execute(text("ALTER TABLE ledger_unfolded RENAME TO ledger_unfolded_away"))
    try:
        found = services.gauges.read()
    finally:
        with services.database.transaction() as transaction:
            transaction.execute(text("ALTER TABLE ledger_unfolded_away RENAME TO ledger_unfolded"))

    assert (found.jobs, found.ledger, found.deliveries, found.holds) == (None, None, None, 0)


def test_while_sql_is_away_the_token_still_reads_what_is_left(settings: Settings, clock: MovableClock) -> None:
    away = replace(
        settings, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", metrics_token=Secret(TOKEN)
    )
    services = build(away, clock)
    samples = read(Api(app_over(services)), TOKEN)
    services.close()

    assert value(samples, "keyledger_store_up", store="sql") == 0
    assert value(samples, "keyledger_store_up", store="redis") == 1
