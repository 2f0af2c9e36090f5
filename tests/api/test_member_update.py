"""POST /team/member_update: a member's role, and limits of its own in the team."""

from typing import Any

import pytest

from app.container import Services
from app.domain.teams import member_id
from app.models import audit, budgets, team_members
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, gather
from tests.api.settings import NO_MONEY, NO_WINDOWS
from tests.api.teams import add, memberships, new, roles, spend
from tests.clients import Answer, Api
from tests.factories import add_team, add_tier, add_user, rows, unchanged

# A value of each limit, and its name in the member's tier.
LIMITS: dict[str, tuple[Any, str]] = {
    "max_budget_in_team": (12.5, "max_budget"),
    "budget_duration": ("30d", "budget_duration"),
    "allowed_models": (["gpt-4o"], "allowed_models"),
    "tpm_limit": (2**63 - 1, "tpm_limit"),
    "rpm_limit": (0, "rpm_limit"),
    "model_max_budget": ({"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}}, "model_max_budget"),
}
EMPTY = {"allowed_models": [], "model_max_budget": {}}
INCREASE = {"temp_budget_increase": 3, "temp_budget_expiry": "2026-12-24T18:00:00Z"}


def update(api: Api, user_id: str = "ann", *, caller: str | None = None, **fields: Any) -> Answer:
    named = {} if caller is None else {"key": caller}
    return api.post("/team/member_update", {"team_id": TEAM, "user_id": user_id, **fields}, **named)


def changed(api: Api, user_id: str = "ann", **fields: Any) -> dict[str, Any]:
    """The membership after an update that must succeed; what was sent must have been answered."""
    answer = update(api, user_id, **fields)
    assert answer.status == 200, answer
    return memberships(api, TEAM)[user_id]


def joined(api: Api, team: dict[str, Any] | None = None, **own: Any) -> dict[str, Any]:
    """The team with a member `ann`, and with `own` limits of hers."""
    made = new(api, team_id=TEAM, **(team or {}))
    add(api, TEAM, [{"user_id": "ann", "role": "user"}], **own)
    return made


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", LIMITS)
def test_a_limit_is_the_members_own_and_null_takes_it_off(api: Api, field: str):
    joined(api, max_budget_in_team=7) if field != "max_budget_in_team" else joined(api, budget_duration="1d")
    value, name = LIMITS[field]
    before = memberships(api, TEAM)["ann"]["litellm_budget_table"]

    answer = update(api, **{field: value})
    set_to = memberships(api, TEAM)["ann"]
    cleared = changed(api, **{field: None})["litellm_budget_table"]

    assert (answer.status, answer.body[field]) == (200, value)
    assert set_to["budget_source"] == "member"
    moving = {name, "budget_reset_at", "updated_at"}
    others = {key: value for key, value in before.items() if key not in moving}
    assert set_to["litellm_budget_table"][name] == value
    assert cleared[name] == EMPTY.get(name)
    for tier in (set_to["litellm_budget_table"], cleared):
        assert {key: value for key, value in tier.items() if key not in moving} == others


def test_everything_is_answered_under_the_names_of_the_request(api: Api):
    joined(api)
    sent = {field: value for field, (value, _) in LIMITS.items()}

    answer = update(api, role="admin", **sent, **INCREASE)

    assert answer.body == {
        "team_id": TEAM,
        "user_id": "ann",
        "user_email": None,
        "role": "admin",
        **sent,
        "budget_start_time": None,
        "budget_timezone": None,
        "budget_rollover": None,
        **INCREASE,
        "temp_budget_expiry": "2026-12-24T18:00:00.000000Z",
    }


def test_a_temporary_increase_is_given_with_its_end_and_taken_off_by_null(api: Api):
    joined(api, max_budget_in_team=1)

    given = changed(api, **INCREASE)["litellm_budget_table"]
    taken = changed(api, temp_budget_increase=None, temp_budget_expiry=None)["litellm_budget_table"]

    assert (given["temp_budget_increase"], given["max_budget"]) == (3, 1)
    assert (taken["temp_budget_increase"], taken["temp_budget_expiry"], taken["max_budget"]) == (None, None, 1)


def test_a_role_changes_alone_and_null_leaves_it(api: Api, services: Services):
    joined(api, {"team_member_budget": 5})

    promoted = changed(api, role="admin")
    kept = changed(api, role=None)

    assert (promoted["role"], kept["role"]) == ("admin", "admin")
    assert (promoted["budget_source"], len(rows(services.database, budgets))) == ("team", 1)


def test_an_address_finds_the_member_in_any_spelling(api: Api, services: Services):
    add_user(services.database, "ann", user_email="Ann@Example.com", email_folded="ann@example.com")
    joined(api)

    answer = api.post("/team/member_update", {"team_id": TEAM, "user_email": " ANN@example.com ", "role": "admin"})

    assert (answer.status, answer.body["user_id"], answer.body["role"]) == (200, "ann", "admin")


def test_an_address_that_only_the_membership_knows_finds_it_too(api: Api, services: Services):
    add_team(services.database, TEAM, {"ann": "user"})
    with services.database.transaction() as transaction:
        transaction.execute(team_members.update().values(user_email="Ann@example.com"))

    answer = api.post("/team/member_update", {"team_id": TEAM, "user_email": "ann@example.com", "role": "admin"})

    assert (answer.status, answer.body["user_id"]) == (200, "ann")


# --- whose tier --------------------------------------------------------------------------------------------


def test_a_member_of_the_shared_tier_gets_a_copy_and_the_others_keep_the_shared_one(api: Api, services: Services):
    team = joined(api, {"team_member_budget": 5, "team_member_rpm_limit": 3})
    add(api, TEAM, [{"user_id": "bob", "role": "user"}])

    ann = changed(api, max_budget_in_team=9)

    bob, shared = memberships(api, TEAM)["bob"], team["team_member_budget_table"]
    own = ann["litellm_budget_table"]
    assert (own["max_budget"], own["rpm_limit"], ann["budget_source"]) == (9, 3, "member")
    assert (bob["litellm_budget_table"], bob["budget_source"]) == (shared, "team")


def test_a_member_without_any_limit_left_shares_the_teams_again_and_its_tier_is_gone(api: Api, services: Services):
    team = joined(api, {"team_member_budget": 5}, max_budget_in_team=1)

    ann = changed(api, max_budget_in_team=None)

    assert (ann["litellm_budget_table"], ann["budget_source"]) == (team["team_member_budget_table"], "team")
    assert len(rows(services.database, budgets)) == 1


def test_a_member_without_any_limit_left_in_a_team_without_a_tier_has_none(api: Api, services: Services):
    joined(api, max_budget_in_team=1)

    ann = changed(api, max_budget_in_team=None)

    assert (ann["litellm_budget_table"], ann["budget_source"]) == (None, None)
    assert rows(services.database, budgets) == []


def test_a_tier_that_something_else_is_linked_to_is_copied_and_not_changed(api: Api, services: Services):
    add_tier(services.database, "gold", max_budget_nanos=1)
    joined(api)
    with services.database.transaction() as transaction:
        transaction.execute(team_members.update().values(budget_id="gold"))
    api.generate(budget_id="gold")

    ann = changed(api, rpm_limit=5)

    assert ann["budget_id"] != "gold"
    assert (ann["litellm_budget_table"]["max_budget"], ann["litellm_budget_table"]["rpm_limit"]) == (1e-9, 5)
    (gold,) = rows(services.database, budgets, budget_id="gold")
    assert gold["rpm_limit"] is None


def test_another_duration_arms_the_members_window(api: Api, services: Services):
    joined(api)
    spend(services, "member", member_id(TEAM, "ann"), 2)

    armed = changed(api, budget_duration="1d")
    spend(services, "member", member_id(TEAM, "ann"), 3)
    longer = changed(api, budget_duration="30d")
    again = changed(api, max_budget_in_team=8)

    assert [(member["spend"], member["budget_reset_at"][:10]) for member in (armed, longer, again)] == [
        (0, "2026-11-19"),
        (3, "2026-12-01"),
        (3, "2026-12-01"),
    ]


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget_in_team", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        ("model_max_budget", {"gpt-4o": 1}),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_name_and_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    if not rows(shared_services.database, team_members, user_id="ann"):
        joined(shared_api)

    with unchanged(shared_services.database):
        answer = update(shared_api, role="admin", **{field: value})

    assert answer.summary == (400, "invalid_request_error", field)
    assert field in answer.error["message"]


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"user_id": "ann"}, ["team_id"]),
        ({"team_id": None, "user_id": "ann"}, ["team_id"]),
        ({"team_id": TEAM}, []),
        ({"team_id": TEAM, "user_id": "", "user_email": " "}, []),
        ({"team_id": TEAM, "user_id": "ann", "role": "king"}, ["role"]),
        ({"team_id": TEAM, "user_id": "ann", "tpm_limit": -1}, ["tpm_limit"]),
        ({"team_id": TEAM, "user_id": "ann", "allowed_models": "m"}, ["allowed_models"]),
        ({"team_id": TEAM, "user_id": "ann", "temp_budget_increase": 1}, []),
        ({"team_id": TEAM, "user_email": "a\nb"}, ["user_email"]),
    ],
)
def test_a_wrong_request_does_not_fit_the_schema(shared_api: Api, sent: dict[str, Any], location: list[str]):
    answer = shared_api.post("/team/member_update", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@pytest.mark.parametrize("named", [{"user_id": "nobody"}, {"user_email": "nobody@example.com"}])
def test_whoever_is_no_member_is_not_found(api: Api, services: Services, named: dict[str, str]):
    joined(api)
    add_user(services.database, "nobody", user_email="nobody@example.com", email_folded="nobody@example.com")

    with unchanged(services.database):
        answer = api.post("/team/member_update", {"team_id": TEAM, **named, "role": "admin"})

    assert answer.summary == (404, "not_found_error", *named)


@pytest.mark.parametrize(
    ("caller", "expected"),
    MANAGING_THE_TEAM.items(),
)
def test_members_are_changed_by_those_who_manage_the_team_and_by_nobody_for_itself(
    api: Api, services: Services, caller: str, expected: int
):
    people = gather(api, services.database)

    def ask(team_id: str) -> Answer:
        sent = {"team_id": team_id, "user_id": "member", "role": "admin", "max_budget_in_team": 1000}
        return api.post("/team/member_update", sent, key=people[caller])

    ask("warm-up")
    with statements(services.database) as of_unknown:
        unknown = ask("hidden")
    with statements(services.database) as of_known:
        answer = ask(TEAM)

    assert answer.status == expected
    assert unknown.status == (403 if caller == "viewer" else 404)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


# --- effects and records -----------------------------------------------------------------------------------


def test_a_member_that_is_made_admin_manages_from_that_moment_and_no_longer_than_that(
    api: Api, services: Services
):
    people = gather(api, services.database)

    def may_update() -> int:
        return api.post("/team/update", {"team_id": TEAM, "team_alias": "x"}, key=people["member"]).status

    found = [may_update()]
    for role in ("admin", "user"):
        update(api, "member", role=role)
        found.append(may_update())

    assert found == [403, 200, 403]


def test_the_audit_names_the_member_before_and_after(api: Api, services: Services):
    joined(api)

    api.post(
        "/team/member_update",
        {"team_id": TEAM, "user_id": "ann", "role": "admin", "max_budget_in_team": 4},
        headers={"litellm-changed-by": "eve"},
    )

    (row,) = rows(services.database, audit, action="member_update")
    before, after = row["before"]["member"], row["after"]["member"]
    assert (row["entity"], row["entity_id"], row["changed_by"]) == ("team", TEAM, "eve")
    assert (before["user_id"], before["role"], before["litellm_budget_table"]) == ("ann", "user", None)
    assert (after["role"], after["litellm_budget_table"]["max_budget"]) == ("admin", 4)


def test_unknown_fields_are_named(api: Api):
    joined(api)

    assert update(api, max_bugdet=1).headers["x-keyledger-ignored-fields"] == "max_bugdet"


@pytest.mark.parametrize("members", [1, 30])
def test_statements_do_not_grow_with_the_members(api: Api, services: Services, members: int):
    joined(api, {"team_member_budget": 5})
    add(api, TEAM, [{"user_id": f"u{number}", "role": "user"} for number in range(members)])

    counts = []
    for fields in ({"role": "admin"}, {"max_budget_in_team": 1, "budget_duration": "1d"}, {"rpm_limit": 1}):
        with statements(services.database) as sent:
            assert update(api, **fields).status == 200
        counts.append(len(sent))

    assert roles(api.get("/team/info", team_id=TEAM).body["team_info"])["ann"] == "admin"
    assert counts == [7, 12, 9]
