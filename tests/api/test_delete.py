"""POST /key/delete: what is named and known is archived and gone, all of it or none."""

import pytest

from app.container import Services
from app.models import (
    audit,
    budget_state,
    budgets,
    deleted_keys,
    events,
    key_secrets,
    keys,
    ledger,
    object_permissions,
)
from tests.clients import Api
from tests.factories import add_person, add_team, add_tier, rows, unchanged


def test_keys_are_deleted_by_plaintext_hash_and_alias_and_listed_as_sent(api: Api):
    one, two, three = (api.generate(key_alias=alias) for alias in ("one", "two", "three"))

    answer = api.post("/key/delete", {"keys": [one["key"], two["token"]], "key_aliases": ["three"]})

    assert answer.body == {"deleted_keys": [one["key"], two["token"], "three"]}
    assert [api.get("/key/info", made["key"]).status for made in (one, two, three)] == [401, 401, 401]


def test_what_is_unknown_is_passed_over_and_not_listed(api: Api):
    made = api.generate(key_alias="known")
    unknown = ["sk-unknown-key-000", "0" * 64, ""]

    answer = api.post("/key/delete", {"keys": [*unknown, made["key"]], "key_aliases": ["unknown"]})

    assert answer.body == {"deleted_keys": [made["key"]]}


def test_a_key_that_is_named_twice_is_listed_twice_and_archived_once(api: Api, services: Services):
    made = api.generate(key_alias="bot")

    answer = api.post("/key/delete", {"keys": [made["key"], made["token"]], "key_aliases": ["bot"]})

    assert answer.body == {"deleted_keys": [made["key"], made["token"], "bot"]}
    assert len(rows(services.database, deleted_keys)) == 1


def test_a_name_counts_in_its_own_list_only(api: Api):
    target = api.generate()
    lookalike = api.generate(key_alias=target["token"])

    by_alias = api.post("/key/delete", {"key_aliases": [target["token"]]})

    assert by_alias.body == {"deleted_keys": [target["token"]]}
    assert api.get("/key/info", target["key"]).status == 200
    assert api.get("/key/info", lookalike["key"]).status == 401


def test_an_alias_that_reads_like_another_keys_hash_deletes_what_each_list_names(api: Api):
    target = api.generate()
    lookalike = api.generate(key_alias=target["token"])

    both = api.post("/key/delete", {"keys": [target["token"]], "key_aliases": [target["token"]]})

    assert both.body == {"deleted_keys": [target["token"]] * 2}
    assert api.get("/key/list").body["keys"] == []
    assert api.get("/key/info", lookalike["key"]).status == 401


def test_when_nothing_is_left_it_is_not_found_and_so_is_the_second_time(api: Api):
    made = api.generate()
    first = api.post("/key/delete", {"keys": [made["key"]]})

    second = api.post("/key/delete", {"keys": [made["key"]]})

    assert first.status == 200
    assert second.summary == (404, "invalid_request_error", "keys")


@pytest.mark.parametrize(
    "body", [{}, {"keys": None, "key_aliases": None}, {"keys": [], "key_aliases": []}, {"key": "x"}]
)
def test_a_request_that_names_nothing_does_not_fit_the_schema(shared_api: Api, body: dict[str, object]):
    answer = shared_api.post("/key/delete", body)

    assert answer.status == 422
    assert [fault["loc"] for fault in answer.body["detail"]] == [["body"]]


def test_the_official_client_sends_the_unused_list_as_null(api: Api):
    made = api.generate(key_alias="bot")

    answer = api.post("/key/delete", {"keys": None, "key_aliases": ["bot"]})

    assert answer.body == {"deleted_keys": ["bot"]}
    assert api.get("/key/info", made["key"]).status == 401


def test_a_deleted_key_leaves_the_archive_the_ledger_and_nothing_else(api: Api, services: Services):
    tier = add_tier(services.database, "shared")
    made = api.generate(
        key_alias="bot", budget_id=tier, soft_budget=1, spend=2, object_permission={"models": ["m"]}, tags=["t"]
    )

    api.post("/key/delete", {"keys": [made["key"]]}, headers={"litellm-changed-by": "alice"})

    for table in (keys, key_secrets, budget_state, object_permissions):
        assert rows(services.database, table) == []
    (archived,) = rows(services.database, deleted_keys)
    assert (archived["key_id"], archived["token"], archived["key_alias"]) == (made["key_id"], made["token"], "bot")
    assert (archived["spend_nanos"], archived["total_spend_nanos"]) == (2 * 10**9, 2 * 10**9)
    assert archived["object_permission"]["models"] == ["m"]
    assert (archived["deleted_by"], archived["deleted_by_key_id"]) == (
        "default_user_id",
        "litellm_proxy_master_key",
    )
    assert archived["changed_by"] == "alice"
    assert len(rows(services.database, ledger, key_id=made["key_id"])) == 1
    assert [row["budget_id"] for row in rows(services.database, budgets)] == [tier]


def test_each_deleted_key_has_an_audit_row_and_an_event(api: Api, services: Services):
    made = [api.generate(key_alias=alias) for alias in ("a", "b")]

    api.post("/key/delete", {"key_aliases": ["a", "b"]})

    removed = rows(services.database, audit, action="delete")
    assert {row["entity_id"] for row in removed} == {one["key_id"] for one in made}
    assert {row["before"]["key_alias"] for row in removed} == {"a", "b"}
    assert [row["after"] for row in removed] == [None, None]
    assert len(rows(services.database, events, kind="key_deleted")) == 2


def test_the_alias_and_the_chosen_key_of_a_deleted_key_are_free_again(api: Api):
    chosen = "sk-chosen-by-hand-0001"
    first = api.generate(key=chosen, key_alias="bot")
    api.post("/key/delete", {"keys": [chosen]})

    second = api.generate(key=chosen, key_alias="bot")

    assert second["key_id"] != first["key_id"]
    assert api.get("/key/info", chosen).status == 200


def test_one_key_that_may_be_seen_but_not_deleted_keeps_all(api: Api, services: Services):
    caller = add_person(api, services.database, "me")
    mine = api.generate(user_id="me")
    add_team(services.database, "team", {"me": "user"})
    ours = api.generate(team_id="team", user_id="other")

    with unchanged(services.database):
        answer = api.post("/key/delete", {"keys": [mine["key"], ours["key"]]}, key=caller)

    assert answer.summary == (403, "auth_error", None)


def test_what_the_caller_may_not_see_counts_as_unknown(api: Api, services: Services):
    caller = add_person(api, services.database, "me")
    mine, foreign = api.generate(user_id="me"), api.generate(user_id="other", key_alias="foreign")

    answer = api.post(
        "/key/delete", {"keys": [mine["key"], foreign["key"]], "key_aliases": ["foreign"]}, key=caller
    )

    assert answer.body == {"deleted_keys": [mine["key"]]}
    assert api.get("/key/info", foreign["key"]).status == 200


def test_more_than_one_transaction_can_hold_is_refused(shared_api: Api):
    answer = shared_api.post("/key/delete", {"keys": [f"{number:064x}" for number in range(1_001)]})

    assert answer.status == 422
    assert answer.body["detail"][0]["type"] == "too_long"


def test_a_thousand_names_are_looked_up_at_once(api: Api):
    made = api.generate()

    answer = api.post("/key/delete", {"keys": [made["key"], *(f"{number:064x}" for number in range(999))]})

    assert answer.body == {"deleted_keys": [made["key"]]}
