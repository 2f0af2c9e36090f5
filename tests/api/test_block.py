"""POST /key/block and /key/unblock: felt by the very next request, and the same however often it is said."""

import pytest

from app.container import Services
from app.models import audit, events
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import everything, rows, unchanged

BLOCKED = "Authentication Error, Key is blocked."


def test_a_blocked_key_is_refused_by_the_next_request_and_an_unblocked_one_is_not(api: Api):
    key = api.generate()["key"]
    assert api.get("/key/info", key).status == 200

    api.post("/key/block", {"key": key})
    refused = api.get("/key/info", key)
    api.post("/key/unblock", {"key": key})

    assert refused.summary == (401, "auth_error", None)
    assert refused.error["message"].startswith(BLOCKED)
    assert api.get("/key/info", key).status == 200


def test_both_answer_the_whole_row_without_the_plaintext(api: Api):
    made = api.generate(key_alias="bot", max_budget=1, object_permission={"models": ["m"]})

    blocked = api.post("/key/block", {"key": made["key"]})
    shown = api.info(made["key"])
    unblocked = api.post("/key/unblock", {"key": made["token"]})

    assert blocked.body == {"token": made["token"], **shown}
    assert blocked.body.keys() == unblocked.body.keys()
    assert (blocked.body["blocked"], blocked.body["status"]) == (True, "revoked")
    assert (unblocked.body["blocked"], unblocked.body["status"]) == (False, "active")
    assert {"org_id", "organization_id"} <= blocked.body.keys()
    assert made["key"] not in str(blocked.body)


def test_a_blocked_key_is_found_by_hash_as_well(api: Api):
    made = api.generate()

    answer = api.post("/key/block", {"key": made["token"]})

    assert answer.body["blocked"] is True
    assert api.get("/key/info", made["key"]).status == 401


@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_saying_it_again_changes_nothing(api: Api, services: Services, clock: MovableClock, verb: str):
    made = api.generate()
    first = api.post(f"/key/{verb}", {"key": made["key"]})
    clock.advance(60)

    with unchanged(services.database):
        second = api.post(f"/key/{verb}", {"key": made["key"]})

    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body


def test_each_change_is_audited_with_before_and_after(api: Api, services: Services):
    made = api.generate()

    api.post("/key/block", {"key": made["key"]})
    api.post("/key/unblock", {"key": made["key"]})

    changes = [(row["action"], row["before"], row["after"]) for row in rows(services.database, audit)[1:]]
    assert changes == [
        ("block", {"blocked": None}, {"blocked": True}),
        ("unblock", {"blocked": True}, {"blocked": False}),
    ]
    kinds = [event["kind"] for event in rows(services.database, events)]
    assert sorted(kinds) == ["key_blocked", "key_created", "key_unblocked"]


def test_blocking_stands_before_expiry_in_every_answer(api: Api, clock: MovableClock):
    key = api.generate(duration="1s")["key"]
    api.post("/key/block", {"key": key})
    clock.advance(60)

    assert api.info(key)["status"] == "revoked"
    assert api.get("/key/info", key).error["message"].startswith(BLOCKED)


@pytest.mark.parametrize("verb", ["block", "unblock"])
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("sk-unknown-key-0000", (404, "not_found_error", "key")),
        ("f" * 64, (404, "not_found_error", "key")),
        ("sk-" + "x" * 253, (404, "not_found_error", "key")),
        ("", (400, "bad_request_error", "key")),
        ("sk-", (400, "bad_request_error", "key")),
        ("sk-with space", (400, "bad_request_error", "key")),
        ("sk-new\nline", (400, "bad_request_error", "key")),
        ("F" * 64, (400, "bad_request_error", "key")),
        ("f" * 63, (400, "bad_request_error", "key")),
        ("an alias", (400, "bad_request_error", "key")),
        (MASTER_KEY, (400, "invalid_request_error", "key")),
    ],
)
def test_what_names_no_key_is_refused(shared_api: Api, verb: str, reference: str, expected: tuple[int, str, str]):
    answer = shared_api.post(f"/key/{verb}", {"key": reference})

    assert answer.summary == expected


@pytest.mark.parametrize("body", [{}, {"key": None}, {"key": 5}, {"key": ["sk-x"]}, {"keys": ["sk-x"]}])
def test_a_body_without_a_key_does_not_fit_the_schema(shared_api: Api, shared_services: Services, body: object):
    before = everything(shared_services.database)

    answer = shared_api.post("/key/block", body)

    assert answer.status == 422
    assert [fault["loc"] for fault in answer.body["detail"]] == [["body", "key"]]
    assert everything(shared_services.database) == before
