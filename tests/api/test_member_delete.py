"""POST /team/member_delete: somebody leaves a team, and so do the keys that it has there, at once."""

from typing import Any

import pytest

from app.container import Services
from app.domain.teams import member_id
from app.models import audit, budget_state, budgets, deleted_keys, events, keys, team_members
from tests.api.calls import allowed, refused
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, gather, without_redis
from tests.api.teams import add, info, new, roles, spend
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_team, add_user, copy_key, rows, unchanged


def remove(api: Api, team_id: str = TEAM, *, caller: str | None = None, **who: Any) -> Answer:
    named = {} if caller is None else {"key": caller}
    return api.post("/team/member_delete", {"team_id": team_id, **who}, **named)


@pytest.fixture
def team(api: Api) -> None:
    new(api, team_id=TEAM, team_member_budget=50)
    add(api, TEAM, [{"user_id": "ann", "role": "admin"}])
    add(api, TEAM, [{"user_id": "bob", "role": "user"}], rpm_limit=9)


@pytest.mark.usefixtures("team")
def test_the_answer_is_the_team_without_the_member(api: Api):
    answer = remove(api, user_id="bob")

    assert answer.status == 200
    assert roles(answer.body) == {"ann": "admin"}
    assert answer.body == info(api, TEAM)["team_info"]


@pytest.mark.usefixtures("team")
def test_the_members_keys_in_the_team_stop_at_once_and_no_others(api: Api, services: Services):
    key = api.generate(team_id=TEAM, user_id="bob")["key"]
    others = [api.generate(team_id=TEAM, user_id="ann")["key"], api.generate(user_id="bob")["key"]]
    for each in (key, *others):
        allowed(api, each)

    remove(api, user_id="bob")

    assert refused(api, key)["code"] == "unknown"
    for each in others:
        allowed(api, each)
    (archived,) = rows(services.database, deleted_keys)
    assert (archived["team_id"], archived["user_id"]) == (TEAM, "bob")


@pytest.mark.usefixtures("team")
def test_the_members_own_tier_goes_and_the_teams_stays(api: Api, services: Services):
    remove(api, user_id="bob")
    remove(api, user_id="ann")

    assert [row["max_budget_nanos"] for row in rows(services.database, budgets)] == [50 * 10**9]
    assert rows(services.database, team_members) == []


@pytest.mark.usefixtures("team")
def test_a_tier_of_the_members_that_a_key_is_linked_to_stays(api: Api, services: Services):
    (own,) = [row["budget_id"] for row in rows(services.database, team_members, user_id="bob")]
    api.generate(budget_id=own)

    remove(api, user_id="bob")

    assert len(rows(services.database, budgets, budget_id=own)) == 1


@pytest.mark.usefixtures("team")
def test_who_comes_back_begins_at_zero(api: Api, services: Services):
    spend(services, "member", member_id(TEAM, "bob"), 7)

    remove(api, user_id="bob")
    assert rows(services.database, budget_state, scope="member", scope_id=member_id(TEAM, "bob")) == []
    add(api, TEAM, [{"user_id": "bob", "role": "user"}])

    (bob,) = [each for each in info(api, TEAM)["team_memberships"] if each["user_id"] == "bob"]
    assert (bob["spend"], bob["total_spend"]) == (0, 0)


def test_an_address_names_the_member_in_any_spelling(api: Api, services: Services):
    add_user(services.database, "ann", user_email="Ann@Example.com", email_folded="ann@example.com")
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "ann", "role": "user"}])

    assert remove(api, user_email=" ANN@example.com").body["members"] == []


def test_an_address_that_only_the_membership_knows_names_it_too(api: Api, services: Services):
    add_team(services.database, TEAM, {"ann": "user"})
    with services.database.transaction() as transaction:
        transaction.execute(team_members.update().values(user_email="Ann@example.com"))

    assert remove(api, user_email="ann@example.com").body["members"] == []


@pytest.mark.parametrize(
    ("who", "param"),
    [
        ({"user_id": "carl"}, "user_id"),
        ({"user_email": "carl@example.com"}, "user_email"),
        ({"user_id": "carl", "user_email": "ann@example.com"}, "user_id"),
    ],
)
@pytest.mark.usefixtures("team")
def test_who_is_not_in_the_team_is_told_so_and_nothing_changes(
    api: Api, services: Services, who: dict[str, str], param: str
):
    add_user(services.database, "carl")

    with unchanged(services.database):
        answer = remove(api, **who)

    assert answer.summary == (400, "invalid_request_error", param)
    assert answer.error["message"].startswith("User not found in team")


@pytest.mark.usefixtures("team")
def test_sent_again_it_tells_that_nobody_is_there(api: Api):
    remove(api, user_id="bob")

    assert remove(api, user_id="bob").status == 400


@pytest.mark.parametrize("sent", [{}, {"team_id": TEAM}, {"team_id": TEAM, "user_id": 7}, {"user_id": "ann"}])
def test_what_names_nobody_does_not_fit_the_schema(shared_api: Api, sent: dict[str, Any]):
    assert shared_api.post("/team/member_delete", sent).status == 422


@pytest.mark.usefixtures("team")
def test_team_and_keys_have_their_audit_rows_and_the_keys_their_events(api: Api, services: Services):
    api.generate(team_id=TEAM, user_id="bob")

    api.post(
        "/team/member_delete", {"team_id": TEAM, "user_id": "bob"}, headers={"litellm-changed-by": "eve"}
    )  # fmt: skip

    (row,) = rows(services.database, audit, action="member_delete")
    assert (row["entity"], row["entity_id"], row["changed_by"]) == ("team", TEAM, "eve")
    assert (row["before"]["member"]["user_id"], row["after"]) == ("bob", {"member": None})
    (key,) = rows(services.database, audit, action="delete")
    assert (key["entity"], key["changed_by"]) == ("key", "eve")
    assert "key_deleted" in {event["kind"] for event in rows(services.database, events)}


@pytest.mark.usefixtures("team")
def test_with_redis_away_nobody_is_removed(api: Api, services: Services, clock: MovableClock):
    with without_redis(services.settings, clock) as lonely, unchanged(services.database):
        assert remove(lonely, user_id="bob").status == 503


@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_members_are_removed_by_those_who_manage_the_team(
    api: Api, services: Services, caller: str, expected: int
):
    people = gather(api, services.database)
    remove(api, "warm-up", caller=people[caller], user_id="second")

    with statements(services.database) as of_unknown:
        unknown = remove(api, "hidden", caller=people[caller], user_id="second")
    with statements(services.database) as of_known:
        answer = remove(api, caller=people[caller], user_id="second")

    assert answer.status == expected
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.usefixtures("team")
def test_statements_do_not_grow_with_the_members_and_the_keys(api: Api, services: Services, count: int):
    add(api, TEAM, [{"user_id": f"u{number}", "role": "user"} for number in range(count)])
    api.generate(team_id=TEAM, user_id="bob")
    (key,) = rows(services.database, keys)
    copy_key(services.database, key["key_id"], count)

    with statements(services.database) as sent:
        assert remove(api, user_id="bob").status == 200

    assert len(sent) == 24
