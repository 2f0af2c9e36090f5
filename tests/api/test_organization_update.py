"""PATCH /organization/update: a merge patch of an organization and of the tier that caps it."""

from typing import Any

import pytest

from app.container import Services
from app.models import audit, budgets, object_permissions
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, gather
from tests.api.organizations import FOLDED, LIMITS, PLAIN, info, new
from tests.api.settings import NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.teams import spend
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_tier, on_one_store, rows, unchanged

SETTINGS = {name: value for name, value in PLAIN.items() if name != "organization_id"}
EMPTY = {"model_max_budget": {}, "allowed_models": []}
EXPIRY = {"temp_budget_expiry": "2026-12-24T16:00:00.000000Z"}


def update(api: Api, organization_id: str = ORGANIZATION, *, caller: str = MASTER_KEY, **fields: Any) -> Answer:
    return api.call(
        "PATCH", "/organization/update", json={"organization_id": organization_id, **fields}, key=caller
    )


def changed(api: Api, organization_id: str = ORGANIZATION, **fields: Any) -> dict[str, Any]:
    """The organization after an update that must succeed, as info shows it and the update answered it."""
    answer = update(api, organization_id, **fields)
    assert answer.status == 200, answer
    assert answer.body == info(api, organization_id)
    return answer.body


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    moving = {"updated_at", "updated_by", "budget_reset_at", "litellm_budget_table", *names}
    return {name: value for name, value in fields.items() if name not in moving}


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["organization_alias", "models"])
def test_a_sent_setting_changes_and_nothing_else_does(api: Api, field: str):
    new(api, organization_id=ORGANIZATION)
    before = info(api)

    after = changed(api, **{field: SETTINGS[field]})

    assert after[field] == SETTINGS[field]
    assert without(after, field) == without(before, field)


def test_null_empties_models_and_metadata(api: Api):
    new(api, **PLAIN, **FOLDED)

    after = changed(api, models=None, metadata=None)

    assert (after["models"], after["metadata"]) == ([], {})


def test_sent_metadata_is_merged_and_folded_settings_go_on_top(api: Api):
    new(api, organization_id=ORGANIZATION, metadata={"old": 1, "both": 1}, model_rpm_limit={"a": 1})

    merged = changed(api, metadata={"both": 2, "new": 3}, model_tpm_limit={"b": 2})
    removed = changed(api, model_rpm_limit=None)

    expected = {"old": 1, "both": 2, "new": 3, "model_tpm_limit": {"b": 2}}
    assert merged["metadata"] == {**expected, "model_rpm_limit": {"a": 1}}
    assert removed["metadata"] == expected


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("field", LIMITS)
def test_a_limit_of_the_tier_changes_and_null_takes_it_off(api: Api, field: str, nested: bool):
    made = new(api, organization_id=ORGANIZATION)
    expiry = EXPIRY if field == "temp_budget_increase" else {}

    def send(**fields: Any) -> dict[str, Any]:
        return changed(api, **({"litellm_budget_table": fields} if nested else fields))["litellm_budget_table"]

    set_to = send(**{field: LIMITS[field]}, **expiry)
    cleared = send(**{field: None}, **dict.fromkeys(expiry))

    assert (set_to[field], cleared[field]) == (LIMITS[field], EMPTY.get(field))
    moving = (field, "temp_budget_expiry")
    assert without(set_to, *moving) == without(cleared, *moving) == without(made["litellm_budget_table"], *moving)


def test_a_limit_beside_the_nested_ones_counts(api: Api):
    new(api, organization_id=ORGANIZATION)

    tier = changed(api, max_budget=1, litellm_budget_table={"max_budget": 2, "rpm_limit": 3})[
        "litellm_budget_table"
    ]

    assert (tier["max_budget"], tier["rpm_limit"]) == (1, 3)


def test_an_object_permission_is_patched_and_null_removes_its_row(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION, object_permission={"vector_stores": ["v"], "agents": ["a"]})

    patched = changed(api, object_permission={"agents": None})["object_permission"]
    removed = changed(api, object_permission=None)

    assert (patched["vector_stores"], patched["agents"]) == (["v"], [])
    assert (removed["object_permission"], rows(services.database, object_permissions)) == (None, [])


def test_what_is_no_field_is_named(api: Api):
    new(api, organization_id=ORGANIZATION)

    assert update(api, teams=[], max_bugdet=1).headers["x-keyledger-ignored-fields"] == "max_bugdet,teams"


# --- whose tier, and its window ----------------------------------------------------------------------------


def test_a_tier_of_its_own_is_changed_in_place(api: Api, services: Services):
    made = new(api, organization_id=ORGANIZATION, max_budget=1)

    after = changed(api, max_budget=2)

    assert (after["budget_id"], len(rows(services.database, budgets))) == (made["budget_id"], 1)


def test_a_tier_that_others_are_linked_to_stays_as_it_is_and_the_organization_gets_a_copy(
    api: Api, services: Services
):
    add_tier(services.database, "gold", max_budget_nanos=5 * NANOS, rpm_limit=7)
    new(api, organization_id=ORGANIZATION, budget_id="gold")
    key = api.generate(budget_id="gold")["key"]

    after = changed(api, max_budget=9)

    tier = after["litellm_budget_table"]
    assert (tier["max_budget"], tier["rpm_limit"], after["budget_id"] == "gold") == (9, 7, False)
    assert api.info(key)["litellm_budget_table"]["max_budget"] == 5


def test_another_tier_brings_its_caps_and_its_window(api: Api, services: Services):
    add_tier(services.database, "gold", max_budget_nanos=5 * NANOS, budget_duration="30d")
    new(api, organization_id=ORGANIZATION, budget_duration="1d")
    spend(services, "organization", ORGANIZATION, 3)

    after = changed(api, budget_id="gold")

    assert (after["budget_id"], after["litellm_budget_table"]["max_budget"]) == ("gold", 5)
    assert (after["spend"], after["budget_reset_at"]) == (3, "2026-12-01T00:00:00.000000Z")


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_another_duration_arms_the_window(shared_api: Api, spelling: str, reset_at: str):
    made = new(shared_api)

    after = changed(shared_api, made["organization_id"], budget_duration=spelling)

    assert after["budget_reset_at"] == after["litellm_budget_table"]["budget_reset_at"] == reset_at


def test_an_armed_window_starts_at_zero_and_the_same_again_moves_nothing(
    api: Api, services: Services, clock: MovableClock
):
    new(api, organization_id=ORGANIZATION)
    spend(services, "organization", ORGANIZATION, 2)

    armed = changed(api, budget_duration="3d")
    clock.advance(24 * 3600)
    again = changed(api, budget_duration="3d")

    assert [(one["spend"], one["budget_reset_at"][:10]) for one in (armed, again)] == [(0, "2026-11-21")] * 2


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        ("model_max_budget", {"gpt-4o": 1}),
        ("organization_alias", None),
        ("organization_alias", " "),
        ("budget_id", "nowhere"),
        ("budget_id", None),
        ("budget_id", ""),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    made = new(shared_api, max_budget=1)

    with unchanged(shared_services.database):
        answer = update(shared_api, made["organization_id"], models=["x"], **{field: value})

    assert answer.summary == (400, "invalid_request_error", field)


def test_a_named_tier_beside_limits_is_refused(api: Api, services: Services):
    add_tier(services.database, "gold")
    new(api, organization_id=ORGANIZATION)

    with unchanged(services.database):
        answer = update(api, budget_id="gold", max_budget=1)

    assert answer.summary == (400, "invalid_request_error", "budget_id")


@pytest.mark.parametrize("sent", [{}, {"organization_id": None}, {"organization_id": ""}])
def test_a_request_without_an_organization_is_refused(shared_api: Api, sent: dict[str, Any]):
    answer = shared_api.call("PATCH", "/organization/update", json={**sent, "models": []})

    assert answer.summary == (400, "invalid_request_error", "organization_id")


@pytest.mark.parametrize(
    ("field", "value", "location"),
    [
        ("organization_id", 7, ["organization_id"]),
        ("models", "m", ["models"]),
        ("rpm_limit", -1, ["rpm_limit"]),
        ("metadata", [], ["metadata"]),
        ("litellm_budget_table", [], ["litellm_budget_table"]),
        ("litellm_budget_table", {"rpm_limit": -1}, ["litellm_budget_table", "rpm_limit"]),
        ("temp_budget_increase", 1, []),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(
    shared_api: Api, field: str, value: Any, location: list[str]
):
    answer = update(shared_api, **{field: value})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


# --- who may, and how far ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", 200),
        ("proxy admin", 200),
        ("org admin", 200),
        ("other org admin", 404),
        ("viewer", 403),
        ("org member", 401),
        ("team admin", 401),
        ("stranger", 401),
        ("team key", 401),
    ],
)
def test_an_organization_is_changed_by_its_admins_and_proxy_admins(
    api: Api, services: Services, caller: str, expected: int
):
    people = gather(api, services.database)
    update(api, "warm-up", caller=people[caller])

    with statements(services.database) as of_unknown:
        unknown = update(api, "hidden", caller=people[caller], organization_alias="new")
    with statements(services.database) as of_known:
        answer = update(api, caller=people[caller], organization_alias="new")

    assert answer.status == expected
    assert unknown.status == (404 if expected == 200 else expected)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "organization_id")
        assert answer.error["message"].replace(ORGANIZATION, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


@pytest.mark.parametrize(("user", "expected"), [("org member", 403), ("stranger", 404), ("org admin", 200)])
def test_a_key_that_may_manage_gives_its_owner_no_say_over_an_organization(
    api: Api, services: Services, user: str, expected: int
):
    gather(api, services.database)
    key = api.generate(user_id=user, key_type="management")["key"]

    assert update(api, caller=key, organization_alias="new").status == expected


@pytest.fixture
def limited(api: Api, services: Services) -> str:
    """The organization with every limit that there is, and a key of its admin."""
    people = gather(api, services.database)
    changed(
        api, max_budget=10, soft_budget=5, tpm_limit=10, rpm_limit=10, tpd_limit=10, max_parallel_requests=10,
        models=["a", "b"], allowed_models=["a"], budget_duration="1d", model_max_budget={"a": {"max_budget": 1}},
        model_rpm_limit={"a": 5},
    )  # fmt: skip
    return people["org admin"]


@on_one_store
@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"max_budget": 11}, "max_budget"),
        ({"max_budget": None}, "max_budget"),
        ({"litellm_budget_table": {"max_budget": 11}}, "max_budget"),
        ({"soft_budget": 6}, "soft_budget"),
        ({"tpm_limit": None}, "tpm_limit"),
        ({"rpm_limit": 11}, "rpm_limit"),
        ({"tpd_limit": 11}, "tpd_limit"),
        ({"max_parallel_requests": 11}, "max_parallel_requests"),
        ({"models": []}, "models"),
        ({"models": ["a", "c"]}, "models"),
        ({"allowed_models": None}, "allowed_models"),
        ({"budget_duration": "1h"}, "budget_duration"),
        ({"model_max_budget": {}}, "model_max_budget"),
        ({"model_rpm_limit": None}, "model_rpm_limit"),
        ({"metadata": {"model_rpm_limit": {"a": 6}}}, "model_rpm_limit"),
        ({"metadata": None}, "model_rpm_limit"),
        ({"temp_budget_increase": 1, **EXPIRY}, "temp_budget_increase"),
        ({"budget_id": "gold"}, "budget_id"),
        ({"object_permission": {"models": ["m"]}}, "object_permission"),
    ],
)
def test_an_admin_of_the_organization_lifts_none_of_its_limits(
    api: Api, services: Services, limited: str, sent: dict[str, Any], param: str
):
    add_tier(services.database, "gold", max_budget_nanos=1, tpm_limit=1, budget_duration="1d")

    with unchanged(services.database):
        answer = update(api, caller=limited, organization_alias="new", **sent)

    # Another tier lifts whatever it does not limit; that is what is named.
    assert (answer.status, answer.error["type"]) == (403, "auth_error")
    assert param in answer.error["message"]


@on_one_store
@pytest.mark.parametrize(
    "sent",
    [
        {"organization_alias": "new", "metadata": {"own": 1}},
        {"max_budget": 9, "tpm_limit": 0, "models": ["a"], "model_rpm_limit": {"a": 1, "b": 1}},
        {"max_budget": 10, "budget_duration": "1d", "models": ["b", "a"]},
    ],
)
def test_an_admin_of_the_organization_lowers_its_limits(api: Api, limited: str, sent: dict[str, Any]):
    assert update(api, caller=limited, **sent).status == 200


# --- records -----------------------------------------------------------------------------------------------


def test_the_audit_holds_the_fields_that_changed_before_and_after(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION, organization_alias="old", models=["m"])

    api.call(
        "PATCH",
        "/organization/update",
        json={"organization_id": ORGANIZATION, "organization_alias": "new", "models": ["m"]},
        headers={"litellm-changed-by": "eve"},
    )

    row = rows(services.database, audit)[-1]
    assert (row["action"], row["entity"], row["entity_id"]) == ("update", "organization", ORGANIZATION)
    assert (row["changed_by"], row["actor_user_id"]) == ("eve", "default_user_id")
    assert (row["before"], row["after"]) == ({"organization_alias": "old"}, {"organization_alias": "new"})


@pytest.mark.parametrize("teams", [1, 20])
def test_statements_do_not_grow_with_the_teams(api: Api, services: Services, teams: int):
    new(api, organization_id=ORGANIZATION)
    for _ in range(teams):
        assert api.post("/team/new", {"organization_id": ORGANIZATION}).status == 200

    with statements(services.database) as of_alias:
        update(api, organization_alias="new")
    with statements(services.database) as of_tier:
        update(api, budget_duration="1d")

    # Seven that change it and six that show it.
    assert (len(of_alias), len(of_tier)) == (13, 18)
