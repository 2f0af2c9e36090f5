"""GET /team/available, and joining such a team by oneself through POST /team/member_add."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.config import Settings
from app.container import Services, build
from app.models import team_members
from tests.api.counting import statements
from tests.api.teams import roles
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_team, rows, unchanged

OPEN = ("open", "club", "no such team")


@pytest.fixture
def services(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    services = build(replace(settings, available_teams=OPEN), clock)
    yield services
    services.close()


@pytest.fixture
def ann(api: Api, services: Services) -> str:
    """The key of somebody who is in no team of three, of which two are open."""
    add_team(services.database, "open", {"bob": "admin"}, team_alias="Open", models=["gpt-4o"])
    add_team(services.database, "club", {"bob": "user"}, team_alias="Club")
    add_team(services.database, "closed", {"bob": "user"})
    return add_person(api, services.database, "ann")


def join(api: Api, key: str, team_id: str = "open", member: Any = None, **fields: Any) -> Answer:
    member = {"user_id": "ann", "role": "user"} if member is None else member
    return api.post("/team/member_add", {"team_id": team_id, "member": member, **fields}, key=key)


def test_the_open_teams_are_listed_without_their_members(api: Api, ann: str):
    answer = api.get("/team/available", ann)

    assert [team["team_id"] for team in answer.body] == ["club", "open"]
    team = answer.body[1]
    assert (team["team_alias"], team["models"], team["max_budget"]) == ("Open", ["gpt-4o"], None)
    assert (team["members_with_roles"], team["members"], team["admins"]) == ([], [], [])
    assert not {"metadata", "spend", "keys"} & team.keys()


def test_who_joins_is_a_member_and_does_not_find_the_team_among_the_open_ones(
    api: Api, services: Services, ann: str
):
    answer = join(api, ann)

    assert (answer.status, roles(answer.body)) == (200, {"bob": "admin", "ann": "user"})
    assert [team["team_id"] for team in api.get("/team/available", ann).body] == ["club"]
    assert api.get("/team/info", ann, team_id="open").status == 200


def test_a_list_of_oneself_joins_too_and_may_be_sent_again(api: Api, services: Services, ann: str):
    for _ in range(2):
        assert join(api, ann, member=[{"user_id": "ann", "role": "user"}]).status == 200

    assert len(rows(services.database, team_members, team_id="open")) == 2


@pytest.mark.parametrize(
    ("member", "fields"),
    [
        ({"user_id": "ann", "role": "admin"}, {}),
        ({"user_id": "carl", "role": "user"}, {}),
        ({"user_email": "carl@example.com", "role": "user"}, {}),
        ([{"user_id": "ann", "role": "user"}, {"user_id": "carl", "role": "user"}], {}),
        ([], {}),
        (None, {"max_budget_in_team": 1}),
        (None, {"budget_duration": "1d"}),
        (None, {"allowed_models": []}),
    ],
)
def test_nobody_joins_as_more_than_a_member_or_brings_others(
    api: Api, services: Services, ann: str, member: Any, fields: dict[str, Any]
):
    with unchanged(services.database):
        answer = join(api, ann, member=member, **fields)

    assert answer.summary == (403, "auth_error", "member")


def test_a_team_that_is_not_open_answers_like_one_that_is_not_there(api: Api, services: Services, ann: str):
    join(api, ann, "warm-up")
    with statements(services.database) as of_closed:
        closed = join(api, ann, "closed")
    with statements(services.database) as of_unknown:
        unknown = join(api, ann, "no such team")

    assert closed.summary == unknown.summary == (404, "not_found_error", "team_id")
    assert len(of_closed) == len(of_unknown)


def test_a_key_of_nobody_joins_nothing(api: Api, services: Services, ann: str):
    robot = api.generate(team_id="closed", metadata={"service_account_id": "r"})["key"]

    assert join(api, robot, member={"user_id": "r", "role": "user"}).status == 403


def test_the_list_takes_one_statement(api: Api, services: Services, ann: str):
    api.get("/team/available", ann)
    with statements(services.database) as sent:
        api.get("/team/available", ann)

    assert len(sent) == 1


def test_without_the_setting_no_team_is_open(shared_api: Api):
    assert shared_api.get("/team/available").body == []
