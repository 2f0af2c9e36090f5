"""A world in which everything that time does is about to come, and the state in which it is left by that.

All instants of a state are told from the world's origin, and what is made at random goes by other names: so the
states of two worlds are equal where the same has become of both.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.domain.scopes import ScopeKind
from app.models import budget_state, keys, organizations, teams
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import JOBS, everything, rows
from tests.faults.gateways import books, open_holds
from tests.services import every_scope
from tests.services.due import Stored

BAD = "fortnightly"
LEASE = timedelta(minutes=10)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# When something ends, after an origin in the early afternoon; eleven hours later it is the next day.
ENDS = (LEASE, 5 * HOUR, 6 * HOUR, 8 * HOUR, 11 * HOUR, DAY)
# These tell when it was noticed, and not what has become so.
_NOTICED = {"at", "created_at", "recorded_at", "updated_at", "routed_at", "parked_at", "expiry_recorded_at"}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_KEYS = ("expiring", "raised", "rotated", "noticed", "crossing", "holding")


@dataclass(frozen=True)
class World:
    """What was made, when, and all that was stored then."""

    origin: datetime
    made: Stored


def make(services: Services, clock: MovableClock) -> World:
    """Make it in an empty store, at the instant of the clock."""
    api, origin = Api(app_over(services)), clock.now()
    accounts = every_scope.make(api)
    every_scope.charge(api, 3)
    every_scope.fold(services)
    every_scope.spell(services.database, accounts[ScopeKind.USER], BAD)
    made = {alias: api.generate(key=_secret(alias), key_alias=alias, **_LIMITS.get(alias, {})) for alias in _KEYS}
    for path, body in (
        (
            "/key/update",
            {
                "key": made["raised"]["key"],
                "temp_budget_increase": 5,
                "temp_budget_expiry": iso(origin + 5 * HOUR),
            },
        ),
        (
            "/key/regenerate",
            {"key": made["rotated"]["key"], "new_key": _secret("renewed"), "grace_period": "6h"},
        ),
    ):
        answer = api.post(path, body)
        assert answer.status == 200, answer
    # Nobody settles this one: its lease is all that ends it.
    held = every_scope.ask(
        api,
        "/key/verify",
        {
            "key": made["holding"]["key"],
            "estimate": {"cost": 2},
            "request_id": "forgotten",
            "lease_seconds": LEASE.total_seconds(),
        },
    )
    assert held.body.get("allowed"), held
    # What waits to be folded: more of every account, and a threshold that is crossed by it.
    every_scope.charge(api, 1)
    spent = api.post(
        "/key/settle", {"key": made["crossing"]["key"], "request_id": "crossing", "model": "gpt-4o", "cost": 9}
    )
    assert spent.status == 200, spent
    return World(origin, everything(services.database))


_LIMITS: Mapping[str, dict[str, Any]] = {
    "expiring": {"duration": "8h"},
    "raised": {"max_budget": 1, "metadata": {"app": "ü"}},
    "noticed": {"duration": "8d"},
    "crossing": {"max_budget": 10, "budget_duration": "1d"},
    "holding": {"max_budget": 10},
}


def _secret(name: str) -> str:
    return f"sk-{name}-of-the-due-world-0123456789"


def run_all(services: Services) -> None:
    """Every job, until nothing is left to it; then whatever they tell is delivered."""
    for job in (*JOBS, TaskName.DELIVER):
        services.jobs.run(job, lambda: True)


# --- the state -----------------------------------------------------------------------------------------------------


def state(services: Services, world: World) -> dict[str, Any]:
    """What has become of it, in names and instants that two worlds have in common."""
    stored, told = everything(services.database), _Told(services, world)
    kept = {
        name: told.rows(table)
        for name, table in stored.items()
        if name not in {"audit", "events", "job_runs", "daily_spend", "ledger", "ledger_unfolded"}
    }
    new = {name: [row for row in stored[name] if row not in world.made[name]] for name in ("audit", "events")}
    known = {row["event_id"] for row in world.made["events"]}
    return {
        **kept,
        "unfolded": len(stored["ledger_unfolded"]),
        "ledger": told.rows([{**row, "ledger_id": None, "request_id": None} for row in stored["ledger"]]),
        "daily_spend": told.rows([{**row, "day": None} for row in stored["daily_spend"]]),
        "audit": told.rows([{**row, "audit_id": None} for row in new["audit"] if row["action"] != "reset"]),
        "events": told.rows(
            [
                {**row, "event_id": None}
                for row in new["events"]
                if row["event_id"] not in known and row["kind"] not in {"budget_reset", "job_silent"}
            ]
        ),
        "moved": told.moves([row["after"] for row in new["audit"] if row["action"] == "reset"]),
        "told of moves": told.moves([row["payload"] for row in new["events"] if row["kind"] == "budget_reset"]),
        "jobs": {row["name"]: (row["failures"], row["last_error"]) for row in stored["job_runs"]},
        "holds": open_holds(services),
        "off": _off(services),
    }


class _Told:
    """How one world is told."""

    def __init__(self, services: Services, world: World) -> None:
        self._origin = world.origin
        names: dict[str, str] = {}
        for row in rows(services.database, keys):
            names[row["key_id"]] = f"key {row['key_alias']}"
        for row in rows(services.database, organizations):
            names[row["organization_id"]], names[row["budget_id"]] = "organization", "budget of organization"
        for row in rows(services.database, teams):
            names[row["member_budget_id"]] = "budget of members"
        self._names = names

    def rows(self, table: list[dict[str, Any]]) -> list[str]:
        """The rows in no order, each as one text."""
        return sorted(self._text(row) for row in table)

    def moves(self, batches: list[dict[str, Any]]) -> dict[str, int]:
        """How many accounts of each kind came into each window, in whatever batches."""
        counted: Counter[str] = Counter()
        for batch in batches:
            for window in batch["windows"]:
                for kind, count in window["scopes"].items():
                    counted[self._text({"start": window["start"], "end": window["end"], "of": kind})] += count
        return dict(counted)

    def _text(self, row: Mapping[str, Any]) -> str:
        told = {name: (value is not None) if name in _NOTICED else value for name, value in row.items()}
        text = json.dumps(told, default=self._instant, sort_keys=True, ensure_ascii=False)
        for random, name in self._names.items():
            text = text.replace(random, name)
        return _INSTANT.sub(lambda found: self._instant(datetime.fromisoformat(found[0])), text)

    def _instant(self, instant: datetime) -> str:
        return f"{(instant - self._origin).total_seconds():+.6f} s"


def _off(services: Services) -> dict[str, Any]:
    """The counters in Redis that are not what SQL says, and the accounts that are not what the ledger says."""
    ids = {row["scope_id"] for row in rows(services.database, budget_state)}
    counters = {str(scope): b for scope, b in books(services, ids).items() if b.held or b.used != b.spent}
    return {"counters": counters, "drifts": services.ledger_check.check(10).drifts}
