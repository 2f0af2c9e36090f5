"""A call that is asked for after a change has answered is decided by the new state, by another process too."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock

# A request that changes something about the key of `key`, and the code of the verdict after it.
CHANGES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "team blocked": ("POST", "/team/block", {"team_id": "team"}, "team_blocked"),
    "team budget": ("POST", "/team/update", {"team_id": "team", "max_budget": 0.5}, "budget_exceeded"),
    "team models": ("POST", "/team/update", {"team_id": "team", "models": ["other"]}, "model_not_allowed"),
    "shared tier of the members": (
        "POST", "/team/update", {"team_id": "team", "team_member_budget": 0.5}, "budget_exceeded",
    ),
    "tier of a member": (
        "POST", "/team/member_update", {"team_id": "team", "user_id": "ann", "max_budget_in_team": 0.5},
        "budget_exceeded",
    ),
    "user budget": ("POST", "/user/update", {"user_id": "ann", "max_budget": 0.5}, "budget_exceeded"),
    "tier of the key": ("POST", "/budget/update", {"budget_id": "gold", "max_budget": 0.5}, "budget_exceeded"),
    "tier of an organization": (
        "POST", "/budget/update", {"budget_id": "company", "max_budget": 0.5}, "budget_exceeded",
    ),
    "organization budget": (
        "PATCH", "/organization/update", {"organization_id": "acme", "max_budget": 0.5}, "budget_exceeded",
    ),
}  # fmt: skip


@pytest.fixture
def elsewhere(services: Services, settings: Settings, clock: MovableClock) -> Iterator[Api]:
    """Another process over the same stores, which decides."""
    others = build(settings, clock)
    yield Api(app_over(others))
    others.close()


@pytest.fixture
def key(api: Api) -> str:
    """A key of a member of a team of an organization, linked to a tier; nothing limits it."""
    for path, sent in (
        ("/budget/new", {"budget_id": "gold"}),
        ("/budget/new", {"budget_id": "company"}),
        ("/organization/new", {"organization_id": "acme", "organization_alias": "a", "budget_id": "company"}),
        ("/user/new", {"user_id": "ann", "auto_create_key": False}),
        (
            "/team/new",
            {
                "team_id": "team",
                "organization_id": "acme",
                "members_with_roles": [{"user_id": "ann", "role": "user"}],
            },
        ),
    ):
        assert api.post(path, sent).status == 200
    return api.generate(user_id="ann", team_id="team", budget_id="gold")["key"]


def verify(api: Api, key: str) -> dict[str, Any]:
    answer = api.post("/key/verify", {"key": key, "model": "gpt-4o", "estimate": {"cost": 1}})
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_call_meets_the_change(api: Api, elsewhere: Api, key: str, change: str):
    method, path, sent, code = CHANGES[change]
    for _ in range(2):  # the second one is decided from memory
        before = verify(elsewhere, key)

    assert api.call(method, path, json=sent).status == 200
    after = verify(elsewhere, key)

    assert (before["allowed"], after["allowed"], after["code"]) == (True, False, code)


def test_an_unblocked_team_is_served_at_once(api: Api, elsewhere: Api, key: str):
    api.post("/team/block", {"team_id": "team"})
    assert verify(elsewhere, key)["allowed"] is False

    api.post("/team/unblock", {"team_id": "team"})

    assert verify(elsewhere, key)["allowed"] is True


def test_a_charge_that_is_not_folded_yet_goes_with_its_window(api: Api, services: Services, key: str):
    """The window of a tier reaches the key, its membership and its organization alike."""
    linked = [("POST", "/budget/update", {"budget_id": name}) for name in ("gold", "company")]
    linked.append(("POST", "/team/member_update", {"team_id": "team", "user_id": "ann"}))

    def arm(spelling: str) -> None:
        for method, path, sent in linked:
            answer = api.call(method, path, json={**sent, "budget_duration": spelling})
            assert answer.status == 200, answer

    def spends() -> list[float]:
        member = api.get("/team/info", team_id="team").body["team_memberships"][0]
        organization = api.get("/organization/info", organization_id="acme").body
        return [found["spend"] for found in (api.info(key), member, organization)]

    def charge() -> None:
        reservation = verify(api, key)["reservation_id"]
        assert api.post("/key/settle", {"reservation_id": reservation, "cost": 1}).status == 200

    found = []
    for spelling in ("1d", "30d"):
        charge()
        arm(spelling)
        found.append(spends())
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
        found.append(spends())

    assert found == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]]
