"""POST /user/update: a merge patch of a user, by itself for what is its own and by administrators for the rest."""

from typing import Any

import pytest

from app.container import Services
from app.models import audit, object_permissions
from app.services.access.callers import MASTER_USER_ID
from tests.api.calls import allowed, limit, refused, spent
from tests.api.counting import statements
from tests.api.identities import TEAM, gather
from tests.api.settings import NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.teams import spend
from tests.api.users import DEFAULTS, PLAIN, info, new
from tests.clients import Answer, Api
from tests.factories import add_person, on_one_store, rows, unchanged

FIELDS = {name: value for name, value in PLAIN.items() if name != "user_id"}


def update(api: Api, user_id: str = "bob", *, caller: str | None = None, **fields: Any) -> Answer:
    named = {} if caller is None else {"key": caller}
    return api.post("/user/update", {"user_id": user_id, **fields}, **named)


def changed(api: Api, user_id: str = "bob", **fields: Any) -> dict[str, Any]:
    """The user after an update that must succeed, as info shows it and the update answered it."""
    answer = update(api, user_id, **fields)
    assert answer.status == 200, answer
    shown = info(api, user_id)["user_info"]
    assert answer.body == {"user_id": user_id, "data": shown}
    return shown


def without(user: dict[str, Any], *names: str) -> dict[str, Any]:
    moving = {"updated_at", "budget_reset_at", *names}
    return {name: value for name, value in user.items() if name not in moving}


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_a_sent_setting_changes_and_null_brings_back_the_default(api: Api, field: str):
    new(api, user_id="bob")
    before = info(api, "bob")["user_info"]

    set_to = changed(api, **{field: FIELDS[field]})
    cleared = changed(api, **{field: None})

    assert (set_to[field], cleared[field]) == (FIELDS[field], DEFAULTS[field])
    assert without(set_to, field) == without(cleared, field) == without(before, field)


def test_everything_at_once_is_changed_and_then_cleared(api: Api):
    new(api, user_id="bob")

    full = changed(api, **FIELDS)
    empty = changed(api, **dict.fromkeys(FIELDS))

    assert {name: full[name] for name in FIELDS} == FIELDS
    assert {name: empty[name] for name in DEFAULTS} == DEFAULTS


def test_a_user_is_found_by_its_address_in_any_spelling_and_the_address_stays(api: Api):
    new(api, user_id="bob", user_email="Bob@Example.com")

    answer = api.post("/user/update", {"user_email": " bob@EXAMPLE.com", "user_alias": "B"})

    assert (answer.status, answer.body["user_id"]) == (200, "bob")
    assert (answer.body["data"]["user_alias"], answer.body["data"]["user_email"]) == ("B", "Bob@Example.com")


def test_an_address_beside_an_id_is_the_new_one(api: Api):
    new(api, user_id="bob", user_email="old@example.com")

    changed(api, user_email="new@example.com")

    assert api.post("/user/update", {"user_email": "new@example.com"}).body["user_id"] == "bob"
    assert api.post("/user/update", {"user_email": "old@example.com"}).status == 404


def test_an_object_permission_is_patched_and_null_removes_its_row(api: Api, services: Services):
    new(api, user_id="bob", object_permission={"vector_stores": ["v"], "agents": ["a"]})

    patched = changed(api, object_permission={"agents": None})["object_permission"]
    removed = changed(api, object_permission=None)

    assert (patched["vector_stores"], patched["agents"]) == (["v"], [])
    assert (removed["object_permission"], rows(services.database, object_permissions)) == (None, [])


def test_what_is_no_field_of_an_update_is_named(api: Api):
    new(api, user_id="bob")

    answer = update(api, teams=["t"], key_alias="a")

    assert answer.headers["x-keyledger-ignored-fields"] == "key_alias,teams"
    assert answer.body["data"]["teams"] == []


# --- spend -------------------------------------------------------------------------------------------------


def test_a_spend_that_is_set_is_that_of_the_present_window_and_counts_at_once(api: Api, services: Services):
    key = new(api, user_id="bob", max_budget=5, budget_duration="1d")["key"]
    spent(api, key, 5)
    assert refused(api, key)["code"] == "budget_exceeded"

    shown = changed(api, spend=3.5)

    assert (shown["spend"], shown["total_spend"]) == (3.5, 3.5)
    assert limit(allowed(api, key), "user")["used"] == 3.5
    assert refused(api, key)["code"] == "budget_exceeded"
    assert services.ledger_check.check(1_000).drifts == []


def test_a_spend_is_set_in_the_window_that_is_armed_with_it(api: Api):
    new(api, user_id="bob")

    shown = changed(api, spend=2, budget_duration="1d")

    assert (shown["spend"], shown["budget_reset_at"][:10]) == (2, "2026-11-19")
    assert changed(api, spend=None)["spend"] == 0


# --- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_another_duration_arms_the_window_of_the_user(shared_api: Api, spelling: str, reset_at: str):
    user_id = new(shared_api)["user_id"]

    assert changed(shared_api, user_id, budget_duration=spelling)["budget_reset_at"] == reset_at


def test_an_armed_window_starts_at_zero_and_another_one_takes_its_spend_along(api: Api, services: Services):
    new(api, user_id="bob")
    spend(services, "user", "bob", 2)

    armed = changed(api, budget_duration="1d")
    spend(services, "user", "bob", 3)
    longer = changed(api, budget_duration="30d")

    assert (armed["spend"], longer["spend"], longer["budget_reset_at"][:10]) == (0, 3, "2026-12-01")


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("spend", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        ("model_max_budget", {"gpt-4o": 1}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    user_id = new(shared_api)["user_id"]

    with unchanged(shared_services.database):
        answer = update(shared_api, user_id, user_alias="x", **{field: value})

    assert answer.summary == (400, "invalid_request_error", field)


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({}, []),
        ({"user_id": "", "user_email": " "}, []),
        ({"user_id": 7}, ["user_id"]),
        ({"user_id": "bob", "user_role": "king"}, ["user_role"]),
        ({"user_id": "bob", "models": "m"}, ["models"]),
        ({"user_id": "bob", "rpm_limit": -1}, ["rpm_limit"]),
        ({"user_id": "bob", "user_email": "a\nb"}, ["user_email"]),
        ({"user_id": "bob", "password": "p"}, ["password"]),
    ],
)
def test_a_wrong_request_does_not_fit_the_schema(shared_api: Api, sent: dict[str, Any], location: list[str]):
    answer = shared_api.post("/user/update", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@pytest.mark.parametrize("field", ["user_email", "sso_user_id"])
def test_what_is_somebody_elses_is_a_conflict_and_changes_nothing(api: Api, services: Services, field: str):
    new(api, user_id="bob")
    new(api, user_id="eve", **{field: "Eve@example.com"})
    sent = {field: "eve@EXAMPLE.com" if field == "user_email" else "Eve@example.com"}

    with unchanged(services.database):
        answer = update(api, user_alias="x", object_permission={"models": ["m"]}, **sent)

    assert answer.summary == (409, "bad_request_error", field)


@pytest.mark.parametrize("named", [{"user_id": "nobody"}, {"user_email": "nobody@example.com"}])
def test_a_user_that_is_not_there_is_not_found_and_not_made(api: Api, services: Services, named: dict[str, str]):
    with unchanged(services.database):
        answer = api.post("/user/update", {**named, "max_budget": 1})

    assert answer.summary == (404, "not_found_error", *named)


# --- who may, and what -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", 200),
        ("proxy admin", 200),
        ("viewer", 403),
        ("team key", 401),  # its key has no owner
        ("team admin", 404),
        ("member", 404),
        ("org admin", 404),
        ("stranger", 404),
    ],
)
@pytest.mark.parametrize("named", ["user_id", "user_email"])
def test_others_are_changed_by_administrators_and_hidden_from_everybody_else(
    api: Api, services: Services, caller: str, expected: int, named: str
):
    people = gather(api, services.database)
    update(api, "second", user_email="second@example.com")

    def ask(value: str) -> Answer:
        return api.post("/user/update", {named: value, "user_alias": "x"}, key=people[caller])

    ask("warm-up")
    known = "second" if named == "user_id" else "second@example.com"
    with statements(services.database) as of_unknown:
        unknown = ask("hidden")
    with statements(services.database) as of_known:
        answer = ask(known)

    assert answer.status == expected
    assert unknown.status == (404 if expected == 200 else expected)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", named)
        assert answer.error["message"].replace(known, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


@on_one_store
@pytest.mark.parametrize("field", ["user_alias", "metadata"])
def test_a_user_changes_what_is_its_own(api: Api, services: Services, field: str):
    key = add_person(api, services.database, "bob")

    answer = update(api, caller=key, **{field: PLAIN[field]})

    assert (answer.status, answer.body["data"][field]) == (200, PLAIN[field])


@on_one_store
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field, value in FIELDS.items() if field not in {"user_alias", "metadata"}),
        ("user_role", "proxy_admin"),
        ("user_role", None),
        ("max_budget", None),
        ("max_budget", 0),
        ("models", None),
        ("object_permission", {"mcp_servers": ["s"]}),
        ("object_permission", None),
        ("user_email", None),
        ("spend", 0),
        ("spend", None),
        ("metadata", {"scim_active": True}),
        ("metadata", {"scim_active": False}),
    ],
)
@pytest.mark.parametrize("role", ["internal_user", "org_admin"])
def test_a_user_changes_neither_its_role_nor_its_limits_nor_its_address(
    api: Api, services: Services, role: str, field: str, value: Any
):
    key = add_person(api, services.database, "bob", role)
    update(api, user_email="old@example.com", max_budget=1)

    with unchanged(services.database):
        answer = update(api, caller=key, user_alias="x", **{field: value})

    assert answer.summary == (403, "auth_error", field)


@on_one_store
def test_who_is_switched_off_cannot_switch_itself_on(api: Api, services: Services):
    key = add_person(api, services.database, "bob")
    update(api, metadata={"scim_active": False, "floor": 1})

    assert api.get("/user/info", key).status == 401
    update(api, metadata={"scim_active": True, "floor": 1})
    assert update(api, caller=key, metadata={"scim_active": True, "floor": 2}).status == 200
    assert update(api, caller=key, metadata={"floor": 2}).summary == (403, "auth_error", "metadata")


def test_sending_back_ones_texts_is_no_change(api: Api, services: Services):
    key = add_person(api, services.database, "bob")
    update(api, user_email="b@example.com")

    answer = update(api, caller=key, user_email="b@example.com", user_role="internal_user", user_alias="x")

    assert (answer.status, answer.body["data"]["user_alias"]) == (200, "x")


@on_one_store
@pytest.mark.parametrize(("role", "expected"), [("internal_user_viewer", 401), ("proxy_admin_viewer", 403)])
def test_who_only_looks_changes_nothing_of_itself(api: Api, services: Services, role: str, expected: int):
    key = add_person(api, services.database, "bob", role)

    assert update(api, caller=key, user_alias="x").status == expected


@on_one_store
def test_a_key_that_may_manage_is_not_its_owners_way_up(api: Api, services: Services):
    add_person(api, services.database, "bob")
    key = api.generate(user_id="bob", key_type="management")["key"]

    assert update(api, caller=key, user_role="proxy_admin").summary == (403, "auth_error", "user_role")
    assert update(api, "eve", caller=key, user_alias="x").status == 404


@on_one_store
def test_the_master_key_is_nobody_to_change(api: Api):
    assert update(api, MASTER_USER_ID, user_alias="x").status == 404


# --- effects and records -----------------------------------------------------------------------------------


def test_a_role_that_is_taken_away_is_gone_with_the_next_request(api: Api, services: Services):
    key = add_person(api, services.database, "bob", "proxy_admin")
    assert api.post("/budget/info", {"budgets": ["x"]}, key=key).status == 200

    changed(api, user_role="internal_user")

    assert api.post("/budget/info", {"budgets": ["x"]}, key=key).status == 401


def test_the_audit_holds_the_fields_that_changed_before_and_after(api: Api, services: Services):
    new(api, user_id="bob", user_alias="old", rpm_limit=1)

    api.post(
        "/user/update",
        {"user_id": "bob", "user_alias": "new", "rpm_limit": 1},
        headers={"litellm-changed-by": "eve"},
    )

    row = rows(services.database, audit)[-1]
    assert (row["action"], row["entity"], row["entity_id"], row["changed_by"]) == ("update", "user", "bob", "eve")
    assert (row["before"], row["after"]) == ({"user_alias": "old"}, {"user_alias": "new"})


@pytest.mark.parametrize("keys", [1, 20])
def test_statements_do_not_grow_with_what_a_user_has(api: Api, services: Services, keys: int):
    new(api, user_id="bob", teams=[])
    for number in range(keys):
        api.post("/team/new", {"team_id": f"{TEAM} {number}"})
        api.post("/team/member_add", {"team_id": f"{TEAM} {number}", "member": {"user_id": "bob", "role": "user"}})

    with statements(services.database) as of_alias:
        update(api, user_alias="new")
    with statements(services.database) as of_window:
        update(api, budget_duration="1d")

    assert (len(of_alias), len(of_window)) == (6, 9)
