"""The reset job: whatever scope it is of, a window that has passed is moved once, and nothing keeps the others."""

from collections.abc import Callable, Mapping
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, text, update

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.spend import spend_of
from app.domain.windows import Calendar
from app.models import audit, budget_state, budgets, events, keys, rolled_windows
from app.services.accounts import account_rows, spends
from app.services.accounts.spellings import READERS
from app.services.accounts.windows import LOOKED_AT_AGAIN, due_at
from tests.api.calls import allowed, limit, refused, settle
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, on_one_store, rows
from tests.services.every_scope import (
    KEY,
    MODEL,
    ask,
    charge,
    copy,
    drop,
    fold,
    make,
    reset,
    spell,
    state,
    states,
    store,
)

DAY = timedelta(days=1)
UTC_DAYS = Calendar(ZoneInfo("UTC"), time(0))
BAD = "fortnightly"
WINDOWLESS = {"window_start": None, "reset_at": None, "windowless": True}
KINDS = tuple(READERS)
each_kind = pytest.mark.parametrize("kind", KINDS)
FURTHER_WINDOWS = {ScopeKind.KEY_WINDOW, ScopeKind.TEAM_WINDOW}
# Whatever hangs on the key goes with it.
OF_THE_KEY = {ScopeKind.KEY, ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW}

# A valid change of the budget, for each kind of scope.
CHANGES: Mapping[ScopeKind, Callable[[Scope], tuple[str, str, dict[str, Any]]]] = {
    ScopeKind.KEY: lambda _: ("POST", "/key/update", {"key": KEY, "budget_duration": "7d"}),
    ScopeKind.KEY_MODEL: lambda _: (
        "POST",
        "/key/update",
        {"key": KEY, "model_max_budget": {MODEL: {"budget_limit": 50, "time_period": "7d"}}},
    ),
    ScopeKind.KEY_WINDOW: lambda _: (
        "POST",
        "/key/update",
        {"key": KEY, "budget_limits": [{"budget_duration": "7d", "max_budget": 50}]},
    ),
    ScopeKind.TEAM: lambda _: ("POST", "/team/update", {"team_id": "t", "budget_duration": "7d"}),
    ScopeKind.TEAM_MODEL: lambda _: (
        "POST",
        "/team/update",
        {"team_id": "t", "model_max_budget": {MODEL: {"budget_limit": 50, "time_period": "7d"}}},
    ),
    ScopeKind.TEAM_WINDOW: lambda _: (
        "POST",
        "/team/update",
        {"team_id": "t", "budget_limits": [{"budget_duration": "7d", "max_budget": 50}]},
    ),
    ScopeKind.MEMBER: lambda _: ("POST", "/team/update", {"team_id": "t", "team_member_budget_duration": "7d"}),
    ScopeKind.USER: lambda _: ("POST", "/user/update", {"user_id": "u", "budget_duration": "7d"}),
    ScopeKind.USER_MODEL: lambda _: (
        "POST",
        "/user/update",
        {"user_id": "u", "model_max_budget": {MODEL: {"budget_limit": 50, "time_period": "7d"}}},
    ),
    ScopeKind.ORGANIZATION: lambda scope: (
        "PATCH",
        "/organization/update",
        {"organization_id": scope.id, "budget_duration": "7d"},
    ),
}


@pytest.fixture
def accounts(api: Api, services: Services) -> dict[ScopeKind, Scope]:
    """An account of every scope, in each of which three dollars were spent."""
    made = make(api)
    charge(api, 3)
    fold(services)
    assert {row["window_spend_nanos"] for row in states(services.database).values()} == {3 * NANOS}
    return made


def jobs(api: Api) -> dict[str, Any]:
    """What is told of the reset job."""
    (told,) = (job for job in api.get("/jobs").body["jobs"] if job["name"] == TaskName.RESET_BUDGETS)
    return told


# --- windows that have passed ------------------------------------------------------------------------------------


def test_a_passed_window_of_every_scope_is_moved_once_and_the_one_before_is_kept(
    services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    before = states(services.database)
    clock.advance(DAY)

    assert [reset(services) for _ in range(2)] == [len(KINDS), 0]

    after = states(services.database)
    assert set(accounts.values()) == after.keys() == before.keys()
    for scope, row in after.items():
        stored = before[scope]
        assert row == {
            **stored,
            "window_start": stored["reset_at"],
            "reset_at": stored["reset_at"] + DAY,
            "window_spend_nanos": 0,
            "previous_start": stored["window_start"],
            "previous_end": stored["reset_at"],
            "previous_spend_nanos": 3 * NANOS,
        }
        assert row["lifetime_spend_nanos"] == 3 * NANOS
    assert services.ledger_check.check(10).drifts == []


def test_a_batch_is_told_once_with_how_many_of_each_kind_it_has_moved(
    services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    copy(services.database, accounts[ScopeKind.TEAM], 2)
    clock.advance(DAY)
    reset(services)

    (told,) = rows(services.database, events, kind="budget_reset")
    (recorded,) = rows(services.database, audit, action="reset")
    counts = {kind.value: 3 if kind is ScopeKind.TEAM else 1 for kind in KINDS}
    window = state(services.database, accounts[ScopeKind.KEY])
    bounds = {"start": iso(window["window_start"]), "end": iso(window["reset_at"])}
    assert told["payload"] == {"scopes": counts, "windows": [{**bounds, "scopes": counts}]}
    assert (recorded["after"], recorded["entity_id"]) == (told["payload"], told["entity_id"])


@each_kind
def test_a_window_without_an_end_is_due_whatever_it_is_of(
    services: Services, accounts: dict[ScopeKind, Scope], kind: ScopeKind
):
    before = state(services.database, accounts[kind])
    store(services.database, accounts[kind], reset_at=None, window_start=None)

    assert [reset(services) for _ in range(2)] == [1, 0]

    after = state(services.database, accounts[kind])
    assert (after["window_start"], after["reset_at"]) == (before["window_start"], before["reset_at"])


def test_the_spelling_of_a_model_is_the_tiers_where_the_key_has_none_of_its_own(
    api: Api, services: Services, clock: MovableClock
):
    of_tier = {MODEL: {"budget_limit": 50, "time_period": "1d"}, "o3": {"budget_limit": 50, "time_period": "1d"}}
    api.post("/budget/new", {"budget_id": "b", "model_max_budget": of_tier})
    made = api.generate(
        key=KEY, budget_id="b", model_max_budget={"o3": {"budget_limit": 50, "time_period": "30d"}}
    )
    for model in (MODEL, "o3"):
        api.post("/key/settle", {"key": KEY, "request_id": model, "model": model, "cost": 1})
    fold(services)
    clock.advance(DAY)

    assert reset(services) == 1

    spent = {
        row["sub"]: row["window_spend_nanos"] for row in rows(services.database, budget_state, scope="key_model")
    }
    assert spent == {MODEL: 0, "o3": NANOS}
    assert made["key_id"] in {row["scope_id"] for row in rows(services.database, budget_state)}


# --- what cannot be computed -------------------------------------------------------------------------------------


@each_kind
def test_a_spelling_that_cannot_be_computed_is_parked_with_its_reason_until_the_budget_is_changed(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], kind: ScopeKind
):
    bad = spell(services.database, accounts[kind], BAD)
    clock.advance(DAY)

    assert [reset(services) for _ in range(2)] == [len(KINDS) - 1, 0]

    parked = jobs(api)
    assert (parked["parked_rows"], parked["last_parked_rows"]) == (1, 0)
    (told,) = parked["parked"]
    reason = told.pop("reason")
    assert told == {
        "scope": kind.value,
        "scope_id": bad.id,
        "sub": bad.sub,
        "parked_at": iso(clock.now()),
    }
    assert reason.startswith(f"'{BAD}': Use a format like")
    assert state(services.database, bad)["window_spend_nanos"] == 3 * NANOS

    method, path, body = CHANGES[kind](bad)
    assert api.call(method, path, json=body).status == 200

    assert (jobs(api)["parked_rows"], jobs(api)["parked"]) == (0, [])
    row = state(services.database, bad)
    assert (row["parked_at"], row["parked_reason"]) == (None, None)
    clock.advance(timedelta(days=7))
    reset(services)
    row = state(services.database, bad)
    # The further window is another one, by its spelling; of the former nothing is left to be moved.
    further = kind in FURTHER_WINDOWS
    assert row["windowless"] if further else row["reset_at"] > clock.now()
    assert (row["window_spend_nanos"], row["lifetime_spend_nanos"]) == (3 * NANOS if further else 0, 3 * NANOS)


@each_kind
@on_one_store
def test_a_window_that_cannot_be_computed_counts_on_in_every_number(
    services: Services,
    elsewhere: Services,
    clock: MovableClock,
    accounts: dict[ScopeKind, Scope],
    kind: ScopeKind,
):
    gateway = Api(app_over(elsewhere))
    bad = spell(services.database, accounts[kind], BAD)
    clock.advance(DAY)
    assert read(services, bad) == (3 * NANOS, 3 * NANOS)
    for cost, work in enumerate((fold, reset, fold, reset), start=1):
        charge(gateway, cost)
        spent = (3 + sum(range(cost + 1))) * NANOS
        assert read(services, bad) == (spent, spent)
        work(services)
        assert read(services, bad) == (spent, spent)
        # Of a further window the account has another name by now than in the ledger.
        assert kind in FURTHER_WINDOWS or services.ledger_check.check(10).drifts == []
        clock.advance(DAY)


@pytest.mark.parametrize("rolls", [False, True])
def test_a_hard_budget_stays_hard_while_its_window_is_parked(
    api: Api, services: Services, elsewhere: Services, clock: MovableClock, rolls: bool
):
    key = api.generate(max_budget=2, budget_duration="1d", budget_rollover=rolls)["key"]
    settle(api, allowed(api, key), 1)
    fold(services)
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values(budget_duration=BAD))
    clock.advance(DAY)
    gateway = Api(app_over(elsewhere))

    for spent, work in ((1.25, fold), (1.5, reset), (1.75, fold), (2, fold)):
        settle(gateway, allowed(gateway, key, 0.25), 0.25)
        work(services)
        explained = gateway.post("/key/explain", {"key": key, "estimate": {"cost": 0.25}}).body
        assert (gateway.info(key)["spend"], limit(explained, "key")["used"]) == (spent, spent)
    assert limit(refused(gateway, key, 0.25), "key")["used"] == 2
    assert gateway.get("/key/list", return_full_object=True).body["keys"][0]["spend"] == 2
    assert gateway.info(key)["budget_reset_at"] is None

    assert gateway.post("/key/update", {"key": key, "budget_duration": "7d"}).status == 200
    assert gateway.info(key)["spend"] == 2
    clock.advance(7 * DAY)
    assert gateway.info(key)["spend"] == 0
    assert services.ledger_check.check(10).drifts == []


UNREADABLE: Mapping[str, Any] = {
    "cap of text": {MODEL: {"budget_limit": "x", "time_period": "1d"}},
    "cap below zero": {MODEL: {"budget_limit": -1, "time_period": "1d"}},
    "period of a number": {MODEL: {"budget_limit": 1, "time_period": 30}},
    "period of a list": {MODEL: {"budget_limit": 1, "time_period": ["1d"]}},
    "entry of nothing": {MODEL: None},
    "window without a cap": [{"budget_duration": "1d"}],
}


@on_one_store
@pytest.mark.parametrize("entries", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_parked_and_keeps_no_other_until_it_is_changed(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], entries: Any
):
    kind, column = ScopeKind.KEY_MODEL, "model_max_budget"
    if isinstance(entries, list):
        kind, column = ScopeKind.KEY_WINDOW, "budget_limits"
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values({column: entries}))
    clock.advance(DAY)

    assert [reset(services) for _ in range(2)] == [len(KINDS) - 1, 0]

    (told,) = jobs(api)["parked"]
    assert (told["scope"], told["scope_id"]) == (kind.value, accounts[kind].id)
    assert told["reason"].startswith(column)
    assert state(services.database, accounts[kind])["window_spend_nanos"] == 3 * NANOS
    method, path, body = CHANGES[kind](accounts[kind])
    assert api.call(method, path, json=body).status == 200
    assert jobs(api)["parked_rows"] == 0


def test_what_is_parked_is_looked_at_again_in_turn_and_written_to_only_where_its_reason_is_gone(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    team = accounts[ScopeKind.TEAM]
    spell(services.database, team, BAD)
    copy(services.database, team, LOOKED_AT_AGAIN + 50)
    last, other = (Scope(ScopeKind.TEAM, f"team {n}") for n in (99, 98))
    clock.advance(DAY)
    assert reset(services) == len(KINDS) - 1
    stays = states(services.database)

    for _ in range(3):
        with statements(services.database) as sent:
            assert reset(services) == 0
        assert not [each for each in sent if each.startswith("UPDATE")]
        assert len(sent) == 3, "what is there, the spellings of teams, and the record"
    assert states(services.database) == stays

    spell(services.database, last, "1d")
    spell(services.database, other, "weekday")
    store(services.database, accounts[ScopeKind.USER], reset_at=clock.now())
    # What is due does not wait for those before it that stay.
    assert reset(services) >= 1
    assert state(services.database, accounts[ScopeKind.USER])["reset_at"] > clock.now()
    reset(services)

    now = states(services.database)
    assert (now[last]["parked_at"], now[last]["parked_reason"]) == (None, None)
    assert (now[last]["window_start"], now[last]["window_spend_nanos"]) == (stays[last]["window_start"] + DAY, 0)
    assert now[other] == {**stays[other], "parked_reason": now[other]["parked_reason"]}
    assert now[other]["parked_reason"].startswith("'weekday'")
    untouched = [scope for scope in stays if scope.kind is ScopeKind.TEAM and scope not in {last, other}]
    assert [now[scope] for scope in untouched] == [stays[scope] for scope in untouched]
    assert jobs(api)["parked_rows"] == LOOKED_AT_AGAIN + 50


@on_one_store
def test_late_charges_by_a_spelling_that_cannot_be_computed_any_more_are_folded_like_others(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    held = ask(api, "/key/verify", {"key": KEY, "model": MODEL, "estimate": {"cost": 1}}).body
    own = accounts[ScopeKind.KEY]
    kept = {**account_rows.names(own), "window_start": state(services.database, own)["window_start"]}
    with services.database.transaction() as transaction:
        transaction.execute(insert(rolled_windows).values(**kept, used_nanos=3 * NANOS, cap_nanos=NANOS))
    clock.advance(DAY)
    reset(services)
    store(services.database, own, rolled_by="1d No/Where")
    assert ask(api, "/key/settle", {"reservation_id": held["reservation_id"], "cost": 1}).status == 200
    waiting = api.info(KEY)["spend"]

    fold(services)

    assert {row["lifetime_spend_nanos"] for row in states(services.database).values()} == {4 * NANOS}
    assert waiting == api.info(KEY)["spend"] == 0


@on_one_store
@pytest.mark.parametrize(
    "limits", [[None], [{"max_budget": 5}], [{"budget_duration": ["1d"], "max_budget": 5}], {}]
)
def test_a_window_that_says_no_length_is_none_and_keeps_no_other(
    services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], limits: Any
):
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values(budget_limits=limits))
    clock.advance(DAY)

    assert [reset(services) for _ in range(2)] == [len(KINDS), 0]

    assert state(services.database, accounts[ScopeKind.KEY_WINDOW])["windowless"]


@on_one_store
def test_of_many_that_are_parked_the_first_few_are_named(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    spell(services.database, accounts[ScopeKind.TEAM], BAD)
    copy(services.database, accounts[ScopeKind.TEAM], 8)
    clock.advance(DAY)
    reset(services)

    told = jobs(api)

    assert (told["parked_rows"], told["last_parked_rows"]) == (9, 9)
    assert [row["scope_id"] for row in told["parked"]] == ["t", *(f"team {n}" for n in range(4))]


@pytest.fixture
def of_tier(api: Api, services: Services) -> dict[str, Scope]:
    """Accounts for two models, of which a key has the one budget from its tier and the other for itself."""
    budgets = {model: {"budget_limit": 50, "time_period": "1d"} for model in (MODEL, "o3")}
    api.post("/budget/new", {"budget_id": "b", "model_max_budget": budgets})
    made = api.generate(key=KEY, budget_id="b", model_max_budget={"o3": budgets["o3"]})
    for model in budgets:
        api.post("/key/settle", {"key": KEY, "request_id": model, "model": model, "cost": 1})
    fold(services)
    return {model: Scope(ScopeKind.KEY_MODEL, made["key_id"], model) for model in budgets}


def change_tier(api: Api, **periods: str | None) -> None:
    """Give the tier's budgets for both models other windows."""
    named = {MODEL: periods["shared"], "o3": periods["other"]}
    budgets = {
        model: {"budget_limit": 50} | ({} if period is None else {"time_period": period})
        for model, period in named.items()
    }
    assert api.post("/budget/update", {"budget_id": "b", "model_max_budget": budgets}).status == 200


def test_a_change_of_a_tiers_budget_for_a_model_unparks_the_accounts_that_run_by_it(
    api: Api, services: Services, clock: MovableClock, of_tier: dict[str, Scope]
):
    with services.database.transaction() as transaction:
        bad = {MODEL: {"budget_limit": 50, "time_period": BAD}}
        transaction.execute(update(budgets).values(model_max_budget=bad))
    clock.advance(DAY)
    moved = reset(services)
    parked = jobs(api)

    change_tier(api, shared="7d", other="30d")

    assert (moved, parked["parked_rows"], jobs(api)["parked_rows"]) == (1, 1, 0)
    clock.advance(timedelta(days=7))
    assert reset(services) == 2
    ends = {model: state(services.database, scope)["reset_at"] for model, scope in of_tier.items()}
    assert ends[MODEL] > ends["o3"] > clock.now(), "what is the key's own runs by that"
    assert services.ledger_check.check(10).drifts == []


def test_the_end_of_a_tier_unparks_the_accounts_that_ran_by_its_budget_for_a_model(
    api: Api, services: Services, clock: MovableClock, of_tier: dict[str, Scope]
):
    store(services.database, of_tier[MODEL], parked_at=clock.now(), parked_reason="for a test")

    assert api.post("/budget/delete", {"id": "b"}).status == 200

    assert jobs(api)["parked_rows"] == 0
    assert state(services.database, of_tier[MODEL])["windowless"]
    assert reset(services) == 0


def test_a_tier_that_takes_the_window_of_a_model_off_leaves_what_was_spent(
    api: Api, services: Services, of_tier: dict[str, Scope]
):
    own = state(services.database, of_tier["o3"])

    change_tier(api, shared=None, other="30d")

    assert read(services, of_tier[MODEL]) == (NANOS, NANOS)
    assert state(services.database, of_tier[MODEL])["windowless"]
    assert state(services.database, of_tier["o3"]) == own
    assert services.ledger_check.check(10).drifts == []


# --- what has no window any more ---------------------------------------------------------------------------------


@each_kind
def test_a_window_whose_owner_is_gone_is_closed_and_not_looked_at_again(
    services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], kind: ScopeKind
):
    drop(services.database, accounts[kind])
    clock.advance(DAY)

    assert reset(services) == len(KINDS)

    for scope in (accounts[of] for of in (OF_THE_KEY if kind in OF_THE_KEY else {kind})):
        row = state(services.database, scope)
        assert (row["window_start"], row["reset_at"], row["windowless"]) == (None, None, True)
        assert (row["window_spend_nanos"], row["lifetime_spend_nanos"]) == (3 * NANOS, 3 * NANOS)
    with statements(services.database) as sent:
        assert reset(services) == 0
    assert len(sent) == 2, "what is due, and the record of the run"
    assert services.ledger_check.check(10).drifts == []


@each_kind
def test_an_account_that_has_lost_its_window_reads_as_before_once_it_is_closed(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], kind: ScopeKind
):
    scope = accounts[kind]
    charge(api, 2)
    spell(services.database, scope, None)
    clock.advance(DAY)
    both = (5 * NANOS, 5 * NANOS)
    assert read(services, scope) == both

    reset(services)

    assert read(services, scope) == both
    assert services.ledger_check.check(10).drifts == []
    fold(services)
    assert read(services, scope) == both
    assert services.ledger_check.check(10).drifts == []


def read(services: Services, scope: Scope) -> tuple[int | None, int]:
    """What is spent without a window: as it is decided by, and as it is shown."""
    with services.database.read() as connection:
        armed_at = state(services.database, scope)["armed_at"]
        (decided,) = spends.current(connection, [Account(scope, None, armed_at)], UTC_DAYS)
        row = (
            connection.execute(
                select(*spends.account_columns()).where(
                    budget_state.c.scope == scope.kind.value,
                    budget_state.c.scope_id == scope.id,
                    budget_state.c.sub == scope.sub,
                )
            )
            .mappings()
            .one()
        )
        shown = spend_of(spends.account_part(row), Terms(), UTC_DAYS, services.clock.now())
    return decided, shown.window_nanos


def test_a_window_that_is_taken_off_leaves_nothing_that_is_due(
    api: Api, services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope]
):
    clock.advance(DAY)
    reset(services)
    for body in ({"budget_duration": None}, {"model_max_budget": {MODEL: {"budget_limit": 50}}}):
        assert api.post("/key/update", {"key": KEY, **body}).status == 200
    armed = states(services.database)

    assert reset(services) == 0

    assert states(services.database) == armed
    assert {scope.kind for scope, row in armed.items() if row["windowless"]} == {
        ScopeKind.KEY,
        ScopeKind.KEY_MODEL,
    }
    # And comes again.
    assert api.post("/key/update", {"key": KEY, "budget_duration": "1d"}).status == 200
    assert not state(services.database, accounts[ScopeKind.KEY])["windowless"]


# --- cost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 40])
def test_a_batch_costs_one_statement_for_each_kind_of_scope_however_many_rows_it_has(
    services: Services, clock: MovableClock, accounts: dict[ScopeKind, Scope], count: int
):
    for scope in accounts.values():
        copy(services.database, scope, count - 1)
    clock.advance(DAY)

    with statements(services.database) as sent:
        assert reset(services) == count * len(KINDS)

    # What is due, the spellings (the further kinds of a holder have theirs in one place), move, audit, tell, record.
    assert len(sent) == 1 + len(set(READERS.values())) + 4


def test_what_is_due_is_found_by_the_index_that_holds_nothing_else(
    services: Services, accounts: dict[ScopeKind, Scope]
):
    for scope in accounts.values():
        copy(services.database, scope, 50)
    plans = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}
    with services.database.transaction() as transaction:
        asked = due_at(transaction, services.clock.now(), 500, (services.clock.now(), "team", "t", ""))
        transaction.execute(update(budget_state).where(budget_state.c.scope != "key").values(WINDOWLESS))
        dialect = transaction.dialect
        if dialect.name == "postgresql":
            transaction.execute(text("ANALYZE budget_state"))
            transaction.execute(text("SET LOCAL enable_seqscan = off"))
        written = str(asked.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        plan = transaction.exec_driver_sql(plans[dialect.name] + written.replace("%%", "%"))
        lines = [str(line) for line in plan.all()]

    assert len([line for line in lines if "ix_budget_state_due" in line]) == 2, lines
    assert len([line for line in lines if "ix_budget_state_parked" in line]) == 1, lines
    assert not [line for line in lines if "ix_budget_state_reset_at" in line or "TEMP B-TREE" in line], lines


def test_nothing_due_is_one_statement(services: Services, accounts: dict[ScopeKind, Scope]):
    with statements(services.database) as sent:
        assert reset(services) == 0

    assert len(sent) == 2, "and the record of the run"
