"""POST /v2/key/info: several keys at once, those that the caller may see."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from tests.api.counting import statements
from tests.api.test_rights import TARGETS, UNKNOWN, make_target
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock


def ask(api: Api, caller: str = MASTER_KEY, **sent: Any) -> Answer:
    return api.post("/v2/key/info", sent, key=caller)


def ids(answer: Answer) -> set[str]:
    assert answer.status == 200, answer
    return {info["key_id"] for info in answer.body["info"]}


def test_each_key_is_shown_as_info_shows_it_and_named_keys_are_echoed(api: Api):
    one = api.generate(key_alias="one", max_budget=3, metadata={"a": 1}, object_permission={"models": ["m"]})
    two = api.generate(key_alias="two", spend=0.5, budget_duration="1d")

    answer = ask(api, keys=[one["key"], two["token"]])

    assert answer.body["key"] == [one["key"], two["token"]]
    by_id = {info["key_id"]: info for info in answer.body["info"]}
    assert by_id == {made["key_id"]: api.info(made["key"]) for made in (one, two)}
    assert not any("token" in info for info in answer.body["info"])


def test_names_and_aliases_are_merged_and_each_key_is_shown_once(api: Api):
    one, two, three = (api.generate(key_alias=alias) for alias in ("one", "two", "three"))

    answer = ask(api, keys=[one["key"], one["token"], two["key"]], key_aliases=["two", "three", "no such alias"])

    assert ids(answer) == {made["key_id"] for made in (one, two, three)}
    assert len(answer.body["info"]) == 3


def test_by_alias_alone_there_are_no_keys_to_echo(api: Api):
    made = api.generate(key_alias="one")

    answer = ask(api, key_aliases=["one"])

    assert answer.body["key"] is None
    assert ids(answer) == {made["key_id"]}


@pytest.mark.parametrize("sent", [{"keys": [UNKNOWN]}, {"keys": ["", "x", "f" * 64]}, {"key_aliases": [""]}])
def test_nothing_found_is_an_empty_list(shared_api: Api, sent: dict[str, Any]):
    shared_api.generate()

    assert ask(shared_api, **sent).body == {"key": sent.get("keys"), "info": []}


def test_a_secret_names_its_key_until_its_grace_ends(api: Api, clock: MovableClock):
    made = api.generate()
    api.post("/key/regenerate", {"key": made["key"], "grace_period": "1h"})

    assert ids(ask(api, keys=[made["key"]])) == {made["key_id"]}
    clock.advance(timedelta(hours=1))
    assert ids(ask(api, keys=[made["key"]])) == set()


def test_a_deleted_key_is_gone(api: Api):
    made = api.generate(key_alias="one")
    api.post("/key/delete", {"keys": [made["key"]]})

    assert ids(ask(api, keys=[made["key"], made["token"]], key_aliases=["one"])) == set()


@pytest.mark.parametrize(
    ("sent", "location", "kind"),
    [
        ({}, ["body"], "value_error"),
        ({"keys": [], "key_aliases": []}, ["body"], "value_error"),
        ({"keys": None, "key_aliases": None}, ["body"], "value_error"),
        ({"keys": UNKNOWN}, ["body", "keys"], "list_type"),
        ({"keys": [5]}, ["body", "keys", 0], "string_type"),
        ({"keys": [UNKNOWN, None]}, ["body", "keys", 1], "string_type"),
        ({"key_aliases": {}}, ["body", "key_aliases"], "list_type"),
        ({"keys": ["a\x00b"]}, ["body", "keys"], "string_nul"),
        ({"keys": ["k"] * 1001}, ["body", "keys"], "too_long"),
        ({"key_aliases": ["k"] * 1001}, ["body", "key_aliases"], "too_long"),
    ],
)
def test_a_body_that_does_not_fit_is_told_by_its_field(
    shared_api: Api, sent: dict[str, Any], location: list[Any], kind: str
):
    answer = ask(shared_api, **sent)

    assert answer.status == 422
    assert (answer.body["detail"][0]["loc"], answer.body["detail"][0]["type"]) == (location, kind)


def test_without_a_body_it_is_a_missing_body(shared_api: Api):
    answer = shared_api.call("POST", "/v2/key/info")

    assert answer.body == {"detail": [{"type": "missing", "loc": ["body"], "msg": "Field required"}]}


def test_a_thousand_of_each_are_taken(shared_api: Api):
    answer = ask(
        shared_api,
        keys=[f"sk-unknown-{number:08}" for number in range(1000)],
        key_aliases=[f"no alias {number}" for number in range(1000)],
    )

    assert (answer.status, answer.body["info"]) == (200, [])


# --- who sees what -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        ("user", {"own", "given", "team/own"}),
        ("member", {"own", "given", "team/own", "team/yours", "team/robot"}),
        ("lead", {"own", "given", "team/own", "team/yours", "team/robot"}),
        ("chief", {"own", "given", "team/own", "team/yours", "team/robot"}),
        ("robot", {"team/own", "team/yours", "team/robot"}),
        ("viewer", set(TARGETS)),
        ("admin", set(TARGETS)),
    ],
)
def test_keys_out_of_sight_are_passed_over(
    shared_api: Api, shared_services: Services, company: dict[str, str], caller: str, seen: set[str]
):
    made = {target: make_target(shared_api, shared_services, caller, target) for target in TARGETS}

    answer = ask(shared_api, company[caller], keys=[key["key"] for key in made.values()])

    assert ids(answer) == {made[target]["key_id"] for target in seen}


@pytest.mark.parametrize("by", ["keys", "key_aliases"])
@pytest.mark.parametrize("hidden", ["foreign", "ownerless", "other team", "team/yours"])
def test_a_key_out_of_sight_answers_and_costs_what_an_unknown_one_does(
    shared_api: Api, shared_services: Services, company: dict[str, str], hidden: str, by: str
):
    made = make_target(shared_api, shared_services, "user", hidden)
    alias = f"v2 {by} {hidden}"
    shared_api.post("/key/update", {"key": made["key"], "key_alias": alias})
    names = (made["key"], UNKNOWN) if by == "keys" else (alias, "no such alias")
    shared_api.get("/models", key=company["user"])  # known to the cache from here on

    seen = []
    for name in names:
        with statements(shared_services.database) as sent:
            answer = ask(shared_api, company["user"], **{by: [name]})
        seen.append((answer.status, answer.body["info"], len(sent)))

    assert seen[0] == seen[1]


def test_fifty_keys_take_as_many_statements_as_one(shared_api: Api, shared_services: Services):
    made = [shared_api.generate(team_id="t") for _ in range(50)]

    costs = []
    for count in (1, 50):
        with statements(shared_services.database) as sent:
            answer = ask(shared_api, keys=[key["key"] for key in made[:count]])
        assert len(answer.body["info"]) == count
        costs.append(len(sent))

    assert costs == [2, 2]
