"""Health, model list, API pages and the framework's own answers, over HTTP."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from redis import Redis

from app.clock import iso
from app.config import Settings
from app.container import Services
from app.db import Database
from app.store.heartbeats import Heartbeats, Part
from tests.apps import app_over
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import JOBS, add_person, add_team, on_one_store

HEALTH = ["/health/liveliness", "/health/liveness", "/health/readiness"]
UNKNOWN = {"state": "unknown"}


@pytest.fixture
def clock(store_url: str, redis_url: str) -> MovableClock:
    """Stands at the time of the test, its servers started: Redis's clock, which it is held against, goes on."""
    return MovableClock(datetime.now(UTC))  # noqa: TID251


@pytest.fixture
def heartbeats(redis_url: str) -> Iterator[Heartbeats]:
    with Redis.from_url(redis_url) as client:
        yield Heartbeats(client)


@pytest.fixture(scope="module")
def browser(shared_services: Services) -> FlaskClient:
    """A plain client, for what is no operation of the document."""
    return app_over(shared_services).test_client()


# --- health ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HEALTH)
@on_one_store
def test_health_asks_for_no_key(api: Api, path: str):
    assert api.call("GET", path, key=None).status == 200
    assert api.call("GET", path, key="sk-unknown").status == 200


@pytest.mark.parametrize("path", HEALTH[:2])
@on_one_store
def test_a_process_that_answers_is_alive(api: Api, path: str):
    assert api.get(path).body == "I'm alive!"


def test_with_every_part_at_work_the_service_is_healthy(api: Api, heartbeats: Heartbeats, clock: MovableClock):
    heartbeats.record(Part.WORKER, clock.now())
    heartbeats.record(Part.BEAT, clock.now())

    answer = api.get("/health/readiness", key=None)

    alive = {"state": "alive", "last_seen_at": iso(clock.now())}
    off_by = answer.body["clock"].pop("off_by_seconds")
    assert abs(off_by) < 2
    assert answer.status == 200
    assert answer.body == {
        "status": "healthy",
        "db": "connected",
        "redis": {"state": "connected"},
        "worker": alive,
        "beat": alive,
        "clock": {"state": "right"},
        "jobs": [{"name": name, "state": "unknown", "last_finished_at": None, "failures": 0} for name in JOBS],
        "litellm_version": "1.109.1",
        "keyledger_version": "0.1.0",
    }


@pytest.mark.parametrize(("silent", "heard"), [(Part.WORKER, Part.BEAT), (Part.BEAT, Part.WORKER)])
@on_one_store
def test_a_part_that_was_never_heard_degrades_the_service(
    api: Api, heartbeats: Heartbeats, clock: MovableClock, silent: Part, heard: Part
):
    heartbeats.record(heard, clock.now())

    answer = api.get("/health/readiness")

    assert (answer.status, answer.body["status"]) == (200, "degraded")
    assert (answer.body[silent], answer.body[heard]["state"]) == ({"state": "silent"}, "alive")


@pytest.mark.parametrize(("late", "state"), [(0, "alive"), (1, "silent")])
@on_one_store
def test_a_part_is_silent_once_three_heartbeats_are_missing(
    api: Api, heartbeats: Heartbeats, clock: MovableClock, settings: Settings, late: float, state: str
):
    seen_at = clock.now() - timedelta(seconds=3 * settings.heartbeat_seconds + late)
    heartbeats.record(Part.WORKER, seen_at)

    answer = api.get("/health/readiness")

    assert answer.status == 200
    assert answer.body["worker"] == {"state": state, "last_seen_at": iso(seen_at)}


@on_one_store
def test_without_redis_the_service_is_degraded_and_ready(serving: Callable[..., Api]):
    nowhere = "redis://127.0.0.1:1/0"
    api = serving(redis_url=nowhere, hot_redis_url=nowhere)

    answer = api.get("/health/readiness")

    assert (answer.status, answer.body["status"], answer.body["db"]) == (200, "degraded", "connected")
    assert answer.body["redis"] == {"state": "disconnected"}
    assert [answer.body[part] for part in ("worker", "beat", "clock")] == [UNKNOWN] * 3


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@on_one_store
def test_without_sql_the_service_is_not_ready_but_alive(serving: Callable[..., Api], tmp_path: Path, kind: str):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all, whatever its name says; " * 200)
    urls = {"sqlite": f"sqlite:///{broken}", "postgresql": "postgresql://nobody@127.0.0.1:1/nothing"}
    api = serving(database_url=urls[kind])

    answer = api.get("/health/readiness")

    assert (answer.status, answer.body["status"], answer.body["db"]) == (503, "degraded", "disconnected")
    assert answer.body["jobs"] == [
        {"name": name, "state": "unknown", "last_finished_at": None, "failures": None} for name in JOBS
    ]
    assert answer.body["redis"] == {"state": "connected"}
    assert [api.get(path).status for path in HEALTH[:2]] == [200, 200]


@pytest.mark.parametrize(("off_by", "status", "state"), [(-60, 503, "off"), (60, 503, "off"), (0, 200, "right")])
@on_one_store
def test_a_clock_that_disagrees_with_redis_is_not_ready(
    api: Api, clock: MovableClock, off_by: float, status: int, state: str
):
    clock.advance(off_by)

    answer = api.get("/health/readiness")

    assert (answer.status, answer.body["clock"]["state"]) == (status, state)
    assert abs(answer.body["clock"]["off_by_seconds"] - off_by) < 2


@pytest.mark.parametrize("path", HEALTH)
@on_one_store
def test_a_process_that_drains_sends_everybody_elsewhere(api: Api, services: Services, path: str):
    services.health.drain()

    answer = api.get(path)

    assert (answer.status, answer.body["status"]) == (503, "shutting_down")


@on_one_store
def test_a_process_that_drains_still_serves_what_comes(api: Api, services: Services):
    services.health.drain()

    assert api.info(api.generate()["key"])["status"] == "active"


# --- models ------------------------------------------------------------------------------------------------


def _names(api: Api, path: str, key: str) -> list[str]:
    answer = api.get(path, key=key)
    assert (answer.status, answer.body["object"]) == (200, "list")
    return [entry["id"] for entry in answer.body["data"]]


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
@on_one_store
def test_a_key_lists_its_own_models(api: Api, database: Database, path: str):
    add_team(database, "t", models=["team-model"])
    key = api.generate(models=["gpt-4o", "claude-*"], team_id="t")["key"]

    answer = api.get(path, key=key)

    assert answer.body == {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "keyledger"}
            for name in ("gpt-4o", "claude-*")
        ],
    }


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
@pytest.mark.parametrize(
    ("own", "team", "listed"),
    [
        ([], "t", ["team-model"]),
        (["all-team-models"], "t", ["team-model"]),
        (["gpt-4o"], "a team without a row", ["gpt-4o"]),
        ([], "a team without a row", []),
        ([], None, []),
    ],
)
@on_one_store
def test_a_key_without_models_lists_those_of_its_team(
    api: Api, database: Database, path: str, own: list[str], team: str | None, listed: list[str]
):
    add_team(database, "t", models=["team-model"])
    key = api.generate(models=own, team_id=team)["key"]

    assert _names(api, path, key) == listed


@on_one_store
def test_the_master_key_lists_no_models_for_none_are_refused_to_it(api: Api):
    assert _names(api, "/models", MASTER_KEY) == []


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
@on_one_store
def test_listing_models_asks_for_a_key(api: Api, path: str):
    assert api.call("GET", path, key=None).summary == (401, "auth_error", None)


# --- the document and its page -----------------------------------------------------------------------------


class Assets(HTMLParser):
    """What a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_document_is_public(browser: FlaskClient):
    response = browser.get("/openapi.json")

    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.get_json()["info"]["title"] == "Keyledger"


def test_the_page_loads_everything_from_this_service(browser: FlaskClient):
    response = browser.get("/docs")

    assets = Assets(response.text).found
    assert len(assets) >= 3
    for path in assets:
        assert path.startswith("/docs/assets/")
        with browser.get(path) as found:
            assert (found.status_code, len(found.data) > 1_000) == (200, True), path
    assert browser.get("/openapi.json").status_code == 200
    assert 'url: "/openapi.json"' in response.text


def test_the_page_points_to_no_other_host(browser: FlaskClient):
    response = browser.get("/docs")

    assert re.findall(r"(?:https?:)?//[\w.]+", response.text) == []
    # Left alone, the page has its document checked at another host.
    assert '"validatorUrl": "none"' in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("path", ["/docs/assets/", "/docs/assets/none.js", "/docs/assets/../../setup.py"])
def test_only_the_assets_of_the_page_are_served(browser: FlaskClient, path: str):
    assert browser.get(path).status_code in {307, 404}


# --- what is no operation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/key/info/", "/key/info"),
        ("/key/list/?page=2&size=5", "/key/list?page=2&size=5"),
        ("/models///", "/models"),
        ("/a b/caf\u00e9/", "/a%20b/caf%C3%A9"),
    ],
)
def test_a_trailing_slash_is_redirected_with_its_query(browser: FlaskClient, path: str, target: str):
    response = browser.get(path)

    assert (response.status_code, response.headers["Location"]) == (307, target)


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "//evil.example//",
        "/\t/evil.example/",
        "/\r\nX-Injected: yes/",
        "//user@evil.example:80/",
        "/https://evil.example/",
    ],
)
def test_a_redirect_never_leaves_the_service(browser: FlaskClient, path: str):
    response = browser.get("/", environ_overrides={"PATH_INFO": path})

    location = response.headers["Location"]
    assert response.status_code in {307, 308}
    assert "X-Injected" not in response.headers
    local = location.removeprefix("http://localhost")
    assert re.fullmatch(r"/(?![/\\])[!-~]*", local)
    assert "\\" not in local


def test_a_post_keeps_its_method_over_the_redirect(browser: FlaskClient):
    response = browser.post(
        "/key/generate/", json={}, headers={"x-litellm-api-key": MASTER_KEY}, follow_redirects=True
    )

    assert response.status_code == 200
    assert response.get_json()["key"].startswith("sk-")


@pytest.mark.parametrize("path", ["/", "/nothing", "/key", "/key/list/more", "/health"])
def test_an_unknown_path_is_not_found(shared_api: Api, path: str):
    answer = shared_api.call("GET", path, key=None)

    assert answer.status == 404
    assert answer.body == {
        "error": {"message": "Not Found", "type": "not_found_error", "param": None, "code": "404"},
        "detail": "Not Found",
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/key/generate", {"POST", "OPTIONS"}),
        ("DELETE", "/key/delete", {"POST", "OPTIONS"}),
        ("POST", "/key/info", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/health/readiness", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(shared_api: Api, method: str, path: str, allowed: set[str]):
    answer = shared_api.call(method, path, key=None)

    assert answer.status == 405
    assert answer.body == {
        "error": {"message": "Method Not Allowed", "type": "invalid_request_error", "param": None, "code": "405"},
        "detail": "Method Not Allowed",
    }
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", [*HEALTH, "/key/list", "/models", "/openapi.json", "/docs"])
def test_head_answers_as_get_without_a_body(browser: FlaskClient, path: str):
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}

    asked, got = browser.head(path, headers=headers), browser.get(path, headers=headers)

    assert (asked.status_code, asked.mimetype, asked.data) == (got.status_code, got.mimetype, b"")


def test_head_asks_for_what_get_asks(shared_api: Api, shared_services: Services, browser: FlaskClient):
    viewer = add_person(shared_api, shared_services.database, "viewer", "proxy_admin_viewer")

    assert browser.head("/key/list").status_code == 401
    assert browser.head("/models", headers={"Authorization": f"Bearer {viewer}"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/health/liveliness", {"GET", "HEAD", "OPTIONS"}),
        ("/key/list", {"GET", "HEAD", "OPTIONS"}),
        ("/key/generate", {"POST", "OPTIONS"}),
    ],
)
def test_options_tells_the_methods_to_everybody_and_does_nothing(
    browser: FlaskClient, path: str, allowed: set[str]
):
    response = browser.options(path)

    assert (response.status_code, response.data) == (200, b"")
    assert set(response.headers["Allow"].split(", ")) == allowed
