"""What a team lets its plain members call: listed, and put in the place of what it was."""

from functools import partial
from typing import Any

import pytest

from app.container import Services
from app.domain.teams import BASELINE_PERMISSIONS, MEMBER_PERMISSIONS
from app.models import audit
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, about_the_team, gather, without_redis
from tests.api.teams import change, info, new
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, on_one_store, rows, unchanged

BAD = "invalid_request_error"


def listed(api: Api, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.get("/team/permissions_list", caller, team_id=team_id)


def update(api: Api, granted: Any, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.post(
        "/team/permissions_update", {"team_id": team_id, "team_member_permissions": granted}, key=caller
    )


def granted(api: Api) -> list[str]:
    found: list[str] = listed(api).body["team_member_permissions"]
    return found


def test_a_team_that_says_nothing_grants_the_baseline(api: Api):
    new(api, team_id=TEAM)

    assert listed(api).body == {
        "team_id": TEAM,
        "team_member_permissions": list(BASELINE_PERMISSIONS),
        "all_available_permissions": list(MEMBER_PERMISSIONS),
    }


def test_what_is_sent_takes_the_place_of_what_was_granted(api: Api):
    new(api, team_id=TEAM, team_member_permissions=["/key/list"])

    answer = update(api, ["/key/generate", "/key/update", "/key/generate"])

    assert answer.body == info(api, TEAM)["team_info"]
    assert answer.body["team_member_permissions"] == granted(api) == ["/key/generate", "/key/update"]


@pytest.mark.parametrize("sent", [[], list(BASELINE_PERMISSIONS), list(MEMBER_PERMISSIONS)])
def test_everything_that_is_offered_and_nothing_at_all_can_be_granted(api: Api, sent: list[str]):
    new(api, team_id=TEAM)

    assert update(api, sent).status == 200
    assert granted(api) == sent


@pytest.mark.parametrize(
    "sent", [["/team/new"], ["/key/generate", "/key/*"], ["key/generate"], [""], ["/key/Update"]]
)
def test_what_cannot_be_granted_is_refused_wherever_it_is_sent(api: Api, services: Services, sent: list[str]):
    new(api, team_id=TEAM)

    with unchanged(services.database):
        answer = update(api, sent)
        elsewhere = [
            change(api, TEAM, team_member_permissions=sent),
            api.post("/team/new", {"team_member_permissions": sent}),
        ]

    assert answer.summary == (400, BAD, "team_member_permissions")
    assert answer.body["detail"] == {"error": answer.error["message"]}
    assert [other.summary for other in elsewhere] == [answer.summary] * 2


@on_one_store
@pytest.mark.parametrize("sent", ["/key/list", {"a": 1}, 5, [5]])
def test_what_is_no_list_of_texts_does_not_fit_the_schema(api: Api, sent: Any):
    new(api, team_id=TEAM)

    answer = update(api, sent)

    assert (answer.status, answer.body["detail"][0]["loc"][:2]) == (422, ["body", "team_member_permissions"])
    assert api.post("/team/permissions_update", {"team_id": TEAM}).status == 422
    assert api.get("/team/permissions_list").status == 422


def test_null_grants_the_baseline_again(api: Api):
    new(api, team_id=TEAM, team_member_permissions=["/key/generate"])

    assert update(api, None).body["team_member_permissions"] is None
    assert granted(api) == list(BASELINE_PERMISSIONS)


def test_a_member_may_what_was_granted_from_that_moment_and_no_longer_than_that(api: Api, services: Services):
    ann = add_person(api, services.database, "ann")
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "ann", "role": "user"}])
    found = []

    for sent in ([], ["/key/generate"], []):
        update(api, sent)
        found.append(api.post("/key/generate", {"team_id": TEAM}, key=ann).status)

    assert found == [401, 200, 401]


def test_it_is_audited_and_again_changes_nothing(api: Api, services: Services):
    new(api, team_id=TEAM, team_member_permissions=["/key/list"])
    sent = {"team_id": TEAM, "team_member_permissions": ["/key/generate"]}

    api.post("/team/permissions_update", sent, headers={"litellm-changed-by": "ann"})
    with unchanged(services.database):
        assert update(api, ["/key/generate"]).status == 200

    (row,) = rows(services.database, audit, action="permissions_update")
    assert (row["entity"], row["entity_id"], row["changed_by"]) == ("team", TEAM, "ann")
    assert row["before"] == {"team_member_permissions": ["/key/list"]}
    assert row["after"] == {"team_member_permissions": ["/key/generate"]}


@on_one_store
def test_with_redis_away_grants_are_changed_for_they_are_read_from_sql(
    api: Api, services: Services, clock: MovableClock
):
    new(api, team_id=TEAM)

    with without_redis(services.settings, clock) as cut_off:
        assert update(cut_off, ["/key/generate"]).status == 200
        assert granted(cut_off) == ["/key/generate"]


CALLS = {
    "list": listed,
    "update": lambda api, team_id, caller: update(api, ["/key/list"], team_id, caller),
}


@on_one_store
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_permissions_are_for_those_who_manage_the_team(
    api: Api, services: Services, call: str, caller: str, expected: int
):
    people = gather(api, services.database)

    answer = about_the_team(services, partial(CALLS[call], api), people[caller])

    assert answer.status == expected


@pytest.mark.parametrize("members", [0, 30])
def test_statements_do_not_grow_with_the_team(api: Api, services: Services, members: int):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": f"u{n}", "role": "user"} for n in range(members)])
    found = {}
    for name, ask in CALLS.items():
        with statements(services.database) as sent:
            assert ask(api, TEAM, MASTER_KEY).status == 200
        found[name] = len(sent)

    assert found == {"list": 1, "update": 6}
