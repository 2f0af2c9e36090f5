"""Who may ask for decisions, and about which keys."""

from typing import Any

import pytest

from app.container import Services
from app.db import Database
from app.models import ledger
from tests.api.calls import allowed, post_settle, refused, verify
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, add_team, add_user, on_one_store, rows

PATHS = ("/key/verify", "/key/settle", "/key/release", "/key/extend", "/key/explain", "/key/log")
UNKNOWN = "sk-unknown-key-0000"


def gateway(api: Api, **bounds: Any) -> str:
    key: str = api.generate(permissions={"gateway": True, **bounds})["key"]
    return key


@pytest.fixture
def keys(api: Api, database: Database) -> dict[str, str]:
    """Keys by where they count: in a team of an organization, in another team, in an organization, or nowhere."""
    add_organization(database, "org")
    add_organization(database, "other org")
    add_team(database, "team of org", organization_id="org")
    add_team(database, "team")
    return {
        "team of org": api.generate(team_id="team of org")["key"],
        "team": api.generate(team_id="team")["key"],
        "org": api.generate(organization_id="org")["key"],
        "other org": api.generate(organization_id="other org")["key"],
        "nowhere": api.generate()["key"],
    }


# --- who may ask -----------------------------------------------------------------------------------------------


def test_the_master_key_an_administrators_key_and_a_gateways_key_may_ask(api: Api, database: Database):
    key = api.generate()["key"]
    admin = add_person(api, database, "admin", "proxy_admin")

    allowed(api, key)
    allowed(api, key, caller=admin)
    allowed(api, key, caller=gateway(api))


@on_one_store
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "role", ["internal_user", "internal_user_viewer", "proxy_admin_viewer", "org_admin", "team"]
)
def test_anybody_else_is_refused(api: Api, database: Database, path: str, role: str):
    caller = add_person(api, database, "somebody", role)

    answer = api.post(path, {"key": UNKNOWN, "request_id": "r"}, key=caller)

    assert answer.status in {401, 403}, answer
    assert answer.error["type"] in {"auth_error", "internal_server_error", "forbidden"}, answer


@on_one_store
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "permissions", [{}, {"gateway": False}, {"gateway": "true"}, {"gateway": 1}, {"get_spend_routes": True}]
)
def test_a_key_without_that_permission_is_refused(api: Api, path: str, permissions: dict[str, Any]):
    caller = api.generate(permissions=permissions)["key"]

    assert api.post(path, {"key": UNKNOWN, "request_id": "r"}, key=caller).status in {401, 403}


@on_one_store
@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_or_with_one_that_opens_nothing_there_is_no_answer(api: Api, path: str):
    body = {"key": UNKNOWN, "request_id": "r"}

    assert api.post(path, body, key=None).status == 401
    assert api.post(path, body, key=UNKNOWN).summary == (401, "token_not_found_in_db", "key")
    assert api.post(path, body, key="no-key-at-all").summary == (401, "auth_error", None)


@on_one_store
def test_a_gateways_key_reaches_no_other_route_of_administrators(api: Api):
    caller = gateway(api)

    for path, body in (("/key/generate", {}), ("/key/block", {"key": UNKNOWN}), ("/team/new", {})):
        assert api.post(path, body, key=caller).status in {401, 403}, path


@on_one_store
def test_a_gateways_own_routes_bind_it(api: Api):
    caller = api.generate(permissions={"gateway": True}, allowed_routes=["/key/verify"])["key"]
    key = api.generate()["key"]

    assert allowed(api, key, caller=caller)
    assert post_settle(api, caller=caller, key=key, request_id="r", cost=1).status == 403


@pytest.mark.parametrize("ending", ["blocked", "expired", "deleted", "no gateway any more", "rotated"])
def test_a_gateway_that_is_ended_is_refused_by_its_next_question(api: Api, clock: MovableClock, ending: str):
    key = api.generate()["key"]
    caller = api.generate(permissions={"gateway": True}, duration="1h")["key"]
    allowed(api, key, caller=caller)
    held = allowed(api, key, caller=caller)

    if ending == "blocked":
        api.post("/key/block", {"key": caller})
    elif ending == "expired":
        clock.advance(3600)
    elif ending == "deleted":
        api.post("/key/delete", {"keys": [caller]})
    elif ending == "rotated":
        api.post("/key/regenerate", {"key": caller})
    else:
        api.post("/key/update", {"key": caller, "permissions": {}})

    assert api.post("/key/verify", {"key": key}, key=caller).status in {401, 403}
    assert post_settle(api, caller=caller, reservation_id=held["reservation_id"], cost=1).status in {401, 403}


@on_one_store
def test_a_gateway_whose_team_is_blocked_is_refused(api: Api, database: Database):
    add_team(database, "gateways")
    caller = api.generate(permissions={"gateway": True}, team_id="gateways")["key"]
    key = api.generate()["key"]
    allowed(api, key, caller=caller)

    assert api.post("/team/block", {"team_id": "gateways"}).status == 200

    assert api.post("/key/verify", {"key": key}, key=caller).status == 401


@on_one_store
def test_nobody_but_an_administrator_makes_a_gateway(api: Api, database: Database):
    add_user(database, "you")
    caller = add_person(api, database, "somebody")
    mine = api.generate(user_id="somebody")["key"]

    made = api.post("/key/generate", {"permissions": {"gateway": True}}, key=caller)
    changed = api.post("/key/update", {"key": mine, "permissions": {"gateway": True}}, key=caller)
    rotated = api.post("/key/regenerate", {"key": mine, "permissions": {"gateway": True}}, key=caller)

    assert {made.status, changed.status, rotated.status} == {403}


# --- about which keys ------------------------------------------------------------------------------------------

BOUNDS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"team of org", "team", "org", "other org", "nowhere"}),
    ({"gateway_teams": []}, {"team of org", "team", "org", "other org", "nowhere"}),
    ({"gateway_teams": ["team"]}, {"team"}),
    ({"gateway_teams": ["team", "team of org"]}, {"team", "team of org"}),
    ({"gateway_organizations": ["org"]}, {"team of org", "org"}),
    ({"gateway_teams": ["team"], "gateway_organizations": ["other org"]}, {"team", "other org"}),
    ({"gateway_teams": ["gone"]}, set()),
    ({"gateway_teams": "team"}, set()),
    ({"gateway_teams": [None]}, set()),
    ({"gateway_organizations": {"org": True}}, set()),
]


@pytest.mark.parametrize(("bounds", "visible"), BOUNDS)
def test_a_bound_gateway_decides_for_its_teams_and_organizations_alone(
    api: Api, keys: dict[str, str], bounds: dict[str, Any], visible: set[str]
):
    caller = gateway(api, **bounds)

    verdicts = {name: verify(api, key, caller=caller) for name, key in keys.items()}

    assert {name for name, verdict in verdicts.items() if verdict["allowed"]} == visible


def test_what_a_bound_gateway_may_not_see_answers_as_what_does_not_exist(api: Api, keys: dict[str, str]):
    caller = gateway(api, gateway_teams=["team"])
    nobodys = refused(api, UNKNOWN, caller=caller, request_id="r")

    for key in (keys["nowhere"], keys["org"], api.generate(blocked=True)["key"]):
        assert refused(api, key, caller=caller, request_id="r") == nobodys
        for path, body in (
            ("/key/settle", {"cost": 1}),
            ("/key/release", {}),
            ("/key/extend", {}),
            ("/key/log", {"status": "success"}),
        ):
            sent = {"request_id": "r", **body}
            foreign = api.post(path, {**sent, "key": key}, key=caller)
            unknown = api.post(path, {**sent, "key": UNKNOWN}, key=caller)
            assert (foreign.status, foreign.body) == (unknown.status, unknown.body) == (404, unknown.body)
    assert nobodys["key"] is None


def test_a_bound_gateway_cannot_touch_the_calls_of_others(api: Api, services: Services, keys: dict[str, str]):
    caller = gateway(api, gateway_teams=["team"])
    held = allowed(api, keys["nowhere"], request_id="r")
    reservation = {"reservation_id": held["reservation_id"]}

    assert post_settle(api, caller=caller, **reservation, cost=1).status == 404
    assert api.post("/key/release", reservation, key=caller).status == 404
    assert api.post("/key/extend", reservation, key=caller).status == 404
    assert api.post("/key/log", {**reservation, "status": "success"}, key=caller).status == 404
    batch = post_settle(
        api,
        caller=caller,
        charges=[{**reservation, "cost": 1}, {"request_id": "r", "key": keys["team"], "cost": 1}],
    )

    assert [("error" in result) for result in batch.body["results"]] == [True, False]
    assert [row["request_id"] for row in rows(services.database, ledger)] == ["r"]
    assert api.info(keys["nowhere"])["spend"] == 0
