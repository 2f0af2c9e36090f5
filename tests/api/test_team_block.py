"""POST /team/block and /team/unblock: felt by the very next request of every key of the team."""

import pytest

from app.container import Services
from app.models import audit, events
from tests.api.counting import statements
from tests.api.identities import TEAM, gather
from tests.api.teams import info, new
from tests.clients import Answer, Api
from tests.factories import rows, unchanged


def block(api: Api, team_id: str, *, verb: str = "block", **kwargs: str) -> Answer:
    return api.post(f"/team/{verb}", {"team_id": team_id}, **kwargs)


def test_a_blocked_team_is_refused_by_the_next_request_and_an_unblocked_one_is_not(api: Api):
    new(api, team_id=TEAM)
    key, other = api.generate(team_id=TEAM)["key"], api.generate()["key"]
    assert api.get("/models", key).status == 200

    blocked = block(api, TEAM)
    refused = api.get("/models", key)
    unblocked = block(api, TEAM, verb="unblock")

    assert refused.summary == (401, "auth_error", None)
    assert "/team/unblock" in refused.error["message"]
    assert (blocked.body["blocked"], unblocked.body["blocked"]) == (True, False)
    assert (api.get("/models", key).status, api.get("/models", other).status) == (200, 200)


def test_the_answer_is_the_row_as_it_is_now(api: Api):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "a", "role": "user"}], max_budget=1)

    assert block(api, TEAM).body == info(api, TEAM)["team_info"]


@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_saying_it_again_changes_nothing(api: Api, services: Services, verb: str):
    new(api, team_id=TEAM)
    first = block(api, TEAM, verb=verb)

    with unchanged(services.database):
        again = block(api, TEAM, verb=verb)

    assert again.body == first.body


def test_each_change_is_an_audit_row_and_an_event(api: Api, services: Services):
    new(api, team_id=TEAM, team_alias="crew")

    for verb in ("block", "unblock"):
        api.post(f"/team/{verb}", {"team_id": TEAM}, headers={"litellm-changed-by": "eve"})

    records = [row for row in rows(services.database, audit) if row["action"] != "new"]
    told = rows(services.database, events)
    assert [(row["action"], row["entity"], row["entity_id"], row["changed_by"]) for row in records] == [
        ("block", "team", TEAM, "eve"),
        ("unblock", "team", TEAM, "eve"),
    ]
    assert [(row["before"], row["after"]) for row in records] == [
        ({"blocked": False}, {"blocked": True}),
        ({"blocked": True}, {"blocked": False}),
    ]
    assert sorted(event["kind"] for event in told) == ["team_blocked", "team_unblocked"]
    named = {"team_id": TEAM, "team_alias": "crew", "organization_id": None, "spend": 0, "max_budget": None}
    assert told[0]["payload"] | named == told[0]["payload"]


@pytest.mark.parametrize("sent", [{}, {"team_id": None}, {"team_id": 7}, {"team_id": "\x00"}])
@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_what_names_no_team_does_not_fit_the_schema(shared_api: Api, verb: str, sent: dict[str, object]):
    answer = shared_api.post(f"/team/{verb}", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", "team_id"])


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", 200),
        ("proxy admin", 200),
        ("org admin", 200),
        ("team admin", 401),  # an administrator may list the route on a key, see below
        ("member", 401),
        ("team key", 401),
        ("org member", 401),
        ("stranger", 401),
        ("viewer", 403),
        ("other org admin", 404),
    ],
)
@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_a_team_is_blocked_by_those_above_it(api: Api, services: Services, verb: str, caller: str, expected: int):
    people = gather(api, services.database)
    block(api, "warm-up", verb=verb, key=people[caller])

    with statements(services.database) as of_unknown:
        unknown = block(api, "hidden", verb=verb, key=people[caller])
    with statements(services.database) as of_known:
        answer = block(api, TEAM, verb=verb, key=people[caller])

    assert answer.status == expected
    assert unknown.status == (404 if expected == 200 else expected)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1


@pytest.mark.parametrize(("user", "expected"), [("team admin", 200), ("member", 403), ("stranger", 404)])
def test_a_key_that_an_administrator_opened_the_route_to_blocks_the_teams_of_its_owner(
    api: Api, services: Services, user: str, expected: int
):
    gather(api, services.database)
    key = api.generate(user_id=user, allowed_routes=["/team/block"])["key"]

    assert block(api, TEAM, key=key).status == expected


@pytest.mark.parametrize(("verb", "writes"), [("block", 9), ("unblock", 9)])
def test_a_change_takes_so_many_statements_and_no_change_fewer(
    api: Api, services: Services, verb: str, writes: int
):
    new(api, team_id=TEAM, blocked=verb == "unblock")

    with statements(services.database) as of_change:
        block(api, TEAM, verb=verb)
    with statements(services.database) as of_nothing:
        block(api, TEAM, verb=verb)

    assert (len(of_change), len(of_nothing)) == (writes, 4)
