"""What an import or a hand has left in the store, and cannot be read, keeps no job from all that can."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.models import (
    budget_state,
    daily_label_spend,
    events,
    keys,
    ledger,
    ledger_unfolded,
)
from app.services.ledger.folding import BEYOND_MONEY, BEYOND_NANOS, UNKNOWN_SCOPE
from tests.api.calls import allowed, settle
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import JOBS, NANOS, charge, copy_key, rows

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
HIGHEST = 2**63 - 1


def increase(amount: Any, until: Any = "9999-12-31T23:59:59Z") -> dict[str, Any]:
    return {"metadata": {"temp_budget_increase": amount, "temp_budget_expiry": until}}


def limit(**said: Any) -> dict[str, Any]:
    return {"budget_limits": [{"budget_duration": "1d", "max_budget": 5, **said}]}


# Of a key each, and what it is told by all the same.
KEYS: tuple[Mapping[str, Any], ...] = (
    {"metadata": []},
    {"metadata": "none"},
    {"metadata": 7},
    {"metadata": text("'null'")},
    increase("x"),
    increase([1]),
    increase(-1),
    increase(2**62),
    increase(1, "soon"),
    increase(1, 1),
    increase(1, "2026-01-01T00:00:00"),
    {"metadata": {"max_budget_alert_emails": ["50"]}},
    {"metadata": {"max_budget_alert_emails": {"50": 5, "x": None}}},
    {"metadata": {"tags": "a", "policies": "p", "logging": ["langfuse", None]}},
    {"permissions": ["x"], "aliases": "a", "config": 5, "budget_fallbacks": []},
    {"budget_limits": ["1d", None]},
    {"budget_limits": 5},
    {"budget_limits": {"1d": 5}},
    limit(budget_duration=None),
    limit(budget_duration=["1d"]),
    limit(armed_at="then"),
    limit(armed_at=5),
    limit(armed_at="2026-01-01T00:00:00"),
    limit(armed_at=iso(LAST)),
    {"model_max_budget": ["gpt-4o"]},
    {"model_max_budget": {"gpt-4o": "5", "o3": None}},
    {"budget_duration": "fortnightly"},
    {"budget_duration": ""},
    {"max_budget_nanos": -1, "soft_budget_nanos": -1},
    {"soft_budget_nanos": HIGHEST},
    {"models": {}, "allowed_routes": "all"},
    {"rotation_interval": "soon"},
    {"rotation_interval": "9999y"},
    {"rotation_interval": None},
    {"key_type": "unheard of", "user_id": "nobody", "team_id": "none"},
    {"created_at": LAST},
)
# Of the account of a key each.
ACCOUNTS: tuple[Mapping[str, Any], ...] = (
    {"lifetime_spend_nanos": HIGHEST, "window_spend_nanos": HIGHEST, "previous_spend_nanos": HIGHEST},
    {"armed_at": LAST},
    {"armed_at": FIRST, "window_start": FIRST, "reset_at": LAST},
    {"window_start": LAST, "reset_at": FIRST},
    {"rolled_by": "fortnightly"},
)
# What is told of a key to which all happens that a job does.
TOLD = ("key_expiring", "key_expired", "increase_ended", "grace_ended", "rotation_cancelled")


@pytest.fixture
def due(api: Api, services: Services, clock: MovableClock) -> list[str]:
    """Keys for which every job has something to do, of all but the first a part cannot be read; their ids."""
    made = api.generate(duration="3d", max_budget=1, budget_duration="1d")
    settle(api, allowed(api, made["key"], 0.5), 0.5)
    api.post("/key/regenerate", {"key": made["key"], "grace_period": "1h"})
    with services.database.transaction() as transaction:
        rotates = {"auto_rotate": True, "rotation_interval": "30d", "key_rotation_at": clock.now()}
        transaction.execute(update(keys).values(increase_ends_at=clock.now(), **rotates))
    poisons = [
        *((keys, "key_id", each) for each in KEYS),
        *((budget_state, "scope_id", each) for each in ACCOUNTS),
    ]
    copy_key(services.database, made["key_id"], len(poisons))
    ids = [made["key_id"], *(f"copy {n}" for n in range(len(poisons)))]
    with services.database.transaction() as transaction:
        for key_id, (table, owner, columns) in zip(ids[1:], poisons, strict=True):
            transaction.execute(update(table).where(table.c[owner] == key_id).values(**columns))
    add_waiting(services, *(charge(key_id, 0.4, clock.now(), recorded_at=clock.now()) for key_id in ids))
    return ids


def add_waiting(services: Services, *charges: Mapping[str, Any], scope: str = "key", **waiting: Any) -> None:
    """Charges in the ledger that are not folded yet, each waiting for one account."""
    with services.database.transaction() as transaction:
        for each in charges:
            ledger_id = transaction.execute(insert(ledger).values(**each)).inserted_primary_key[0]
            columns = {"scope_id": each["key_id"], "sub": "", "amount_nanos": each["amount_nanos"], **waiting}
            transaction.execute(
                insert(ledger_unfolded).values(
                    ledger_id=ledger_id, scope=scope, occurred_at=each["occurred_at"], **columns
                )
            )


def run(services: Services, *names: TaskName) -> dict[str, str]:
    """The jobs that fail, and how."""
    failed = {}
    for name in names:
        try:
            services.jobs.run(name, lambda: True)
        except Exception as error:  # noqa: BLE001 - all of them are to be seen at once
            failed[name.value] = repr(error)
    return failed


def told(services: Services, kind: str) -> set[str]:
    return {row["entity_id"] for row in rows(services.database, events, kind=kind)}


def test_a_key_of_which_a_part_cannot_be_read_is_dealt_with_by_every_job_and_keeps_no_other(
    services: Services, clock: MovableClock, due: list[str]
):
    # Before the windows pass, and some days on, once the keys have expired.
    assert run(services, TaskName.FOLD_LEDGER) == {}
    clock.advance(timedelta(days=2, hours=1))
    assert run(services, *(job for job in JOBS if job != TaskName.EXPIRE_KEYS)) == {}
    clock.advance(timedelta(days=1))
    assert run(services, *JOBS) == {}

    assert {kind: set(due) - told(services, kind) for kind in TOLD} == {kind: set() for kind in TOLD}
    assert due[0] in told(services, "threshold_crossed")
    spent = {row["scope_id"]: row["lifetime_spend_nanos"] for row in rows(services.database, budget_state)}
    assert spent.pop(f"copy {len(KEYS)}") == HIGHEST, "as much as the column takes"
    assert spent.pop(due[0]) == 9 * NANOS // 10
    assert set(spent.values()) == {4 * NANOS // 10}


SCOPES: tuple[Any, ...] = (None, "key", 5, {}, [None], [["key"]], [["galaxy", "g", ""]], [[1, 2, 3]])
TAGS: tuple[Any, ...] = ("a", 5, {"a": 1}, [1, None, "kept"])
WAITING: tuple[tuple[str, int], ...] = (("galaxy", NANOS), ("key", BEYOND_NANOS + 1), ("key", -HIGHEST))


def test_a_charge_that_cannot_be_read_keeps_no_other_from_being_folded_and_shows_as_parked(
    api: Api, services: Services, clock: MovableClock
):
    made = api.generate(max_budget=1)
    of_key = made["key_id"]
    odd = [
        *(charge(of_key, 0, START, scopes=each) for each in SCOPES if each is not None),
        charge(of_key, 0, START, scopes=text("'null'")),
        *(charge(of_key, 0, START, tags=each, model="m") for each in TAGS),
    ]
    add_waiting(services, *odd)
    for n, (scope, amount) in enumerate(WAITING):
        add_waiting(services, charge(of_key, 0, START), scope=scope, scope_id=f"{n}", amount_nanos=amount)
    settle(api, allowed(api, made["key"], 0.5), 0.5)

    assert run(services, TaskName.FOLD_LEDGER, TaskName.FOLD_LEDGER) == {}

    assert len(rows(services.database, ledger_unfolded)) == len(WAITING)
    assert {row["name"] for row in rows(services.database, daily_label_spend)} == {"kept"}
    (job,) = (job for job in api.get("/jobs").body["jobs"] if job["name"] == TaskName.FOLD_LEDGER)
    reasons = {row["scope_id"]: row["reason"] for row in job["parked"]}
    assert (job["parked_rows"], reasons) == (3, {"0": UNKNOWN_SCOPE, "1": BEYOND_MONEY, "2": BEYOND_MONEY})
    (state,) = rows(services.database, budget_state)
    assert (state["scope_id"], state["lifetime_spend_nanos"]) == (of_key, NANOS // 2)
    assert api.info(made["key"])["spend"] == 0.5
