"""POST /team/key/bulk_update: one change for many keys of a team, each judged as /key/update would."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.container import Services
from app.models import audit, events
from app.services.teams.team_keys import MOST_KEYS
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, about_the_team, gather, without_redis
from tests.api.teams import new
from tests.apps import app_over
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_team, add_tier, copy_key, on_one_store, rows, unchanged

BAD = "invalid_request_error"
UNKNOWN = "sk-unknown-key-0000"
NOT_FOUND = "Key not found in database"


def bulk(api: Api, fields: dict[str, Any], *keys: str, caller: str = MASTER_KEY, **sent: Any) -> Answer:
    """Change these keys, or all of the team where none is named."""
    chosen: dict[str, Any] = {"key_ids": list(keys)} if keys else {"all_keys_in_team": True}
    return api.post(
        "/team/key/bulk_update", {"team_id": TEAM, "update_fields": fields, **chosen, **sent}, key=caller
    )


def done(answer: Answer) -> list[str]:
    return [item["key"] for item in answer.body["successful_updates"]]


def failed(answer: Answer) -> dict[str, str]:
    return {item["key"]: item["failed_reason"] for item in answer.body["failed_updates"]}


@pytest.fixture
def made(api: Api) -> list[dict[str, Any]]:
    """Two keys of the team, and one of another."""
    new(api, team_id=TEAM)
    return [api.generate(team_id=team, max_budget=1, tags=["old"]) for team in (TEAM, TEAM, "elsewhere")]


def test_all_keys_of_the_team_are_changed_and_no_other(api: Api, made: list[dict[str, Any]]):
    first, second, other = made

    answer = bulk(api, {"max_budget": 5, "tags": ["new"]})

    assert answer.status == 200
    assert (answer.body["total_requested"], answer.body["failed_updates"]) == (2, [])
    assert sorted(done(answer)) == sorted([first["token"], second["token"]])
    for item in answer.body["successful_updates"]:
        assert item["key_info"] == api.info(item["key"])
        assert (item["key_info"]["max_budget"], item["key_info"]["metadata"]) == (5, {"tags": ["new"]})
    assert api.info(other["key"])["max_budget"] == 1


def test_keys_are_named_by_plaintext_and_hash_and_told_as_they_were_sent(api: Api, made: list[dict[str, Any]]):
    first, second, other = made

    answer = bulk(api, {"rpm_limit": 7}, first["key"], second["token"], other["key"], UNKNOWN, first["key"])

    assert answer.body["total_requested"] == 4
    assert done(answer) == [first["key"], second["token"]]
    assert failed(answer) == {other["key"]: NOT_FOUND, UNKNOWN: NOT_FOUND}
    assert [api.info(key["key"])["rpm_limit"] for key in made] == [7, 7, None]


def test_all_leaves_out_what_is_blocked_or_expired_and_by_name_both_are_changed(
    api: Api, made: list[dict[str, Any]], clock: MovableClock
):
    first, second, _ = made
    api.post("/key/block", {"key": first["key"]})
    api.post("/key/update", {"key": second["key"], "duration": "1m"})
    live = api.generate(team_id=TEAM)
    clock.advance(60)

    assert done(bulk(api, {"rpm_limit": 7})) == [live["token"]]
    assert done(bulk(api, {"rpm_limit": 8}, first["key"], second["token"])) == [first["key"], second["token"]]


FIELDS: dict[str, tuple[Any, str, Any]] = {
    "max_budget": (5, "max_budget", 5),
    "budget_id": ("gold", "budget_id", "gold"),
    "budget_duration": ("30d", "budget_reset_at", "2026-12-01T00:00:00.000000Z"),
    "budget_limits": (
        [{"budget_duration": "1d", "max_budget": 2}],
        "budget_limits",
        [{"budget_duration": "1d", "max_budget": 2.0, "reset_at": "2026-11-19T00:00:00.000000Z"}],
    ),
    "model_max_budget": ({"gpt-4o": {"budget_limit": 1}}, "model_max_budget", {"gpt-4o": {"budget_limit": 1}}),
    "tpm_limit": (1, "tpm_limit", 1),
    "rpm_limit": (2, "rpm_limit", 2),
    "max_parallel_requests": (3, "max_parallel_requests", 3),
    "duration": ("1d", "expires", "2026-11-19T13:47:33.000000Z"),
    "model_tpm_limit": ({"a": 1}, "metadata", {"tags": ["old"], "model_tpm_limit": {"a": 1}}),
    "model_rpm_limit": ({"a": 1}, "metadata", {"tags": ["old"], "model_rpm_limit": {"a": 1}}),
    "rpm_limit_type": ("dynamic", "metadata", {"tags": ["old"], "rpm_limit_type": "dynamic"}),
    "tpm_limit_type": ("dynamic", "metadata", {"tags": ["old"], "tpm_limit_type": "dynamic"}),
    "tags": (["new"], "metadata", {"tags": ["new"]}),
    "metadata": ({"cost centre": 1}, "metadata", {"cost centre": 1}),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_changes_as_by_update(api: Api, services: Services, made: list[dict[str, Any]], field: str):
    add_tier(services.database, "gold")
    sent, name, shown = FIELDS[field]
    first, second, _ = made

    answer = bulk(api, {field: sent}, first["key"])
    api.post("/key/update", {"key": second["key"], field: sent})

    one, other = api.info(first["key"]), api.info(second["key"])
    assert done(answer) == [first["key"]]
    assert one[name] == shown
    assert {entry for entry in one if one[entry] != other[entry]} <= {"key_id", "key_name"}


def test_what_is_stored_and_not_acted_upon_is_named(api: Api, made: list[dict[str, Any]]):
    answer = bulk(api, {"rpm_limit_type": "dynamic", "rpm_limit": 1})

    assert answer.headers["x-keyledger-unenforced-fields"] == "rpm_limit_type"


def test_a_temporary_increase_is_given_to_all_and_ends_by_the_clock(api: Api, made: list[dict[str, Any]]):
    until = "2026-11-20T00:00:00Z"

    answer = bulk(api, {"temp_budget_increase": 2, "temp_budget_expiry": until})

    assert len(done(answer)) == 2
    assert api.info(made[0]["key"])["metadata"]["temp_budget_increase"] == 2


@on_one_store
@pytest.mark.parametrize(
    "fields",
    [
        {"models": []},
        {"user_id": "me"},
        {"team_id": "mine"},
        {"spend": 0},
        {"blocked": False},
        {"allowed_routes": []},
        {"permissions": {}},
        {"key_alias": "x"},
        {"object_permission": None},
        {"max_budget": 1, "soft_budget": 1},
        {"metadata": {"throttle_on_budget_exceeded": False}},
    ],
)
def test_any_other_field_is_refused_for_it_might_grant_rights(
    api: Api, services: Services, made: list[dict[str, Any]], fields: dict[str, Any]
):
    with unchanged(services.database):
        answer = bulk(api, fields)

    assert (answer.status, answer.body["detail"][0]["type"]) == (422, "extra_forbidden")
    assert answer.body["detail"][0]["loc"][:2] == ["body", "update_fields"]


@on_one_store
@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, ["body", "team_id"]),
        ({"team_id": TEAM, "all_keys_in_team": True}, ["body", "update_fields"]),
        ({"team_id": TEAM, "all_keys_in_team": True, "update_fields": {}}, ["body", "update_fields"]),
        ({"team_id": TEAM, "all_keys_in_team": True, "update_fields": None}, ["body", "update_fields"]),
        ({"team_id": TEAM, "update_fields": {"tags": []}}, ["body"]),
        ({"team_id": TEAM, "key_ids": [], "update_fields": {"tags": []}}, ["body"]),
        ({"team_id": TEAM, "key_ids": ["k"], "all_keys_in_team": True, "update_fields": {"tags": []}}, ["body"]),
        ({"team_id": TEAM, "key_ids": "k", "update_fields": {"tags": []}}, ["body", "key_ids"]),
        (
            {"team_id": TEAM, "all_keys_in_team": True, "update_fields": {"temp_budget_increase": 1}},
            ["body", "update_fields"],
        ),
    ],
)
def test_a_body_that_does_not_fit_is_told_by_field(
    api: Api, made: list[dict[str, Any]], body: dict[str, Any], location: list[str]
):
    answer = api.post("/team/key/bulk_update", body)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, location)


def test_a_value_that_cannot_be_fails_each_key_by_itself(api: Api, services: Services, made: list[dict[str, Any]]):
    with unchanged(services.database):
        answer = bulk(api, {"max_budget": -1})

    assert answer.status == 200
    assert all("max_budget" in reason for reason in failed(answer).values())
    assert failed(answer).keys() == {made[0]["token"], made[1]["token"]}


def test_where_nothing_matches_it_is_a_404_in_both_shapes(api: Api, made: list[dict[str, Any]]):
    new(api, team_id="empty")
    answers = [
        bulk(api, {"rpm_limit": 1}, made[2]["key"]),
        bulk(api, {"rpm_limit": 1}, UNKNOWN, MASTER_KEY),
        bulk(api, {"rpm_limit": 1}, team_id="empty"),
    ]

    assert [answer.summary[:2] for answer in answers] == [(404, BAD)] * 3
    assert answers[0].body == answers[1].body
    assert all(answer.body["detail"] == {"error": answer.error["message"]} for answer in answers)


# --- how many ----------------------------------------------------------------------------------------------


def test_so_many_keys_are_changed_at_once_and_no_more(api: Api, services: Services):
    new(api, team_id=TEAM)
    made = api.generate(team_id=TEAM)
    copy_key(services.database, made["key_id"], MOST_KEYS - 1)

    answer = bulk(api, {"max_budget": 5, "budget_duration": "1d", "model_max_budget": {"m": {"budget_limit": 1}}})
    api.generate(team_id=TEAM)
    above = [bulk(api, {"max_budget": 6}), bulk(api, {"max_budget": 6}, *map(str, range(MOST_KEYS + 1)))]

    assert (answer.body["total_requested"], len(done(answer))) == (MOST_KEYS, MOST_KEYS)
    assert [refused.summary for refused in above] == [(400, BAD, "all_keys_in_team"), (400, BAD, "key_ids")]
    assert api.info(made["key"])["max_budget"] == 5


@pytest.mark.parametrize("count", [1, 50])
def test_statements_do_not_grow_with_the_keys(api: Api, services: Services, count: int):
    new(api, team_id=TEAM)
    keys = [api.generate(team_id=TEAM)["key"] for _ in range(count)]
    wide = {
        "max_budget": 5,
        "budget_duration": "1d",
        "budget_limits": [{"budget_duration": "1h", "max_budget": 1}],
        "model_max_budget": {"m": {"budget_limit": 1}},
        "tags": ["a"],
    }

    found = []
    for fields, named in (({"rpm_limit": 1}, []), ({"rpm_limit": 2}, keys), (wide, [])):
        with statements(services.database) as sent:
            assert len(done(bulk(api, fields, *named))) == count
        found.append(len(sent))

    # Who changes caps puts the keys among those that are watched, and holds the accounts of several first.
    assert found == [9, 10, 13 if count == 1 else 14]


# --- who may -----------------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_keys_are_changed_in_bulk_by_those_who_manage_the_team(
    api: Api, services: Services, caller: str, expected: int
):
    people = gather(api, services.database)

    def ask(team_id: str, caller: str) -> Answer:
        return bulk(api, {"rpm_limit": 1}, caller=caller, team_id=team_id)

    assert about_the_team(services, ask, people[caller]).status == expected


@on_one_store
def test_a_manager_changes_what_update_would_let_it_change_and_no_more(api: Api, services: Services):
    people = gather(api, services.database)
    own, members, nobodys = (api.generate(team_id=TEAM, user_id=owner) for owner in ("team admin", "member", None))
    small = api.generate(user_id="team admin", max_budget=3)["key"]

    as_admin = bulk(api, {"max_budget": 9}, *(key["key"] for key in (own, members, nobodys)))
    as_lead = bulk(
        api, {"max_budget": 8}, *(key["key"] for key in (own, members, nobodys)), caller=people["team admin"]
    )
    above = bulk(api, {"max_budget": 7}, own["key"], caller=small)
    service = bulk(api, {"metadata": {"service_account_id": "x"}}, own["key"], caller=people["org admin"])

    assert len(done(as_admin)) == 3
    assert done(as_lead) == [own["key"], nobodys["key"]]
    assert failed(as_lead) == {members["key"]: "This key belongs to another member of the team."}
    assert failed(above) == {own["key"]: "max_budget is above that of the calling key."}
    assert failed(service) == {own["key"]: "This key belongs to another member of the team."}
    assert [api.info(key["key"])["max_budget"] for key in (own, members, nobodys)] == [8, 9, 8]


# --- records, races, outages -------------------------------------------------------------------------------


def test_each_changed_key_has_an_audit_row_and_an_event(api: Api, services: Services, made: list[dict[str, Any]]):
    api.post(
        "/team/key/bulk_update",
        {"team_id": TEAM, "all_keys_in_team": True, "update_fields": {"max_budget": 2}},
        headers={"litellm-changed-by": "ann"},
    )

    entries = rows(services.database, audit, action="update")
    assert {(row["entity_id"], row["changed_by"]) for row in entries} == {
        (key["key_id"], "ann") for key in made[:2]
    }
    assert all((row["before"], row["after"]) == ({"max_budget": 1}, {"max_budget": 2}) for row in entries)
    assert len([row for row in rows(services.database, events) if row["kind"] == "key_updated"]) == 2


def test_a_key_that_left_the_team_meanwhile_is_not_changed(
    api: Api, services: Services, made: list[dict[str, Any]]
):
    app = app_over(services)
    key = made[0]["key"]

    def work(number: int) -> int:
        client = Api(app)
        if number % 2:
            return client.post(
                "/key/update", {"key": key, "team_id": TEAM if number % 4 == 1 else "elsewhere"}
            ).status
        return bulk(client, {"rpm_limit": number + 1}).status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(16))) == {200}
    api.post("/key/update", {"key": key, "team_id": "elsewhere", "rpm_limit": 99})
    bulk(api, {"rpm_limit": 5})
    assert [api.info(each["key"])["rpm_limit"] for each in made[:2]] == [99, 5]


def test_sending_it_again_gives_the_same(api: Api, made: list[dict[str, Any]]):
    sent = {"max_budget": 3, "budget_duration": "1d", "tags": ["a"]}

    assert bulk(api, sent).body == bulk(api, sent).body


@on_one_store
def test_with_redis_away_no_key_is_changed(
    api: Api, services: Services, clock: MovableClock, made: list[dict[str, Any]]
):
    with without_redis(services.settings, clock) as cut_off, unchanged(services.database):
        answer = bulk(cut_off, {"max_budget": 5})

    assert answer.summary == (503, "no_db_connection", None)


@on_one_store
def test_a_key_of_a_team_that_a_caller_cannot_see_is_as_unknown_as_any(api: Api, services: Services):
    people = gather(api, services.database)
    add_team(services.database, "hidden")
    hidden = api.generate(team_id="hidden")["key"]
    seen = api.generate(team_id=TEAM)["key"]
    bulk(api, {"rpm_limit": 1}, seen, caller=people["team admin"])

    with statements(services.database) as of_hidden:
        one = bulk(api, {"rpm_limit": 1}, seen, hidden, caller=people["team admin"])
    with statements(services.database) as of_unknown:
        other = bulk(api, {"rpm_limit": 1}, seen, UNKNOWN, caller=people["team admin"])

    assert failed(one) == {hidden: NOT_FOUND}
    assert failed(other) == {UNKNOWN: NOT_FOUND}
    assert len(of_hidden) == len(of_unknown)
