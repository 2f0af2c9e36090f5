"""POST /team/update: who may change a team, how far, and under which organization it may be put."""

from typing import Any

import pytest

from app.container import Services
from app.models import organization_members
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, ORGANIZATION, TEAM, gather
from tests.api.teams import change, changed, info, new
from tests.clients import Api
from tests.clocks import START
from tests.factories import add_organization, add_person, on_one_store, unchanged

# --- who may, and how far ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    MANAGING_THE_TEAM.items(),
)
def test_a_team_is_changed_by_those_who_manage_it_and_hidden_from_those_who_do_not_see_it(
    api: Api, services: Services, caller: str, expected: int
):
    people = gather(api, services.database)
    for team_id in ("warm-up", TEAM):  # so that the caller is known, and its key in every cache
        change(api, team_id, caller=people[caller])

    with statements(services.database) as of_unknown:
        unknown = change(api, "hidden", caller=people[caller], team_alias="new")
    with statements(services.database) as of_known:
        answer = change(api, TEAM, caller=people[caller], team_alias="new")

    assert answer.status == expected
    assert unknown.status == (403 if caller == "viewer" else 404)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


@pytest.fixture
def limited(api: Api, services: Services) -> dict[str, str]:
    """The team with every limit that there is, and the keys of its admins."""
    people = gather(api, services.database)
    stands = {"max_budget": 10, "soft_budget": 5, "tpm_limit": 10, "rpm_limit": 10, "tpd_limit": 10}
    changed(
        api, TEAM, **stands, max_parallel_requests=10, models=["a", "b"], budget_duration="1d",
        model_max_budget={"a": {"max_budget": 1}}, model_rpm_limit={"a": 5}, guardrails=["g"],
        budget_limits=[{"budget_duration": "1h", "max_budget": 1}],
    )  # fmt: skip
    return people.keys


LIFTED: list[tuple[dict[str, Any], str]] = [
    ({"max_budget": 10.000000001}, "max_budget"),
    ({"max_budget": None}, "max_budget"),
    ({"soft_budget": 6}, "soft_budget"),
    ({"tpm_limit": 11}, "tpm_limit"),
    ({"rpm_limit": None}, "rpm_limit"),
    ({"tpd_limit": 11}, "tpd_limit"),
    ({"max_parallel_requests": None}, "max_parallel_requests"),
    ({"models": ["a", "c"]}, "models"),
    ({"models": []}, "models"),
    ({"models": None}, "models"),
    ({"models": ["*"]}, "models"),
    ({"budget_duration": "1h"}, "budget_duration"),
    ({"budget_duration": None}, "budget_duration"),
    ({"model_max_budget": {"a": {"max_budget": 2}}}, "model_max_budget"),
    ({"model_max_budget": None}, "model_max_budget"),
    ({"budget_limits": [{"budget_duration": "1h", "max_budget": 2}]}, "budget_limits"),
    ({"budget_limits": None}, "budget_limits"),
    ({"model_rpm_limit": {"a": 6}}, "model_rpm_limit"),
    ({"model_rpm_limit": None}, "model_rpm_limit"),
    ({"metadata": {"guardrails": ["g"]}}, "model_rpm_limit"),
    ({"metadata": {"guardrails": ["g"], "model_rpm_limit": {"a": 6}}}, "model_rpm_limit"),
    ({"metadata": {"model_rpm_limit": {"a": 5}}}, "guardrails"),
    ({"metadata": {"guardrails": ["g"], "model_rpm_limit": {"a": 5}, "prompts": ["p"]}}, "prompts"),
    ({"guardrails": []}, "guardrails"),
    ({"disable_global_guardrails": True}, "disable_global_guardrails"),
    ({"allowed_passthrough_routes": ["/x"]}, "allowed_passthrough_routes"),
    ({"blocked": True}, "blocked"),
    ({"model_aliases": {"a": "expensive"}}, "model_aliases"),
    ({"access_group_ids": ["g"]}, "access_group_ids"),
    ({"policies": ["p"]}, "policies"),
    ({"router_settings": {"x": 1}}, "router_settings"),
    ({"object_permission": {"mcp_servers": ["s"]}}, "object_permission"),
    ({"object_permission": None}, "object_permission"),
    ({"organization_id": None}, "organization_id"),
    ({"organization_id": ""}, "organization_id"),
]


@on_one_store
@pytest.mark.parametrize(("sent", "param"), LIFTED)
def test_a_team_admin_lifts_no_limit_and_grants_nothing(
    api: Api, services: Services, limited: dict[str, str], sent: dict[str, Any], param: str
):
    with unchanged(services.database):
        answer = change(api, TEAM, caller=limited["team admin"], team_alias="new", **sent)

    assert answer.summary == (403, "auth_error", param)


@on_one_store
@pytest.mark.parametrize(
    "sent",
    [
        {"max_budget": 6, "tpm_limit": 1, "rpm_limit": 0, "tpd_limit": 1, "max_parallel_requests": 1},
        {"max_budget": 10, "budget_duration": "1d", "models": ["b", "a"], "guardrails": ["g"]},
        {"models": ["b"], "model_rpm_limit": {"a": 4, "b": 1}},
        {"model_max_budget": {"a": {"max_budget": 1}, "b": {"max_budget": 1}}},
        {"budget_limits": [{"budget_duration": "1h", "max_budget": 0.5}]},
        {"blocked": False, "object_permission_id": "x"},
        {"team_alias": "new", "tags": ["t"], "metadata": {"guardrails": ["g"], "model_rpm_limit": {"a": 5}, "own": 1}},
        {"team_member_budget": 9, "team_member_permissions": ["/key/generate"], "team_member_key_duration": "1d"},
    ],
)  # fmt: skip
def test_a_team_admin_lowers_limits_and_keeps_house(api: Api, limited: dict[str, str], sent: dict[str, Any]):
    assert change(api, TEAM, caller=limited["team admin"], **sent).status == 200


@on_one_store
def test_an_admin_of_the_organization_lifts_what_the_organization_allows(
    api: Api, services: Services, limited: dict[str, str]
):
    api.call("PATCH", "/organization/update", json={"organization_id": ORGANIZATION, "max_budget": 20})
    caller = limited["org admin"]

    lifted = change(api, TEAM, caller=caller, max_budget=20, rpm_limit=None, guardrails=None, blocked=True)
    above = change(api, TEAM, caller=caller, max_budget=20.5)
    removed = change(api, TEAM, caller=caller, max_budget=None)

    assert (lifted.status, lifted.body["data"]["blocked"]) == (200, True)
    assert above.summary == (400, "invalid_request_error", "max_budget")
    assert removed.summary == (403, "auth_error", "max_budget")


@on_one_store
def test_an_admin_of_the_organization_lifts_nothing_beyond_the_limits_of_its_own_key(
    api: Api, limited: dict[str, str]
):
    small = api.generate(user_id="org admin", max_budget=12, rpm_limit=12, models=["a", "b", "c"])["key"]

    assert change(api, TEAM, caller=small, max_budget=12, rpm_limit=12, models=["c"]).status == 200
    assert change(api, TEAM, caller=small, max_budget=13).summary == (400, "invalid_request_error", "max_budget")
    assert change(api, TEAM, caller=small, rpm_limit=None).summary == (400, "invalid_request_error", "rpm_limit")
    assert change(api, TEAM, caller=small, models=["d"]).summary == (403, "auth_error", "models")
    assert change(api, TEAM, caller=small, models=None).summary == (403, "auth_error", "models")


# --- under which organization ------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize(
    ("caller", "destination", "expected"),
    [
        ("master", "other", (200, None)),
        ("master", None, (200, None)),
        ("master", "", (200, None)),
        ("both", "other", (200, None)),
        ("org admin", "other", (400, "organization_id")),
        ("org admin", "nowhere", (400, "organization_id")),
        ("org admin and member", "other", (403, "organization_id")),
        ("org admin", None, (403, "organization_id")),
        ("team admin", "other", (400, "organization_id")),
    ],
)
def test_a_team_is_moved_by_those_who_administer_where_it_goes(
    api: Api, services: Services, caller: str, destination: str | None, expected: tuple[int, str | None]
):
    people = gather(api, services.database)
    add_organization(services.database, "third", {"both": "org_admin"})
    keys = {**people.keys}
    if caller in {"both", "org admin and member"}:
        keys[caller] = add_person(api, services.database, caller)
        _belongs(services, caller, ORGANIZATION, "org_admin")
        _belongs(services, caller, "other", "org_admin" if caller == "both" else "internal_user")

    answer = change(api, TEAM, caller=keys[caller], organization_id=destination)

    assert (answer.status, answer.error["param"] if answer.status != 200 else None) == expected
    shown = info(api, TEAM)["team_info"]["organization_id"]
    assert shown == (destination or None if answer.status == 200 else ORGANIZATION)


def test_all_that_a_team_has_must_fit_where_it_is_moved_but_only_what_changes_where_it_stays(
    api: Api, services: Services
):
    new(api, team_id=TEAM, max_budget=5, models=["a"])
    for name, limits in (
        ("small", {"max_budget": 3}),
        ("narrow", {"models": ["b"]}),
        ("large", {"max_budget": 9}),
    ):
        api.post("/organization/new", {"organization_id": name, "organization_alias": name, **limits})

    small, narrow = (change(api, TEAM, organization_id=name) for name in ("small", "narrow"))
    fitting = change(api, TEAM, organization_id="small", max_budget=3)
    api.call("PATCH", "/organization/update", json={"organization_id": "small", "max_budget": 1})

    assert small.summary == (400, "invalid_request_error", "max_budget")
    assert narrow.summary == (400, "invalid_request_error", "models")
    assert fitting.status == 200
    assert change(api, TEAM, team_alias="still here").status == 200
    assert change(api, TEAM, max_budget=2).summary == (400, "invalid_request_error", "max_budget")
    assert change(api, TEAM, organization_id="large").status == 200


def _belongs(services: Services, user_id: str, organization_id: str, role: str) -> None:
    with services.database.transaction() as transaction:
        transaction.execute(
            organization_members.insert().values(
                organization_id=organization_id,
                user_id=user_id,
                user_role=role,
                created_at=START,
                updated_at=START,
            )
        )
