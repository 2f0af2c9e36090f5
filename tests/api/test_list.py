"""GET /key/list: filters, order and pages."""

from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.api.listing import aliases, listed
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_person, add_tier, add_user


def make(api: Api, clock: MovableClock, **keys: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Make a key per alias, a second apart."""
    made = {}
    for alias, fields in keys.items():
        made[alias] = api.generate(key_alias=alias, **fields)
        clock.advance(1)
    return made


# --- shape and pages ---------------------------------------------------------------------------------------


def test_nothing_is_an_empty_list_of_no_pages(api: Api):
    answer = listed(api)

    assert answer.body == {"keys": [], "total_count": 0, "current_page": 1, "total_pages": 0}


def test_keys_are_hashes_unless_objects_are_asked_for(api: Api):
    made = api.generate(key_alias="a")

    plain = listed(api).body["keys"]
    (full,) = listed(api, return_full_object="true").body["keys"]

    assert plain == [made["token"]]
    assert (full["token"], full["key_alias"], full["org_id"]) == (made["token"], "a", None)
    assert made["key"] not in str(full)


def test_an_object_has_the_context_fields_of_litellm_and_what_info_shows(api: Api):
    made = api.generate()

    (full,) = listed(api, return_full_object="true").body["keys"]

    assert full.items() >= {**api.info(made["key"]), "token": made["token"]}.items()
    assert full.items() >= {"team_models": [], "team_blocked": False, "is_session_token": False}.items()
    assert {"team_alias", "user_email", "api_key", "user_role", "jwt_claims"} <= full.keys()


def test_newest_come_first_and_pages_never_overlap(api: Api, clock: MovableClock):
    made = make(api, clock, **{f"key-{number}": {} for number in range(7)})

    pages = [listed(api, page=page, size=3) for page in (1, 2, 3, 4)]

    tokens = [token for page in pages for token in page.body["keys"]]
    assert tokens == [made[f"key-{number}"]["token"] for number in reversed(range(7))]
    assert [page.body["current_page"] for page in pages] == [1, 2, 3, 4]
    assert {(page.body["total_count"], page.body["total_pages"]) for page in pages} == {(7, 3)}


@pytest.mark.parametrize("sort_by", [None, "spend", "created_at", "max_budget", "user_id"])
def test_keys_that_tie_are_still_on_one_page_each(api: Api, sort_by: str | None):
    made = {api.generate()["token"] for _ in range(7)}
    sort = {} if sort_by is None else {"sort_by": sort_by}

    pages = [listed(api, page=page, size=2, **sort).body["keys"] for page in (1, 2, 3, 4)]

    assert sorted(token for page in pages for token in page) == sorted(made)


def test_a_page_holds_ten_unless_told_and_a_hundred_at_the_most(api: Api):
    for _ in range(12):
        api.generate()

    assert len(listed(api).body["keys"]) == 10
    assert len(listed(api, size=100).body["keys"]) == 12


# --- filters -----------------------------------------------------------------------------------------------


def test_filters_are_exact_and_narrow_each_other(api: Api, services: Services, clock: MovableClock):
    add_organization(services.database, "acme")
    make(
        api, clock,
        one={"user_id": "u", "team_id": "t", "organization_id": "acme", "project_id": "p", "agent_id": "a"},
        two={"user_id": "u", "team_id": "tt", "access_group_ids": ["g", 'g"2']},
        three={"user_id": "uu", "team_id": "t"},
    )  # fmt: skip

    assert aliases(api, user_id="u") == ["two", "one"]
    assert aliases(api, team_id="t") == ["three", "one"]
    assert aliases(api, user_id="u", team_id="t") == ["one"]
    assert aliases(api, organization_id="acme") == ["one"]
    assert aliases(api, project_id="p") == aliases(api, agent_id="a") == ["one"]
    assert aliases(api, access_group_id="g") == aliases(api, access_group_id='g"2') == ["two"]
    assert aliases(api, access_group_id="g2") == aliases(api, user_id="U") == aliases(api, key_alias="tw") == []
    assert aliases(api, key_alias="two") == ["two"]


def test_an_empty_filter_is_none(api: Api):
    api.generate(key_alias="a")
    names = [
        "user_id",
        "team_id",
        "organization_id",
        "key_hash",
        "key_alias",
        "status",
        "expires",
        "search",
        "sort_by",
        "project_id",
    ]

    assert aliases(api, **dict.fromkeys(names, "")) == ["a"]


def test_a_key_is_found_by_its_hash_and_not_by_its_plaintext(api: Api):
    made = api.generate(key_alias="a")
    api.generate(key_alias="b")

    assert aliases(api, key_hash=made["token"]) == ["a"]
    assert aliases(api, key_hash=made["key"]) == aliases(api, key_hash="0" * 64) == []


def test_a_part_of_a_name_is_matched_literally_and_in_any_case(api: Api, clock: MovableClock):
    make(api, clock, **{"50%_off": {"user_id": "Ann_1"}, "500 off": {"user_id": "anna"}, "a/b\\c": {}})

    def found(**query: str) -> list[str]:
        return aliases(api, substring_matching="true", **query)

    assert found(key_alias="%") == found(key_alias="_OFF") == ["50%_off"]
    assert found(key_alias="/B\\") == ["a/b\\c"]
    assert found(user_id="ANN") == ["500 off", "50%_off"]
    assert found(user_id="n_") == ["50%_off"]
    assert aliases(api, user_id="ann") == []


def test_a_search_finds_a_hash_or_a_part_of_an_alias(api: Api, clock: MovableClock):
    made = make(api, clock, Alpha_1={}, Alphabet={}, beta={})

    assert aliases(api, search="alpha") == ["Alphabet", "Alpha_1"]
    assert aliases(api, search="a_1") == ["Alpha_1"]
    assert aliases(api, search=made["beta"]["token"]) == ["beta"]
    assert aliases(api, search=made["beta"]["token"][:10]) == []


def test_status_and_expiry_follow_the_clock(api: Api, clock: MovableClock):
    make(
        api, clock,
        lasting={}, unblocked={"blocked": False}, short={"duration": "10s"}, blocked={"blocked": True},
        both={"blocked": True, "duration": "1s"}, gone={},
    )  # fmt: skip
    api.post("/key/delete", {"key_aliases": ["gone"]})
    clock.advance(60)

    assert aliases(api, status="active") == ["unblocked", "lasting"]
    assert aliases(api, status="expired") == ["short"]
    assert aliases(api, status="revoked") == ["both", "blocked"]
    assert aliases(api, status="deleted") == ["gone"]
    assert aliases(api, expires="active") == ["blocked", "unblocked", "lasting"]
    assert aliases(api, expires="expired") == ["both", "short"]
    assert aliases(api) == ["both", "blocked", "short", "unblocked", "lasting"]


def test_a_key_expires_in_the_list_at_the_instant_at_which_it_is_refused(api: Api, clock: MovableClock):
    api.generate(key_alias="a", duration="1s")

    clock.advance(0.999999)
    before = aliases(api, status="active"), aliases(api, status="expired")
    clock.advance(0.000001)

    assert before == (["a"], [])
    assert (aliases(api, status="active"), aliases(api, status="expired")) == ([], ["a"])


def test_deleted_keys_are_listed_as_they_were_with_who_deleted_them(api: Api, clock: MovableClock):
    made = make(api, clock, a={"max_budget": 2, "spend": 1, "user_id": "u"}, b={})
    api.post("/key/delete", {"key_aliases": ["a", "b"]}, headers={"litellm-changed-by": "alice"})

    (shown,) = listed(api, status="deleted", user_id="u", return_full_object="true").body["keys"]

    assert (shown["token"], shown["status"]) == (made["a"]["token"], "deleted")
    assert (shown["max_budget"], shown["spend"], shown["total_spend"]) == (2, 1, 1)
    assert shown["deleted_by"] == "default_user_id"
    assert shown["deleted_by_api_key"] == "litellm_proxy_master_key"
    assert (shown["litellm_changed_by"], shown["deleted_at"]) == ("alice", "2026-11-18T13:47:35.000000Z")
    assert aliases(api, status="deleted", sort_by="max_budget", sort_order="desc") == ["a", "b"]


def test_keys_of_litellms_dashboard_are_nobodys_business(api: Api):
    api.generate(key_alias="session", team_id="litellm-dashboard")

    assert aliases(api) == []


# --- order -------------------------------------------------------------------------------------------------

FIRST_SECOND_NONE: dict[str, tuple[dict[str, Any], ...]] = {
    "max_budget": ({"max_budget": 1}, {"max_budget": 2}, {}),
    "tpm_limit": ({"tpm_limit": 1}, {"tpm_limit": 2}, {}),
    "rpm_limit": ({"rpm_limit": 0}, {"rpm_limit": 2}, {}),
    "expires": ({"duration": "1h"}, {"duration": "2h"}, {}),
    "budget_reset_at": ({"budget_duration": "1h"}, {"budget_duration": "1d"}, {}),
    "user_id": ({"user_id": "a"}, {"user_id": "b"}, {}),
}


@pytest.mark.parametrize("column", FIRST_SECOND_NONE)
def test_missing_values_come_last_in_both_directions(api: Api, column: str):
    for alias, fields in zip(("first", "second", "none"), FIRST_SECOND_NONE[column], strict=True):
        api.generate(key_alias=alias, **fields)

    assert aliases(api, sort_by=column, sort_order="asc") == ["first", "second", "none"]
    assert aliases(api, sort_by=column, sort_order="DESC") == ["second", "first", "none"]


def test_every_other_column_sorts_too(api: Api, services: Services, clock: MovableClock):
    made = make(api, clock, b={"spend": 1}, a={"spend": 2})
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    by_token = sorted(made, key=lambda alias: made[alias]["token"])

    ascending = {"key_alias": ["a", "b"], "created_at": ["b", "a"], "updated_at": ["b", "a"], "spend": ["b", "a"]}
    for column, expected in {**ascending, "total_spend": ["b", "a"], "token": by_token}.items():
        assert aliases(api, sort_by=column, sort_order="asc") == expected
        assert aliases(api, sort_by=column) == expected[::-1]
    assert len(aliases(api, sort_by="last_active")) == 2


def test_the_order_is_looked_at_beside_a_column_only(api: Api, clock: MovableClock):
    make(api, clock, a={}, b={})

    assert aliases(api, sort_order="up") == aliases(api, sort_order="asc") == ["b", "a"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"sort_by": "metadata"}, "sort_by"),
        ({"sort_by": "key_id; DROP TABLE keys"}, "sort_by"),
        ({"sort_by": "spend", "sort_order": "up"}, "sort_order"),
        ({"sort_by": "spend", "sort_order": ""}, "sort_order"),
        ({"status": "Active"}, "status"),
        ({"status": "blocked"}, "status"),
        ({"expires": "deleted"}, "expires"),
    ],
)
def test_a_filter_that_does_not_exist_is_refused(shared_api: Api, query: dict[str, str], param: str):
    answer = listed(shared_api, **query)

    assert answer.summary == (400, "invalid_request_error", param)


def test_flags_are_read_in_their_usual_spellings(shared_api: Api):
    for flag in ("true", "TRUE", "1", "yes", "on", "false", "0", "No", "off"):
        assert listed(shared_api, return_full_object=flag, include_team_keys=flag).status == 200
    for flag in ("maybe", "2", ""):
        assert listed(shared_api, return_full_object=flag).status == 422


def test_expanded_keys_carry_their_owner_and_creator(api: Api, services: Services):
    caller = add_person(api, services.database, "boss", "proxy_admin")
    add_user(services.database, "ann", user_email="ann@example.com", max_budget_nanos=NANOS)
    api.generate(key_alias="a", user_id="ann", caller=caller)

    (shown,) = listed(api, key_alias="a", expand="user", return_full_object="true").body["keys"]

    assert (shown["user"]["user_id"], shown["user"]["user_email"], shown["user"]["max_budget"]) == (
        "ann", "ann@example.com", 1,
    )  # fmt: skip
    assert shown["created_by_user"] == {"user_id": "boss", "user_email": None, "user_alias": None}


def test_expanding_asks_for_objects_by_itself(api: Api):
    api.generate(key_alias="a", user_id="nobody")

    (shown,) = listed(api, expand="user").body["keys"]

    assert (shown["key_alias"], shown["user"]) == ("a", None)


def test_spend_in_the_list_is_that_of_the_present_window(api: Api, clock: MovableClock):
    api.generate(budget_duration="1d", spend=2)
    clock.advance(3600 * 24)

    (shown,) = listed(api, return_full_object="true").body["keys"]

    assert (shown["spend"], shown["total_spend"]) == (0, 2)


def test_a_key_of_a_tier_is_listed_with_it(api: Api, services: Services):
    add_tier(services.database, "gold", max_budget_nanos=NANOS)
    api.generate(budget_id="gold")

    (shown,) = listed(api, return_full_object="true").body["keys"]

    assert (shown["budget_id"], shown["litellm_budget_table"]["max_budget"]) == ("gold", 1)
