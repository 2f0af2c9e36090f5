"""Every change of any entity is one row of the audit, written with it; what changes nothing writes none.

The table holds each operation that takes `litellm-changed-by`, which are all that change something: one without a
row here fails.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.dispatch import TaskName
from app.models import audit, events
from tests.api.identities import without_redis
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import START, MovableClock
from tests.factories import add_person, everything, on_one_store, rows

Row = tuple[str, str, str]
HEADERS = {"litellm-changed-by": "boss@example.com", "x-request-id": "request-1"}
CALLBACK = {
    "callback_name": "langfuse",
    "callback_vars": {"langfuse_public_key": "pk-public-12345", "langfuse_secret_key": "sk-lf-hush-12345"},
}


@dataclass(frozen=True)
class World:
    """What there is to change: plaintexts and ids of keys by their aliases, beside what has a name of its own."""

    secrets: dict[str, str]
    ids: dict[str, str]
    event_id: str


@dataclass(frozen=True)
class Change:
    """A call that changes something, and the rows that it writes: action, entity and its id."""

    body: Callable[[World], dict[str, Any]]
    expected: Callable[[World, Answer], list[Row]]
    path: Callable[[World], str] | None = None
    # Nobody may hold an old copy of what is made, so it goes on without Redis.
    needs_redis: bool = True


def fixed(*entries: Row) -> Callable[[World, Answer], list[Row]]:
    return lambda world, _: [(action, entity, world.ids.get(name, name)) for action, entity, name in entries]


def sent(**fields: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: {
        name: world.secrets.get(value, value) if isinstance(value, str) else value
        for name, value in fields.items()
    }


CHANGES: dict[str, Change] = {
    "POST /key/generate": Change(
        sent(max_budget=1, metadata={"logging": [CALLBACK]}),
        lambda _, answer: [("generate", "key", answer.body["key_id"])],
        needs_redis=False,
    ),
    "POST /key/service-account/generate": Change(
        sent(team_id="crew"), lambda _, answer: [("generate", "key", answer.body["key_id"])], needs_redis=False
    ),
    "POST /key/update": Change(
        sent(key="free", max_budget=7, metadata={"logging": [CALLBACK]}), fixed(("update", "key", "free"))
    ),
    "POST /key/bulk_update": Change(
        lambda world: {"keys": [{"key": world.secrets[name], "max_budget": 9} for name in ("free", "blocked")]},
        fixed(("update", "key", "free"), ("update", "key", "blocked")),
    ),
    "POST /key/regenerate": Change(sent(key="free"), fixed(("regenerate", "key", "free"))),
    "POST /key/{key}/regenerate": Change(
        sent(), fixed(("regenerate", "key", "free")), lambda world: f"/key/{world.secrets['free']}/regenerate"
    ),
    "POST /key/{key}/reset_spend": Change(
        sent(reset_to=1),
        fixed(("reset_spend", "key", "free")),
        lambda world: f"/key/{world.secrets['free']}/reset_spend",
    ),
    "POST /key/block": Change(sent(key="free"), fixed(("block", "key", "free"))),
    "POST /key/unblock": Change(sent(key="blocked"), fixed(("unblock", "key", "blocked"))),
    "POST /key/delete": Change(
        lambda world: {"keys": [world.secrets["free"], world.secrets["blocked"], "sk-unknown"]},
        fixed(("delete", "key", "free"), ("delete", "key", "blocked")),
    ),
    "POST /budget/new": Change(
        sent(budget_id="silver", max_budget=1), fixed(("new", "budget", "silver")), needs_redis=False
    ),
    "POST /budget/update": Change(sent(budget_id="gold", max_budget=9), fixed(("update", "budget", "gold"))),
    "POST /budget/delete": Change(sent(id="gold"), fixed(("delete", "budget", "gold"))),
    "POST /team/new": Change(
        sent(team_id="new crew", members_with_roles=[{"user_id": "zoe", "role": "user"}]),
        # Whoever makes a team is its first administrator.
        fixed(("new", "team", "new crew"), ("new", "user", "zoe")),
    ),
    "POST /team/update": Change(
        sent(team_id="crew", max_budget=3, team_member_budget=1), fixed(("update", "team", "crew"))
    ),
    "POST /team/block": Change(sent(team_id="crew"), fixed(("block", "team", "crew"))),
    "POST /team/unblock": Change(sent(team_id="still"), fixed(("unblock", "team", "still"))),
    "POST /team/delete": Change(
        sent(team_ids=["crew", "still"]),
        fixed(("delete", "team", "crew"), ("delete", "team", "still"), ("delete", "key", "of the crew")),
    ),
    "POST /team/member_add": Change(
        sent(team_id="crew", member={"user_id": "zoe", "role": "user"}, max_budget_in_team=1),
        fixed(("member_add", "team", "crew"), ("new", "user", "zoe")),
    ),
    "POST /team/bulk_member_add": Change(
        sent(team_id="crew", members=[{"user_id": "zoe", "role": "user"}, {"user_id": "max", "role": "user"}]),
        fixed(("bulk_member_add", "team", "crew"), ("new", "user", "zoe"), ("new", "user", "max")),
    ),
    "POST /team/member_update": Change(
        sent(team_id="crew", user_id="bob", role="admin", max_budget_in_team=2),
        fixed(("member_update", "team", "crew")),
    ),
    "POST /team/member_delete": Change(
        sent(team_id="crew", user_id="bob"),
        fixed(("member_delete", "team", "crew"), ("delete", "key", "of the crew")),
    ),
    "POST /team/{team_id}/member/{user_id}/reset_spend": Change(
        sent(reset_to=1),
        fixed(("member_reset_spend", "team", "crew")),
        lambda _: "/team/crew/member/bob/reset_spend",
    ),
    "POST /team/{team_id}/member/{user_id}/reset_budget": Change(
        sent(), fixed(("member_reset_budget", "team", "crew")), lambda _: "/team/crew/member/bob/reset_budget"
    ),
    "POST /team/permissions_update": Change(
        sent(team_id="crew", team_member_permissions=["/key/generate"]),
        fixed(("permissions_update", "team", "crew")),
        needs_redis=False,
    ),
    "POST /team/{team_id}/callback": Change(
        sent(**CALLBACK), fixed(("callback_add", "team", "crew")), lambda _: "/team/crew/callback"
    ),
    "DELETE /team/{team_id}/callback/{callback_name}": Change(
        sent(), fixed(("callback_delete", "team", "still")), lambda _: "/team/still/callback/langfuse"
    ),
    "POST /team/{team_id}/disable_logging": Change(
        sent(), fixed(("disable_logging", "team", "still")), lambda _: "/team/still/disable_logging"
    ),
    "POST /team/key/bulk_update": Change(
        sent(team_id="crew", all_keys_in_team=True, update_fields={"max_budget": 1}),
        fixed(("update", "key", "of the crew")),
    ),
    "POST /user/new": Change(
        sent(user_id="zoe", teams=["crew", "still"], organizations=["acme"], max_budget=1),
        lambda world, answer: [
            ("new", "user", "zoe"),
            ("member_add", "team", "crew"),
            ("member_add", "team", "still"),
            ("member_add", "organization", "acme"),
            *(("generate", "key", row) for row in [answer.body["key_id"]]),
        ],
    ),
    "POST /user/update": Change(sent(user_id="bob", user_alias="Bob"), fixed(("update", "user", "bob"))),
    "POST /user/delete": Change(
        sent(user_ids=["bob"]),
        fixed(
            ("delete", "user", "bob"),
            ("delete", "key", "of the crew"),
            ("member_delete", "team", "crew"),
            ("member_delete", "organization", "acme"),
        ),
    ),
    "POST /organization/new": Change(
        sent(organization_id="new", organization_alias="New", max_budget=1), fixed(("new", "organization", "new"))
    ),
    "PATCH /organization/update": Change(
        sent(organization_id="acme", max_budget=5), fixed(("update", "organization", "acme"))
    ),
    "DELETE /organization/delete": Change(
        sent(organization_ids=["acme"]),
        fixed(
            ("delete", "organization", "acme"),
            ("delete", "team", "crew"),
            ("delete", "key", "of the crew"),
            ("delete", "key", "of acme"),
        ),
    ),
    "POST /organization/member_add": Change(
        sent(organization_id="acme", member=[{"user_id": "zoe", "role": "org_admin"}]),
        fixed(("member_add", "organization", "acme"), ("new", "user", "zoe")),
    ),
    "PATCH /organization/member_update": Change(
        sent(organization_id="acme", user_id="bob", role="org_admin", max_budget_in_organization=1),
        fixed(("member_update", "organization", "acme")),
    ),
    "DELETE /organization/member_delete": Change(
        sent(organization_id="acme", user_id="bob"), fixed(("member_delete", "organization", "acme"))
    ),
    "POST /events/{id}/replay": Change(
        sent(),
        lambda world, _: [("replay", "event", world.event_id)],
        lambda world: f"/events/{world.event_id}/replay",
        needs_redis=False,
    ),
}


@pytest.fixture
def world(api: Api, services: Services) -> World:
    """An organization with a team, a member of both, a tier, keys of each kind, and events that nobody waits for."""

    def make(path: str, **fields: Any) -> None:
        answer = api.post(path, fields)
        assert answer.status == 200, answer

    make("/organization/new", organization_id="acme", organization_alias="Acme")
    make("/budget/new", budget_id="gold", max_budget=1)
    make("/team/new", team_id="crew", organization_id="acme")
    make("/team/new", team_id="still", blocked=True)
    make("/user/new", user_id="bob", teams=["crew"], organizations=["acme"], auto_create_key=False)
    made = {
        "free": api.generate(key_alias="free", spend=2, max_budget=5),
        "blocked": api.generate(key_alias="blocked", blocked=True),
        "of the crew": api.generate(key_alias="of the crew", team_id="crew", user_id="bob"),
        "of acme": api.generate(key_alias="of acme", organization_id="acme"),
    }
    make("/team/still/callback", **CALLBACK)
    make("/team/member_update", team_id="crew", user_id="bob", max_budget_in_team=3)
    make("/key/settle", key=made["of the crew"]["key"], request_id="r", cost=2)
    services.jobs.run(TaskName.DELIVER, lambda: False)
    return World(
        {name: key["key"] for name, key in made.items()},
        {name: key["key_id"] for name, key in made.items()},
        rows(services.database, events)[0]["event_id"],
    )


def ask(api: Api, name: str, world: World, key: str = MASTER_KEY) -> Answer:
    method, path = name.split(" ")
    change = CHANGES[name]
    found = change.path(world) if change.path is not None else path
    return api.call(method, found, key=key, json=change.body(world), headers=HEADERS)


def test_every_operation_that_changes_something_is_in_the_table(api: Api):
    document = api.get("/openapi.json", None).body
    changing = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
        and any(parameter["name"] == "litellm-changed-by" for parameter in operation.get("parameters", ()))
    }

    assert changing == CHANGES.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_one_row_for_each_entity_with_who_did_it_and_what_changed(
    api: Api, services: Services, world: World, name: str
):
    ann = add_person(api, services.database, "ann", "proxy_admin")
    ann_id = api.info(ann)["key_id"]
    before = len(rows(services.database, audit))

    answer = ask(api, name, world, ann)

    assert answer.status == 200, answer
    written = rows(services.database, audit)[before:]
    found = sorted((row["action"], row["entity"], row["entity_id"]) for row in written)
    assert found == sorted(CHANGES[name].expected(world, answer))
    for row in written:
        assert (row["at"], row["actor_key_id"], row["actor_user_id"]) == (START, ann_id, "ann")
        assert (row["actor_role"], row["changed_by"]) == ("proxy_admin", "boss@example.com")
        assert (row["request_id"], row["address"]) == ("request-1", "127.0.0.1")
        _check_values(row)
    assert "hush" not in json.dumps([(row["before"], row["after"]) for row in written])


def _check_values(row: dict[str, Any]) -> None:
    """What is made or gone is there whole, of what changes only that which does."""
    if row["action"] in {"new", "generate"}:
        assert (row["before"], bool(row["after"])) == (None, True)
    elif row["action"] == "delete":
        assert (bool(row["before"]), row["after"]) == (True, None)
    else:
        assert row["before"].keys() == row["after"].keys() != set()
        assert all(row["before"][name] != value for name, value in row["after"].items())


@on_one_store
@pytest.mark.parametrize("name", CHANGES)
def test_a_call_that_is_refused_writes_none(api: Api, services: Services, world: World, name: str):
    stranger = add_person(api, services.database, "stranger", "internal_user_viewer")
    before = everything(services.database)

    answer = ask(api, name, world, stranger)

    assert answer.status in {401, 403, 404}, answer
    assert everything(services.database) == before


@on_one_store
@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change.needs_redis])
def test_a_call_that_fails_writes_none(
    api: Api, services: Services, settings: Settings, clock: MovableClock, world: World, name: str
):
    before = everything(services.database)

    with without_redis(settings, clock) as cut_off:
        answer = ask(cut_off, name, world)

    assert answer.status == 503, answer
    assert everything(services.database) == before
