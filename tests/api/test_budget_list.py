"""GET /budget/list and /budget/settings: tiers page by page, and one as a form shows it."""

from typing import Any

import pytest

from app.container import Services
from tests.api.budgets import FIELDS, new, shown
from tests.api.counting import statements
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_tier


def listed(api: Api, key: str = MASTER_KEY, **query: Any) -> Answer:
    return api.call("GET", "/budget/list", key=key, query=query)


def settings(api: Api, key: str = MASTER_KEY, **query: Any) -> Answer:
    return api.call("GET", "/budget/settings", key=key, query=query)


def test_the_list_is_a_bare_array_of_rows_newest_first(api: Api, clock: MovableClock):
    assert listed(api).body == []
    for name in ("gold", "silver", "bronze"):
        new(api, **{**FIELDS, "budget_id": name})
        clock.advance(1)

    assert listed(api).body == shown(api, "bronze", "silver", "gold")


def test_a_page_holds_a_hundred_unless_told_and_the_cursor_leads_on(api: Api, services: Services):
    for number in range(103):
        add_tier(services.database, f"tier {number:03}")

    first = listed(api)
    rest = listed(api, cursor=first.headers["x-keyledger-next-cursor"])

    names = [tier["budget_id"] for page in (first, rest) for tier in page.body]
    assert (len(first.body), len(rest.body)) == (100, 3)
    assert names == [f"tier {number:03}" for number in reversed(range(103))]
    assert "x-keyledger-next-cursor" not in rest.headers
    assert [tier["budget_id"] for tier in listed(api, page=2, page_size=50).body] == names[50:100]


@pytest.mark.parametrize(
    ("query", "expected"),
    [({"page_size": 0}, 422), ({"page_size": 501}, 422), ({"page": 0}, 422), ({"cursor": "x"}, 400)],
)
def test_a_page_that_cannot_be_is_refused(shared_api: Api, query: dict[str, Any], expected: int):
    assert listed(shared_api, **query).status == expected


def test_a_page_of_many_takes_as_many_statements_as_one_of_a_few(api: Api, services: Services):
    for number in range(40):
        add_tier(services.database, f"tier {number}")

    def ask(**query: Any) -> int:
        with statements(services.database) as sent:
            listed(api, **query)
        return len(sent)

    cursor = listed(api, page_size=1).headers["x-keyledger-next-cursor"]
    assert (ask(page_size=1), ask(page_size=40), ask(page_size=40, cursor=cursor)) == (3, 3, 2)


def test_the_settings_of_a_tier_say_what_each_field_is_and_holds(api: Api):
    new(api, **FIELDS)

    found = settings(api, budget_id="gold").body

    assert {entry["field_name"]: entry["field_value"] for entry in found} == {
        **{name: value for name, value in FIELDS.items() if name != "budget_id"},
        "budget_start_time": None,
        "budget_timezone": None,
        "budget_rollover": None,
    }
    assert {entry["field_name"]: entry["field_type"] for entry in found} == {
        **dict.fromkeys(("max_parallel_requests", "tpm_limit", "rpm_limit", "tpd_limit"), "Integer"),
        **dict.fromkeys(("max_budget", "soft_budget"), "Float"),
        **dict.fromkeys(("budget_duration", "budget_start_time", "budget_timezone"), "String"),
        "budget_rollover": "Boolean",
        "model_max_budget": "Object",
    }
    assert all(entry["field_description"] for entry in found)
    assert {(entry["stored_in_db"], entry["field_default_value"]) for entry in found} == {(True, None)}


def test_the_settings_of_an_unknown_tier_are_not_found(shared_api: Api):
    assert settings(shared_api, budget_id="never").summary == (404, "not_found_error", "budget_id")
    assert settings(shared_api).status == 422


def test_the_settings_take_one_statement(api: Api, services: Services):
    new(api, budget_id="gold")

    with statements(services.database) as sent:
        settings(api, budget_id="gold")

    assert len(sent) == 1


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("proxy_admin", 200),
        ("proxy_admin_viewer", 200),
        ("internal_user", 401),
        ("internal_user_viewer", 401),
        ("org_admin", 401),
    ],
)
def test_tiers_are_looked_through_by_those_who_see_all(api: Api, services: Services, role: str, expected: int):
    new(api, budget_id="gold")
    key = add_person(api, services.database, "somebody", role)

    assert (listed(api, key).status, settings(api, key, budget_id="gold").status) == (expected, expected)


def test_a_key_that_may_call_the_routes_does_not_see_all_by_that(api: Api):
    new(api, budget_id="gold")
    delegate = api.generate(allowed_routes=["/budget/list", "/budget/settings"])["key"]

    assert listed(api, delegate).status == 403
    assert [settings(api, delegate, budget_id=name).status for name in ("gold", "never")] == [403, 403]
