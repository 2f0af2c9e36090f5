"""POST /budget/update: another cap for everything that is linked to a tier, and another window."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from sqlalchemy import delete, event

from app.config import Settings
from app.container import Services
from app.db import Database
from app.domain.teams import member_id
from app.domain.windows import Calendar
from app.models import audit, budget_state, key_secrets, keys, team_members
from app.services.audit.audit import SYSTEM, Act
from app.services.budgets.budget_changes import BudgetChanges
from app.store.connection import HotRedis
from app.store.policies import Policies
from tests.api.budgets import BY_ROLE, FIELDS, new, shown
from tests.api.counting import statements
from tests.api.settings import NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.teams import spend
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, copy_key, everything, rows, unchanged

LIMITS = {name: value for name, value in FIELDS.items() if name != "budget_id"}
STAMPS = {"updated_at", "updated_by", "budget_reset_at"}


def update(api: Api, budget_id: str = "gold", *, caller: str | None = None, **fields: Any) -> Answer:
    named = {} if caller is None else {"key": caller}
    return api.post("/budget/update", {"budget_id": budget_id, **fields}, **named)


def changed(api: Api, budget_id: str = "gold", **fields: Any) -> dict[str, Any]:
    """The tier after an update that must succeed, as info shows it and the update answered it."""
    answer = update(api, budget_id, **fields)
    assert answer.status == 200, answer
    assert shown(api, budget_id) == [answer.body]
    return answer.body


def without(tier: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in tier.items() if name not in STAMPS | set(names)}


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", LIMITS)
def test_a_sent_limit_changes_and_null_takes_it_off(api: Api, field: str):
    before = new(api, budget_id="gold")

    set_to = changed(api, **{field: LIMITS[field]})
    cleared = changed(api, **{field: None})

    assert (set_to[field], cleared[field]) == (LIMITS[field], {} if field == "model_max_budget" else None)
    assert without(set_to, field) == without(cleared, field) == without(before, field)


def test_what_is_not_sent_stays_but_who_changed_it_and_when(api: Api, services: Services, clock: MovableClock):
    before = new(api, **FIELDS)
    boss = add_person(api, services.database, "boss", "proxy_admin")
    clock.advance(1)

    after = update(api, caller=boss).body

    assert without(after) == without(before)
    assert after["budget_reset_at"] == before["budget_reset_at"]


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_another_duration_brings_its_own_reset(shared_api: Api, spelling: str, reset_at: str):
    budget_id = new(shared_api, budget_duration="9y")["budget_id"]

    assert changed(shared_api, budget_id, budget_duration=spelling)["budget_reset_at"] == reset_at


def test_a_reset_that_is_sent_is_kept_and_null_brings_back_that_of_the_window(api: Api):
    new(api, budget_id="gold", budget_duration="1d")

    sent = changed(api, budget_duration="30d", budget_reset_at="2026-12-24T18:00:00+02:00")
    back = changed(api, budget_reset_at=None)
    none = changed(api, budget_duration=None)

    resets = [tier["budget_reset_at"] for tier in (sent, back, none)]
    assert resets == ["2026-12-24T16:00:00.000000Z", "2026-12-01T00:00:00.000000Z", None]


# --- everything that is linked to it -----------------------------------------------------------------------


@pytest.fixture
def linked(api: Api, services: Services) -> dict[str, str]:
    """A key, a member and an organization of the tier, each with a spend of 2; and a key with a window of its own."""
    new(api, budget_id="gold")
    key, own = api.generate(budget_id="gold"), api.generate(budget_id="gold", budget_duration="1h")
    api.post("/organization/new", {"organization_id": "acme", "organization_alias": "a", "budget_id": "gold"})
    api.post("/team/new", {"team_id": "crew", "members_with_roles": [{"user_id": "ann", "role": "user"}]})
    with services.database.transaction() as transaction:
        transaction.execute(team_members.update().values(budget_id="gold"))
    _spend(services, {"key": key["key_id"], "member": member_id("crew", "ann"), "organization": "acme"}, 2)
    spend(services, "key", own["key_id"], 2)
    return {"key": key["key"], "own": own["key"], "key_id": key["key_id"], "own_id": own["key_id"]}


def _spend(services: Services, scopes: dict[str, str], dollars: int) -> None:
    for scope, scope_id in scopes.items():
        spend(services, scope, scope_id, dollars)


def seen(api: Api, linked: dict[str, str]) -> list[tuple[float, str | None]]:
    """Spend and reset of each, the key with a window of its own last."""
    team = api.get("/team/info", team_id="crew").body
    found = [
        api.info(linked["key"]),
        team["team_memberships"][0],
        api.get("/organization/info", organization_id="acme").body,
        api.info(linked["own"]),
    ]
    return [(one["spend"], one["budget_reset_at"] and one["budget_reset_at"][:13]) for one in found]


OWN = (2, "2026-11-18T14")


def test_a_window_where_there_was_none_starts_at_zero_for_all(api: Api, linked: dict[str, str]):
    assert seen(api, linked) == [(2, None)] * 3 + [OWN]

    changed(api, budget_duration="1d")

    assert seen(api, linked) == [(0, "2026-11-19T00")] * 3 + [OWN]


def test_another_window_takes_along_what_was_spent_in_the_present_one(
    api: Api, services: Services, linked: dict[str, str]
):
    changed(api, budget_duration="1d")
    scopes = {"key": linked["key_id"], "member": member_id("crew", "ann"), "organization": "acme"}
    _spend(services, scopes, 3)

    changed(api, budget_duration="30d")

    assert seen(api, linked) == [(3, "2026-12-01T00")] * 3 + [OWN]


def test_another_window_takes_nothing_of_one_that_has_passed(
    api: Api, services: Services, linked: dict[str, str], clock: MovableClock
):
    changed(api, budget_duration="1d")
    scopes = {"key": linked["key_id"], "member": member_id("crew", "ann"), "organization": "acme"}
    _spend(services, scopes, 3)
    clock.advance(24 * 3600)

    changed(api, budget_duration="30d")

    assert seen(api, linked)[:3] == [(0, "2026-12-01T00")] * 3


def test_without_a_window_the_spend_so_far_stays(api: Api, services: Services, linked: dict[str, str]):
    changed(api, budget_duration="1d")
    scopes = {"key": linked["key_id"], "member": member_id("crew", "ann"), "organization": "acme"}
    _spend(services, scopes, 3)

    changed(api, budget_duration=None)

    assert seen(api, linked) == [(3, None)] * 3 + [OWN]


def test_the_same_duration_again_moves_no_window(api: Api, linked: dict[str, str], clock: MovableClock):
    changed(api, budget_duration="3d")
    clock.advance(24 * 3600)

    changed(api, budget_duration="3d", max_budget=1)

    assert {reset for _, reset in seen(api, linked)[:3]} == {"2026-11-21T00"}


@pytest.mark.parametrize("count", [1, 60])
def test_statements_do_not_grow_with_what_is_linked(api: Api, services: Services, count: int):
    new(api, budget_id="gold", budget_duration="30d")
    keys = [api.generate(budget_id="gold")["key"] for _ in range(count)]

    with statements(services.database) as of_cap:
        changed_cap = update(api, max_budget=1)
    with statements(services.database) as of_window:
        changed_window = update(api, budget_duration="1d")

    assert (changed_cap.status, changed_window.status) == (200, 200)
    assert (len(of_cap), len(of_window)) == (8, 13)
    assert {api.info(key)["budget_reset_at"][:10] for key in keys} == {"2026-11-19"}


# --- more keys than one batch holds ------------------------------------------------------------------------

ROLLING = {"budget_duration": "1d", "budget_rollover": True, "max_budget": 1}
CHANGES = {"budget_id": "gold", "budget_duration": "7d", "max_budget": Decimal(3)}


@pytest.fixture
def batching(settings: Settings, services: Services) -> Iterator[BudgetChanges]:
    """Two linked keys at a time."""
    with closing(HotRedis(settings.hot_redis_url, seconds=settings.hot_redis_seconds)) as redis:
        store = Policies(redis, change_seconds=settings.change_seconds, commit_seconds=settings.commit_seconds)
        calendar = Calendar(settings.timezone, settings.budget_reset_time)
        yield BudgetChanges(services.database, store, calendar, batch=2)


class Stopped(Exception):
    """Raised in place of a statement: neither that nor any other comes after it."""


@contextmanager
def stopped_after(database: Database, number: int) -> Iterator[None]:
    left = iter(range(number))

    def stop(*_: Any) -> None:
        if next(left, None) is None:
            raise Stopped

    event.listen(database.engine, "before_cursor_execute", stop)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", stop)


def test_stopped_at_any_statement_a_change_has_changed_nothing_and_can_be_sent_again(
    batching: BudgetChanges, services: Services, api: Api, linked: dict[str, str], clock: MovableClock
):
    """Windows have passed and roll over, and a batch of the keys has followed when later ones are stopped."""
    changed(api, **ROLLING)
    copy_key(services.database, linked["key_id"], 3)
    clock.advance(24 * 3600)
    before = everything(services.database)

    for number in count():
        try:
            with stopped_after(services.database, number):
                batching.update(Act(SYSTEM, clock.now()), CHANGES)
        except Stopped:
            assert everything(services.database) == before
        else:
            break

    assert number > 20
    of_keys = rows(services.database, budget_state, scope="key")
    assert Counter(row["reset_at"].day for row in of_keys if row["scope_id"] != linked["own_id"]) == {23: 4}
    assert len(rows(services.database, audit, entity="budget", action="update")) == 2


def test_statements_grow_by_the_batch(
    batching: BudgetChanges, services: Services, api: Api, linked: dict[str, str], clock: MovableClock
):
    needed = []
    for more in (1, 3, 5):
        changed(api, **ROLLING)
        copy_key(services.database, linked["key_id"], more)
        with statements(services.database) as sent:
            batching.update(Act(SYSTEM, clock.now()), CHANGES)
        needed.append(len(sent))
        with services.database.transaction() as transaction:
            for table, name in ((key_secrets, "key_id"), (budget_state, "scope_id"), (keys, "key_id")):
                transaction.execute(delete(table).where(table.c[name].startswith("copy")))

    assert needed[2] - needed[1] == needed[1] - needed[0] == 5


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        ("model_max_budget", {"gpt-4o": {"time_period": "soon"}}),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_name_and_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    budget_id = new(shared_api, budget_duration="1d")["budget_id"]

    with unchanged(shared_services.database):
        answer = update(shared_api, budget_id, rpm_limit=1, **{field: value})

    assert answer.summary == (400, "invalid_request_error", field)


@pytest.mark.parametrize(
    ("field", "value"),
    [("tpm_limit", -1), ("rpm_limit", 2**63), ("max_budget", []), ("budget_reset_at", "soon"), ("budget_id", 7)],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(shared_api: Api, field: str, value: Any):
    answer = shared_api.post("/budget/update", {"budget_id": "gold", field: value})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", field])


@pytest.mark.parametrize("sent", [{}, {"budget_id": None}, {"budget_id": ""}])
def test_a_request_without_a_tier_is_refused(shared_api: Api, sent: dict[str, Any]):
    answer = shared_api.post("/budget/update", {**sent, "max_budget": 1})

    assert answer.summary == (400, "invalid_request_error", "budget_id")


def test_a_tier_that_is_not_there_is_not_found_and_not_made(api: Api, services: Services):
    with unchanged(services.database):
        answer = update(api, "nowhere", max_budget=1)

    assert answer.summary == (404, "not_found_error", "budget_id")


def test_what_is_no_field_of_a_tier_is_named(api: Api):
    new(api, budget_id="gold")

    answer = update(api, allowed_models=["m"], temp_budget_increase=1)

    assert answer.headers["x-keyledger-ignored-fields"] == "allowed_models,temp_budget_increase"


@pytest.mark.parametrize(("role", "expected"), BY_ROLE)
def test_a_tier_is_changed_by_proxy_admins(api: Api, services: Services, role: str, expected: int):
    new(api, budget_id="gold")
    key = add_person(api, services.database, "somebody", role)

    assert update(api, caller=key, max_budget=1).status == expected
    assert update(api, "nowhere", caller=key, max_budget=1).status == (404 if expected == 200 else expected)


def test_a_key_that_may_manage_changes_no_tier_and_learns_of_none(api: Api, services: Services):
    new(api, budget_id="gold")
    add_person(api, services.database, "somebody")
    key = api.generate(user_id="somebody", key_type="management")["key"]

    with unchanged(services.database):
        known, unknown = (update(api, name, caller=key, max_budget=1) for name in ("gold", "nowhere"))

    assert known.summary == (403, "auth_error", None)
    assert known.body == unknown.body


def test_the_audit_holds_the_fields_that_changed_before_and_after(api: Api, services: Services):
    new(api, budget_id="gold", max_budget=1, rpm_limit=1)

    api.post(
        "/budget/update",
        {"budget_id": "gold", "max_budget": 2, "rpm_limit": 1},
        headers={"litellm-changed-by": "eve"},
    )

    row = rows(services.database, audit)[-1]
    assert (row["action"], row["entity"], row["entity_id"], row["changed_by"]) == (
        "update",
        "budget",
        "gold",
        "eve",
    )
    assert (row["before"], row["after"]) == ({"max_budget": 1}, {"max_budget": 2})
