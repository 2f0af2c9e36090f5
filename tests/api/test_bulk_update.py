"""POST /key/bulk_update: many keys at once, each judged on its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.models import audit, events, object_permissions
from tests.api.identities import without_redis
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_team, add_tier, add_user, on_one_store, rows, unchanged

UNKNOWN = "sk-unknown-key-0000"
NOT_FOUND = "Key not found in database"


def bulk(api: Api, *items: Any, caller: str = MASTER_KEY, **headers: str) -> Answer:
    return api.post("/key/bulk_update", {"keys": list(items)}, key=caller, headers=headers)


def done(answer: Answer) -> list[str]:
    return [item["key"] for item in answer.body["successful_updates"]]


def failed(answer: Answer) -> dict[str, str]:
    return {item["key"]: item["failed_reason"] for item in answer.body["failed_updates"]}


def test_each_item_is_told_with_its_key_as_it_is_now(api: Api):
    one, two = api.generate(key_alias="one"), api.generate(key_alias="two")

    answer = bulk(api, {"key": one["key"], "max_budget": 5}, {"key": two["token"], "tags": ["a"]})

    assert answer.status == 200
    assert answer.body == {
        "total_requested": 2,
        "successful_updates": [
            {"key": one["key"], "key_info": api.info(one["key"])},
            {"key": two["token"], "key_info": api.info(two["key"])},
        ],
        "failed_updates": [],
    }
    assert (api.info(one["key"])["max_budget"], api.info(two["key"])["metadata"]) == (5.0, {"tags": ["a"]})


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("max_budget", 5, {"max_budget": 5.0}),
        ("max_budget", "7.5", {"max_budget": 7.5}),
        ("max_budget", None, {"max_budget": None}),
        ("max_budget", "", {"max_budget": None}),
        ("budget_id", "gold", {"budget_id": "gold", "budget_reset_at": "2026-11-19T00:00:00.000000Z"}),
        ("budget_id", None, {"budget_id": None, "budget_reset_at": None}),
        ("team_id", "roomy", {"team_id": "roomy"}),
        ("team_id", "a team without a row", {"team_id": "a team without a row"}),
        ("team_id", None, {"team_id": None}),
        ("team_id", "", {"team_id": "old"}),
        ("tags", ["x", "y"], {"metadata": {"kept": 1, "tags": ["x", "y"]}}),
        ("tags", [], {"metadata": {"kept": 1, "tags": []}}),
        ("tags", None, {"metadata": {"kept": 1}}),
    ],
)
def test_a_sent_field_changes_as_by_update_and_the_rest_stays(
    api: Api, services: Services, field: str, value: Any, shown: dict[str, Any]
):
    add_tier(services.database, "gold", budget_duration="1d")
    add_tier(services.database, "silver")
    add_team(services.database, "roomy")
    fields = {"max_budget": 1, "budget_id": "silver", "team_id": "old", "tags": ["old"], "metadata": {"kept": 1}}
    by_bulk, by_update = (api.generate(**fields)["key"] for _ in range(2))
    before = api.info(by_bulk)

    answer = bulk(api, {"key": by_bulk, field: value})
    api.post("/key/update", {"key": by_update, field: value})

    after = api.info(by_bulk)
    assert done(answer) == [by_bulk]
    assert {name: after[name] for name in shown} == shown
    told = {"updated_at", "settings_updated_at", "litellm_budget_table", "metadata"}
    assert {name for name in after if after[name] != before[name]} <= shown.keys() | told
    its_own = {"key_id", "key_name"}
    assert {name for name, value in api.info(by_update).items() if value != after[name]} <= its_own


def test_an_object_permission_is_made_merged_and_taken_off(api: Api, services: Services):
    bare, full, off = (
        api.generate(object_permission=given)["key"]
        for given in (None, {"models": ["m"], "agents": ["a"]}, {"models": ["m"]})
    )
    kept = api.info(full)["object_permission"]["object_permission_id"]

    bulk(
        api,
        {"key": bare, "object_permission": {"vector_stores": ["v"]}},
        {"key": full, "object_permission": {"agents": None, "skills": ["s"]}},
        {"key": off, "object_permission": {}},
    )

    assert api.info(bare)["object_permission"]["vector_stores"] == ["v"]
    merged = api.info(full)["object_permission"]
    assert (merged["models"], merged["agents"], merged["skills"]) == (["m"], [], ["s"])
    assert merged["object_permission_id"] == kept
    assert api.info(off)["object_permission"] is None
    assert len(rows(services.database, object_permissions)) == 2


def test_the_window_of_a_tier_is_armed_and_the_spend_of_each_key_stays_its_own(api: Api, services: Services):
    add_tier(services.database, "daily", budget_duration="1d")
    loose, tight = api.generate(spend=2)["key"], api.generate(spend=3, budget_duration="30d")["key"]

    bulk(api, *({"key": key, "budget_id": "daily"} for key in (loose, tight)))

    # A window armed where there was none starts at zero; the key's own stands before its tier's.
    seen = [
        (info["spend"], info["total_spend"], info["budget_reset_at"]) for info in map(api.info, (loose, tight))
    ]
    assert seen == [
        (0.0, 2.0, "2026-11-19T00:00:00.000000Z"),
        (3.0, 3.0, "2026-12-01T00:00:00.000000Z"),
    ]


def test_other_fields_of_an_item_are_left_out(api: Api):
    made = api.generate(key_alias="a", rpm_limit=1)

    answer = bulk(api, {"key": made["key"], "rpm_limit": 9, "key_alias": "b", "blocked": True, "max_budget": 1})

    assert done(answer) == [made["key"]]
    info = api.info(made["key"])
    assert (info["rpm_limit"], info["key_alias"], info["blocked"], info["max_budget"]) == (1, "a", None, 1.0)


# --- partial failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"key": UNKNOWN, "max_budget": 1}, NOT_FOUND),
        ({"key": "f" * 64}, NOT_FOUND),
        ({"key": ""}, NOT_FOUND),
        ({"key": MASTER_KEY, "max_budget": 1}, "The master key is no virtual key."),
        ({"max_budget": -1}, "max_budget"),
        ({"max_budget": "NaN"}, "max_budget"),
        ({"max_budget": 9_000_001}, "max_budget"),
        ({"budget_id": "no such tier"}, "budget_id names nothing that exists"),
        ({"team_id": "small"}, "tpm_limit of this key is above that of the team."),
        ({"team_id": "picky"}, "The team does not allow all models of this key."),
        ({"team_id": "strangers"}, "The key's user is not a member of the team."),
    ],
)
def test_one_bad_item_says_why_and_stops_no_other(api: Api, services: Services, item: dict[str, Any], reason: str):
    add_team(services.database, "small", tpm_limit=1)
    add_team(services.database, "picky", models=["b"])
    add_team(services.database, "strangers")
    bad = api.generate(tpm_limit=2, models=["a"], user_id="ann", max_budget=3)
    first, last = api.generate()["key"], api.generate()["key"]
    before = api.info(bad["key"])
    item = {"key": bad["key"], **item}

    answer = bulk(api, {"key": first, "max_budget": 1}, item, {"key": last, "max_budget": 2})

    assert answer.status == 200
    assert (answer.body["total_requested"], done(answer)) == (3, [first, last])
    (failure,) = answer.body["failed_updates"]
    assert failure["key"] == item["key"]
    assert reason in failure["failed_reason"]
    assert failure["key_info"] == (before if item["key"] == bad["key"] else None)
    assert [api.info(key)["max_budget"] for key in (first, last)] == [1.0, 2.0]
    assert api.info(bad["key"]) == before


def test_where_every_item_is_bad_nothing_is_written(api: Api, services: Services):
    made = api.generate()

    with unchanged(services.database):
        answer = bulk(api, {"key": made["key"], "max_budget": -1}, {"key": UNKNOWN})

    assert (answer.status, done(answer)) == (200, [])
    assert failed(answer).keys() == {made["key"], UNKNOWN}


def test_items_of_one_key_follow_one_another(api: Api, services: Services):
    made, other = api.generate(), api.generate()["key"]

    answer = bulk(
        api,
        {"key": made["key"], "max_budget": 1, "tags": ["a"]},
        {"key": other, "max_budget": 5},
        {"key": made["token"], "max_budget": -1},
        {"key": made["key"], "max_budget": 2},
    )

    assert done(answer) == [made["key"], other, made["key"]]
    shown = [(item["key_info"]["max_budget"]) for item in answer.body["successful_updates"]]
    assert shown == [1.0, 5.0, 2.0]
    (failure,) = answer.body["failed_updates"]
    assert (failure["key"], failure["key_info"]["max_budget"]) == (made["token"], 1.0)
    assert (api.info(made["key"])["max_budget"], api.info(made["key"])["metadata"]) == (2.0, {"tags": ["a"]})
    changes = [
        (row["before"], row["after"]) for row in rows(services.database, audit, entity_id=made["key_id"])[1:]
    ]
    assert changes[1] == ({"max_budget": 1.0}, {"max_budget": 2.0})


def test_sending_it_again_gives_the_same(api: Api):
    items = [
        {"key": api.generate()["key"], "max_budget": 1, "object_permission": {"models": ["m"]}} for _ in range(2)
    ]

    first, second = bulk(api, *items), bulk(api, *items)

    assert first.body == second.body


# --- the request as a whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 501])
def test_none_and_too_many_are_refused_in_both_shapes(shared_api: Api, count: int):
    answer = bulk(shared_api, *[{"key": UNKNOWN}] * count)

    assert answer.summary == (400, "invalid_request_error", "keys")
    assert answer.body["detail"] == {"error": answer.error["message"]}
    assert str(count) in answer.error["message"]


def test_five_hundred_are_taken(shared_api: Api):
    answer = bulk(shared_api, *({"key": f"sk-unknown-key-{number:08}", "max_budget": 1} for number in range(500)))

    assert (answer.status, answer.body["total_requested"], len(answer.body["failed_updates"])) == (200, 500, 500)


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, ["body", "keys"]),
        ({"keys": None}, ["body", "keys"]),
        ({"keys": {"key": UNKNOWN}}, ["body", "keys"]),
        ({"keys": [UNKNOWN]}, ["body", "keys", 0]),
        ({"keys": [{"max_budget": 1}]}, ["body", "keys", 0, "key"]),
        ({"keys": [{"key": None}]}, ["body", "keys", 0, "key"]),
        ({"keys": [{"key": 5}]}, ["body", "keys", 0, "key"]),
        ({"keys": [{"key": UNKNOWN}, {"key": UNKNOWN, "max_budget": "x"}]}, ["body", "keys", 1, "max_budget"]),
        ({"keys": [{"key": UNKNOWN, "tags": "x"}]}, ["body", "keys", 0, "tags"]),
        ({"keys": [{"key": UNKNOWN, "tags": [1]}]}, ["body", "keys", 0, "tags", 0]),
        ({"keys": [{"key": UNKNOWN, "team_id": 1}]}, ["body", "keys", 0, "team_id"]),
        ({"keys": [{"key": UNKNOWN, "object_permission": []}]}, ["body", "keys", 0, "object_permission"]),
    ],
)
def test_a_body_that_does_not_fit_is_told_by_item_and_field_and_changes_nothing(
    shared_api: Api, shared_services: Services, body: dict[str, Any], location: list[Any]
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/bulk_update", body)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, location)


@pytest.mark.parametrize("items", [[], [{"key": UNKNOWN, "max_budget": 1}]])
@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("user", (403, "auth_error", None)),
        ("lead", (403, "auth_error", None)),
        ("member", (403, "auth_error", None)),
        ("chief", (403, "auth_error", None)),
        ("viewer", (403, "auth_error", None)),
        ("robot", (401, "auth_error", None)),
    ],
)
def test_administrators_alone_change_keys_in_bulk(
    shared_api: Api, company: dict[str, str], caller: str, expected: Any, items: list[Any]
):
    answer = bulk(shared_api, *items, caller=company[caller])

    assert answer.summary == expected
    if caller in {"user", "lead", "member", "chief"}:
        assert answer.body["detail"] == {"error": "Only proxy admins can update keys in bulk."}


def test_an_administrator_with_a_key_of_its_own_may(shared_api: Api, company: dict[str, str]):
    made = shared_api.generate()

    assert done(bulk(shared_api, {"key": made["key"], "max_budget": 1}, caller=company["admin"])) == [made["key"]]
    assert shared_api.info(made["key"])["updated_by"] == "admin"


# --- what is written, and who feels it ---------------------------------------------------------------------------


def test_each_changed_key_has_an_audit_row_and_an_event(api: Api, services: Services):
    one, two = api.generate(max_budget=1), api.generate()
    known = len(rows(services.database, events))

    bulk(
        api,
        {"key": one["key"], "max_budget": 2},
        {"key": UNKNOWN},
        {"key": two["key"], "tags": ["a"]},
        **{"litellm-changed-by": "ann"},
    )

    entries = rows(services.database, audit, action="update")
    assert {(row["entity_id"], row["changed_by"], row["actor_user_id"]) for row in entries} == {
        (made["key_id"], "ann", "default_user_id") for made in (one, two)
    }
    changes = {row["entity_id"]: (row["before"], row["after"]) for row in entries}
    assert changes[one["key_id"]] == ({"max_budget": 1.0}, {"max_budget": 2.0})
    assert changes[two["key_id"]] == ({"metadata": {}}, {"metadata": {"tags": ["a"]}})
    told = [row for row in rows(services.database, events) if row["kind"] == "key_updated"]
    assert sorted(row["entity_id"] for row in told) == sorted((one["key_id"], two["key_id"]))
    assert len(rows(services.database, events)) == known + 2


@pytest.fixture
def elsewhere(settings: Settings, clock: MovableClock) -> Iterator[Api]:
    """Another process over the same stores."""
    services = build(settings, clock)
    yield Api(create_app(services))
    services.close()


def test_every_process_feels_it_at_once(api: Api, elsewhere: Api, services: Services):
    add_team(services.database, "blocked", blocked=True)
    add_user(services.database, "ann")
    keys = [api.generate(user_id="ann", max_budget=10)["key"] for _ in range(2)]
    for key in keys:  # known to the other process by heart
        assert elsewhere.post("/key/generate", {"max_budget": 9}, key=key).status == 200
        assert elsewhere.get("/models", key).status == 200

    bulk(api, {"key": keys[0], "max_budget": 5}, {"key": keys[1], "max_budget": 6})
    poorer = [elsewhere.post("/key/generate", {"max_budget": 5.5}, key=key).status for key in keys]
    robots = [api.generate()["key"] for _ in range(2)]
    assert [elsewhere.get("/models", key).status for key in robots] == [200, 200]
    bulk(api, *({"key": key, "team_id": "blocked"} for key in robots))

    assert poorer == [400, 200]
    assert [elsewhere.get("/models", key).summary[:2] for key in robots] == [(401, "auth_error")] * 2


@on_one_store
def test_with_redis_away_no_item_is_changed(api: Api, services: Services, clock: MovableClock):
    made = api.generate()

    with without_redis(services.settings, clock) as cut_off, unchanged(services.database):
        answer = bulk(cut_off, {"key": made["key"], "max_budget": 5})

    assert answer.summary == (503, "no_db_connection", None)
    assert "retry-after" in answer.headers


def test_two_at_once_over_the_same_keys_in_other_orders_both_end_well(api: Api, services: Services):
    keys = [api.generate()["key"] for _ in range(20)]
    app = create_app(services)

    def send(round_: int) -> int:
        order = keys if round_ % 2 else keys[::-1]
        return bulk(Api(app), *({"key": key, "max_budget": round_ + 1} for key in order)).status

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(send, range(8)))

    assert statuses == [200] * 8
    assert len({api.info(key)["max_budget"] for key in keys}) == 1


def test_a_key_in_grace_is_found_by_its_former_secret(api: Api, services: Services):
    old = add_person(api, services.database, "ann")
    new = api.post("/key/regenerate", {"key": old, "grace_period": "1h"}).body["key"]

    assert done(bulk(api, {"key": old, "max_budget": 3})) == [old]
    assert api.info(new)["max_budget"] == 3
