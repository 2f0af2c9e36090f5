"""A key gets a new secret; everything that hangs on the key stays."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_team, on_one_store

OLD = "sk-old-secret-0123456789"
NEW = "sk-new-secret-0123456789"
NEWER = "sk-newer-secret-0123456789"

SETTINGS: list[tuple[str, Any, str, Any]] = [
    ("key_alias", "renamed", "key_alias", "renamed"),
    ("user_id", "u2", "user_id", "u2"),
    ("team_id", "t2", "team_id", "t2"),
    ("models", ["m1"], "models", ["m1"]),
    ("tags", ["a"], "metadata", {"kept": 1, "tags": ["a"]}),
    ("guardrails", ["g"], "metadata", {"kept": 1, "guardrails": ["g"]}),
    ("model_rpm_limit", {"m": 1}, "metadata", {"kept": 1, "model_rpm_limit": {"m": 1}}),
    ("model_tpm_limit", {"m": 2}, "metadata", {"kept": 1, "model_tpm_limit": {"m": 2}}),
    ("metadata", {"team": "core"}, "metadata", {"team": "core"}),
    ("spend", 0.5, "spend", 0.5),
    ("spend", None, "spend", 0.0),
    ("max_budget", 7, "max_budget", 7.0),
    ("soft_budget", 5, "soft_budget", 5.0),
    (
        "model_max_budget",
        {"m": {"budget_limit": 1, "time_period": "1d"}},
        "model_max_budget",
        {"m": {"budget_limit": 1, "time_period": "1d"}},
    ),
    ("budget_duration", "7d", "budget_reset_at", "2026-11-23T00:00:00.000000Z"),
    ("max_parallel_requests", 3, "max_parallel_requests", 3),
    ("tpm_limit", 10, "tpm_limit", 10),
    ("rpm_limit", 11, "rpm_limit", 11),
    ("allowed_cache_controls", ["no-cache"], "allowed_cache_controls", ["no-cache"]),
    ("duration", "1h", "expires", "2026-11-18T14:47:33.000000Z"),
    ("permissions", {"pii": False}, "permissions", {"pii": False}),
    ("blocked", True, "blocked", True),
]


def regenerate(api: Api, key: str = OLD, **sent: Any) -> Any:
    return api.post("/key/regenerate", {"key": key, **sent})


def test_the_new_secret_opens_the_key_and_the_old_one_opens_nothing(api: Api) -> None:
    made = api.generate(key=OLD, key_alias="a", spend=0.25, max_budget=2, metadata={"kept": 1})

    answer = regenerate(api, new_key=NEW)

    assert answer.status == 200
    assert answer.body["key"] == NEW
    assert answer.body["token"] == answer.body["token_id"] != made["token"]
    assert answer.body["key_name"] == "sk-...6789"
    assert api.get("/key/info", OLD).summary == (401, "token_not_found_in_db", "key")
    info = api.get("/key/info", NEW).body["info"]
    assert info["key_id"] == made["key_id"]
    assert (info["key_alias"], info["spend"], info["max_budget"]) == ("a", 0.25, 2.0)
    assert info["created_at"] == made["created_at"]


def test_without_a_choice_the_new_secret_is_random(api: Api) -> None:
    made = api.generate()

    rotated = api.post(f"/key/{made['key']}/regenerate", key=MASTER_KEY)

    assert rotated.status == 200
    assert rotated.body["key"] not in {made["key"], ""}
    assert api.get("/key/info", rotated.body["key"]).body["info"]["key_id"] == made["key_id"]
    assert api.get("/key/info", made["key"]).status == 401


@pytest.mark.parametrize("data", [b"", b"null", b"{}"])
def test_the_body_is_optional_when_the_path_names_the_key(api: Api, data: bytes) -> None:
    api.generate(key=OLD)

    assert api.call("POST", f"/key/{OLD}/regenerate", data=data).status == 200


def test_the_key_may_be_named_by_query_hash_or_body_and_names_must_agree(api: Api) -> None:
    made = api.generate(key=OLD)
    by_hash = api.post("/key/regenerate", {"key": made["token"], "new_key": NEW})
    by_query = api.call("POST", "/key/regenerate", query={"key": NEW}, json={"new_key": NEWER})
    clash = api.call("POST", f"/key/{NEWER}/regenerate", json={"key": made["token"]})

    assert (by_hash.status, by_query.status) == (200, 200)
    assert clash.summary == (400, "invalid_request_error", "key")
    assert api.get("/key/info", NEWER).status == 200


@pytest.mark.parametrize("path", ["/key/regenerate", f"/key/{OLD}/regenerate"])
@pytest.mark.parametrize(("field", "value", "shown", "expected"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting_sent_with_it_is_changed(
    api: Api, field: str, value: Any, shown: str, expected: Any, path: str
) -> None:
    api.generate(key=OLD, metadata={"kept": 1})

    named = {"key": OLD} if path == "/key/regenerate" else {}
    answer = api.post(path, {**named, "new_key": NEW, field: value})

    assert answer.status == 200
    assert api.info(NEW)[shown] == expected


REFUSED: list[tuple[dict[str, Any], tuple[int, str, str | None]]] = [
    ({"key": "sk-unknown-0123456789"}, (404, "invalid_request_error", "key")),
    ({"key": MASTER_KEY}, (400, "invalid_request_error", "key")),
    ({"grace_period": "soon"}, (400, "invalid_request_error", "grace_period")),
    ({"grace_period": "1000000000d"}, (400, "invalid_request_error", "grace_period")),
    ({"new_key": "short"}, (400, "invalid_request_error", "new_key")),
    ({"new_key": "sk-with space 0123456789"}, (400, "invalid_request_error", "new_key")),
    ({"new_key": MASTER_KEY}, (400, "invalid_request_error", "new_key")),
    ({"new_key": OLD}, (409, "bad_request_error", "key")),
    ({"key_alias": "taken"}, (400, "bad_request_error", "key_alias")),
    ({"max_budget": -1}, (400, "invalid_request_error", "max_budget")),
    ({"budget_duration": "x"}, (400, "invalid_request_error", "budget_duration")),
    ({"budget_id": "unknown"}, (400, "invalid_request_error", "budget_id")),
]


@pytest.mark.parametrize(("sent", "expected"), REFUSED)
def test_a_refused_rotation_leaves_the_old_secret_whole(
    api: Api, sent: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    api.generate(key="sk-taken-0123456789", key_alias="taken")
    before = api.generate(key=OLD)

    answer = api.post("/key/regenerate", {"key": OLD, **sent})

    assert answer.summary == expected
    assert api.get("/key/info", OLD).body["info"]["updated_at"] == before["updated_at"]


# --- grace -------------------------------------------------------------------------------------------------


def test_in_grace_both_secrets_open_the_same_key_until_its_instant(api: Api, clock: MovableClock) -> None:
    made = api.generate(key=OLD)
    regenerate(api, new_key=NEW, grace_period="1h")

    in_grace = [api.get("/key/info", key).body["info"]["key_id"] for key in (OLD, NEW)]
    clock.advance(timedelta(minutes=59, seconds=59))
    just_before = api.get("/key/info", OLD).status
    clock.advance(1)

    assert in_grace == [made["key_id"]] * 2
    assert just_before == 200
    assert api.get("/key/info", OLD).summary == (401, "token_not_found_in_db", "key")
    assert api.get("/key/info", NEW).status == 200


def test_grace_periods_chain(api: Api, clock: MovableClock) -> None:
    api.generate(key=OLD)
    regenerate(api, new_key=NEW, grace_period="2h")
    regenerate(api, key=NEW, new_key=NEWER, grace_period="1h")

    together = [api.get("/key/info", key).status for key in (OLD, NEW, NEWER)]
    clock.advance(timedelta(hours=1))
    after_one = [api.get("/key/info", key).status for key in (OLD, NEW, NEWER)]
    clock.advance(timedelta(hours=1))

    assert together == [200, 200, 200]
    assert after_one == [200, 401, 200]
    assert [api.get("/key/info", key).status for key in (OLD, NEW, NEWER)] == [401, 401, 200]


def test_a_key_in_grace_is_blocked_with_its_key(api: Api) -> None:
    api.generate(key=OLD)
    regenerate(api, new_key=NEW, grace_period="1h")

    api.post("/key/block", {"key": OLD})

    assert [api.get("/key/info", key).summary[:2] for key in (OLD, NEW)] == [(401, "auth_error")] * 2


def test_an_expired_key_needs_a_duration_to_live_again(api: Api, clock: MovableClock) -> None:
    api.generate(key=OLD, duration="1h")
    clock.advance(timedelta(hours=2))

    without = regenerate(api, new_key=NEW)
    with_one = regenerate(api, new_key=NEW, duration="1h")

    assert without.summary == (400, "invalid_request_error", "duration")
    assert with_one.status == 200
    assert api.get("/key/info", NEW).status == 200


@on_one_store
@pytest.mark.parametrize("granted", ["/key/regenerate", "/key/{key_id}/regenerate"])
def test_either_name_of_the_route_grants_members_both(api: Api, services: Services, granted: str):
    add_team(services.database, "t", {"bob": "user"}, grants=[granted])
    bob = add_person(api, services.database, "bob")
    for path in ("/key/{}/regenerate", "/key/regenerate"):
        key = api.generate(team_id="t", user_id="bob")["key"]
        assert api.post(path.format(key), {"key": key}, key=bob).status == 200
