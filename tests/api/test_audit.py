"""GET /audit and GET /audit/{id}."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from app.container import Services
from app.db import Database
from app.models import audit
from tests.api.counting import statements
from tests.api.identities import gather
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import START
from tests.factories import add_person, on_one_store

NAMES = (
    "entity",
    "entity_id",
    "table_name",
    "object_id",
    "actor_user_id",
    "actor_key_id",
    "changed_by",
    "changed_by_api_key",
    "action",
    "request_id",
)


def listed(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = api.get("/audit", **query)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.body["audit_logs"]
    return found


def ids(api: Api, **query: Any) -> list[str]:
    return [entry["object_id"] for entry in listed(api, **query)]


def write(database: Database, *entries: dict[str, Any]) -> None:
    """Rows of the trail, each a minute after the one before."""
    usual = {
        "actor_key_id": None,
        "actor_user_id": "default_user_id",
        "actor_role": "proxy_admin",
        "changed_by": None,
        "request_id": None,
        "action": "update",
        "entity": "key",
    }
    rows = [{**usual, "at": START + timedelta(minutes=number), **entry} for number, entry in enumerate(entries)]
    with database.transaction() as transaction:
        transaction.execute(insert(audit), rows)


def test_nothing_has_happened_yet(api: Api):
    assert api.get("/audit").body == {"audit_logs": [], "total": 0, "page": 1, "page_size": 10, "total_pages": 0}


def test_a_row_has_the_names_of_the_reference_and_ours_beside(api: Api, services: Services):
    ann = add_person(api, services.database, "ann", "proxy_admin")
    headers = {"litellm-changed-by": "bob@example.com", "x-request-id": "request-1"}
    key = api.generate(max_budget=5)
    sent = {"key": key["key"], "max_budget": 7}
    assert api.post("/key/update", sent, key=ann, headers=headers).status == 200

    entry = listed(api)[0]

    assert entry == api.get(f"/audit/{entry['id']}").body
    assert int(entry["id"]) > 0
    assert {name: value for name, value in entry.items() if name != "id"} == {
        "updated_at": "2026-11-18T13:47:33.000000Z",
        "changed_by": "bob@example.com",
        "changed_by_api_key": api.info(ann)["key_id"],
        "action": "update",
        "table_name": "LiteLLM_VerificationToken",
        "object_id": key["key_id"],
        "before_value": {"max_budget": 5},
        "updated_values": {"max_budget": 7},
        "litellm_changed_by": "bob@example.com",
        "actor_key_id": api.info(ann)["key_id"],
        "actor_user_id": "ann",
        "actor_role": "proxy_admin",
        "request_id": "request-1",
        "address": "127.0.0.1",
        "entity": "key",
        "entity_id": key["key_id"],
    }


def test_without_a_claim_the_change_is_the_callers(api: Api):
    api.post("/user/new", {"user_id": "bob", "auto_create_key": False})

    (entry,) = listed(api)

    assert (entry["changed_by"], entry["litellm_changed_by"]) == ("default_user_id", None)
    assert (entry["changed_by_api_key"], entry["actor_key_id"]) == ("", None)
    assert (entry["table_name"], entry["before_value"]) == ("LiteLLM_UserTable", None)


def test_no_secret_of_a_callback_is_shown(api: Api):
    api.generate(
        metadata={
            "logging": [
                {
                    "callback_name": "langfuse",
                    "callback_vars": {
                        "langfuse_public_key": "pk-public-12345",
                        "langfuse_secret_key": "sk-lf-hush-12345",
                    },
                }
            ]
        }
    )

    shown = json.dumps(listed(api))

    assert "langfuse_secret_key" in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"entity": "team"}, ["t", "both"]),
        ({"table_name": "LiteLLM_TeamTable"}, ["t", "both"]),
        ({"table_name": "team"}, ["t", "both"]),
        ({"entity": "team", "table_name": "key"}, ["t", "both"]),
        ({"entity_id": "k"}, ["k"]),
        ({"object_id": "k"}, ["k"]),
        ({"action": "delete"}, ["k"]),
        ({"actor_user_id": "ann"}, ["claimed", "u", "both"]),
        ({"actor_key_id": "key-1"}, ["u"]),
        ({"changed_by_api_key": "key-1"}, ["u"]),
        ({"changed_by": "ann"}, ["u", "both"]),
        ({"changed_by": "bob"}, ["claimed"]),
        ({"request_id": "r"}, ["both"]),
        ({"entity": "team", "actor_user_id": "ann"}, ["both"]),
        ({"entity": "team", "action": "delete"}, []),
        ({"entity": ""}, ["claimed", "t", "k", "u", "both"]),
        ({"start_date": "2026-11-18T13:50:33Z"}, ["claimed", "t"]),
        ({"end_date": "2026-11-18T14:48:33+01:00"}, ["u", "both"]),
        ({"start_date": "2026-11-18T13:48:33Z", "end_date": "2026-11-18T13:49:33Z"}, ["k", "u"]),
        ({"start_date": "2026-11-18", "end_date": "2026-11-18"}, ["claimed", "t", "k", "u", "both"]),
        ({"end_date": "2026-11-17"}, []),
        ({"sort_order": "asc"}, ["both", "u", "k", "t", "claimed"]),
        ({"entity": "unknown"}, []),
    ],
)
def test_rows_are_found_newest_first_by_what_happened_to_whom_by_whom_and_when(
    api: Api, services: Services, query: dict[str, str], expected: list[str]
):
    write(
        services.database,
        {"entity": "team", "entity_id": "both", "actor_user_id": "ann", "request_id": "r"},
        {"entity": "user", "entity_id": "u", "actor_user_id": "ann", "actor_key_id": "key-1"},
        {"entity_id": "k", "action": "delete"},
        {"entity": "team", "entity_id": "t"},
        {"entity_id": "claimed", "actor_user_id": "ann", "changed_by": "bob"},
    )

    answer = api.get("/audit", **query)

    assert [entry["object_id"] for entry in answer.body["audit_logs"]] == expected
    assert answer.body["total"] == len(expected)


def test_every_page_goes_on_where_the_one_before_ended_whatever_happens_meanwhile(api: Api, services: Services):
    write(services.database, *({"entity_id": str(number), "at": START} for number in range(5)))
    first = api.get("/audit", page_size=2, entity="key")
    write(services.database, {"entity_id": "later"})

    second = api.get("/audit", page_size=2, entity="key", cursor=first.headers["x-keyledger-next-cursor"])
    third = api.get("/audit", page_size=2, entity="key", cursor=second.headers["x-keyledger-next-cursor"])

    seen = [[entry["object_id"] for entry in page.body["audit_logs"]] for page in (first, second, third)]
    assert seen == [["4", "3"], ["2", "1"], ["0"]]
    assert (third.body["total"], third.body["total_pages"]) == (5, 3)
    assert "x-keyledger-next-cursor" not in third.headers
    assert ids(api, page_size=2, page=3) == ["1", "0"]


def test_a_cursor_is_good_for_the_list_that_it_comes_from(api: Api, services: Services):
    write(services.database, *({"entity_id": str(number)} for number in range(3)))
    cursor = api.get("/audit", page_size=1).headers["x-keyledger-next-cursor"]

    for query in ({"action": "update"}, {"sort_order": "asc"}):
        answer = api.get("/audit", page_size=1, cursor=cursor, **query)
        assert answer.summary == (400, "invalid_request_error", "cursor")


@on_one_store
@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"page": 0}, "page"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"end_date": "2026-13-01"}, "end_date"),
        ({"sort_order": "down"}, "sort_order"),
        ({"entity": "x" * 513}, "entity"),
    ],
)
def test_a_wrong_query_does_not_fit_the_schema(api: Api, query: dict[str, Any], location: str):
    answer = api.get("/audit", **query)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", location])


def test_a_range_may_reach_to_the_end_of_time(api: Api):
    assert ids(api, start_date="0001-01-01", end_date="9999-12-31") == []


@pytest.mark.parametrize("audit_id", ["0", "12345", "-1", "x", "1e3", "\u0661", str(2**63), "9" * 40])
def test_an_unknown_id_is_not_found(api: Api, audit_id: str):
    assert api.get(f"/audit/{audit_id}").summary == (404, "not_found_error", "id")


def asked(api: Api, key: str) -> list[Answer]:
    return [api.get("/audit", key), api.get("/audit/1", key)]


@on_one_store
def test_the_trail_is_for_those_who_see_all(api: Api, services: Services):
    people = gather(api, services.database)

    for caller in people.keys:
        expected = 200 if caller in {"master", "proxy admin", "viewer"} else 401
        assert [answer.status for answer in asked(api, people[caller])] == [expected] * 2, caller


@on_one_store
@pytest.mark.parametrize("granted", ["/audit", "management_routes"])
def test_a_route_that_a_key_was_granted_does_not_show_the_trail(api: Api, services: Services, granted: str):
    bob = add_person(api, services.database, "bob", allowed_routes=[granted])

    assert {answer.summary for answer in asked(api, bob)} == {(401, "auth_error", None)}


def test_statements_do_not_grow_with_the_trail(api: Api, services: Services):
    write(services.database, *({"entity_id": str(number)} for number in range(120)))

    def sent(**query: Any) -> tuple[int, str | None]:
        with statements(services.database) as found:
            answer = api.get("/audit", MASTER_KEY, **query)
        return len(found), answer.headers.get("x-keyledger-next-cursor")

    first, cursor = sent(page_size=5)
    assert (first, sent(page_size=100)[0], sent(page_size=5, cursor=cursor)[0]) == (3, 3, 2)
    assert sent(**dict.fromkeys(NAMES, "x"))[0] == 3
