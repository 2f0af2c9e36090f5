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
from app.domain.event_kinds import NEW_SECRET
from app.domain.scopes import ScopeKind
from app.models import budget_state, events, key_secrets, keys, organizations, teams
from app.services.events import delivery
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import JOBS, add_user, everything, rows
from tests.faults.gateways import books, open_holds
from tests.integrations.mailboxes import Mailbox
from tests.services import every_scope
from tests.services.due import Stored
from tests.services.rotating import BOB, digest, secret_in

BAD = "fortnightly"
LEASE = timedelta(minutes=10)
HOUR, DAY, MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
# Once within all that a test lets go by; by the minutes it coincides with nothing else.
ROTATION = timedelta(hours=20, minutes=7)
# Longer than a delivery that was begun keeps others from its target.
REST = timedelta(minutes=10)
# When something ends, after an origin in the early afternoon; eleven hours later it is the next day.
ENDS = (LEASE, 5 * HOUR, 6 * HOUR, 8 * HOUR, 11 * HOUR, ROTATION, DAY)
# These tell when it was noticed, and not what has become so.
_NOTICED = {
    *("at", "created_at", "recorded_at", "updated_at", "routed_at", "parked_at", "expiry_recorded_at"),
    *("happened_at", "delivered_at", "last_delivered_at"),
}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_ROTATING = ("arrived", "rotating")
_KEYS = ("expiring", "raised", "rotated", "noticed", "crossing", "holding")


@dataclass(frozen=True)
class World:
    """What was made, when, all that was stored then, and where new secrets arrive."""

    origin: datetime
    made: Stored
    mailbox: Mailbox


def make(services: Services, clock: MovableClock, mailbox: Mailbox) -> World:
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
    _rotate(api, services, clock)
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
    return World(origin, everything(services.database), mailbox)


_LIMITS: Mapping[str, dict[str, Any]] = {
    "expiring": {"duration": "8h"},
    "raised": {"max_budget": 1, "metadata": {"app": "ü"}},
    "noticed": {"duration": "8d"},
    "crossing": {"max_budget": 10, "budget_duration": "1d"},
    "holding": {"max_budget": 10},
}


def _secret(name: str) -> str:
    return f"sk-{name}-of-the-due-world-0123456789"


def _rotate(api: Api, services: Services, clock: MovableClock) -> None:
    """A key whose rotation is yet to come, and one whose new secret has arrived; nobody has noted that."""
    origin = clock.now()
    with services.database.transaction() as transaction:
        delivery.confirm(transaction, ["mail"], origin)
    add_user(services.database, "bob", user_email=BOB)
    for alias, made_at, interval in (
        ("arrived", origin - MONTH, MONTH),
        ("rotating", origin, ROTATION),
    ):
        clock.set(made_at)
        every = f"{interval // timedelta(minutes=1)}m"
        api.generate(key=_secret(alias), key_alias=alias, user_id="bob", auto_rotate=True, rotation_interval=every)
    for job in (TaskName.ROTATE_KEYS, TaskName.DELIVER):
        services.jobs.run(job, lambda: True)


def run_all(services: Services) -> None:
    """Every job, until nothing is left to it; then whatever they tell is delivered, and what arrives noted."""
    for job in (*JOBS, TaskName.DELIVER, TaskName.ROTATE_KEYS, TaskName.DELIVER):
        services.jobs.run(job, lambda: True)


# --- the state -----------------------------------------------------------------------------------------------------


def state(services: Services, world: World) -> dict[str, Any]:
    """What has become of it, in names and instants that two worlds have in common."""
    stored, told = everything(services.database), _Told(services, world)
    kept = {
        name: told.rows(table)
        for name, table in stored.items()
        if name not in {"audit", "deliveries", "events", "job_runs", "daily_spend", "ledger", "ledger_unfolded"}
    }
    new = {name: [row for row in stored[name] if row not in world.made[name]] for name in ("audit", "events")}
    known = {row["event_id"] for row in world.made["events"]}
    return {
        **kept,
        "deliveries": told.rows([{**row, "delivery_id": None, "attempts": None} for row in stored["deliveries"]]),
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
        # The grace of a secret begins when a job notes that the next one has arrived.
        self._counted: dict[datetime, str] = {}
        aliases: dict[str, str] = {}
        for row in rows(services.database, keys):
            aliases[row["key_id"]] = row["key_alias"]
            names[row["key_id"]] = f"key {row['key_alias']}"
            if row["last_rotation_at"] and row["auto_rotate"]:
                self._counted[row["last_rotation_at"]] = "when an arrival was noted"
                self._counted[row["last_rotation_at"] + DAY] = "a day after an arrival was noted"
        mailed = {digest(secret_in(mail)) for mail in world.mailbox.mails}
        for row in rows(services.database, key_secrets):
            alias = aliases[row["key_id"]]
            if alias in _ROTATING and row["token"] != digest(_secret(alias)):
                new = "new, mailed" if row["token"] in mailed else "new"
                names[row["token"]], names[row["key_name"]] = f"{new} token of {alias}", f"{new} name of {alias}"
        for row in rows(services.database, events):
            if row["kind"] == NEW_SECRET:
                names[row["event_id"]] = f"{NEW_SECRET} of {aliases[row['entity_id']]}"
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
        return self._counted.get(instant) or f"{(instant - self._origin).total_seconds():+.6f} s"


def _off(services: Services) -> dict[str, Any]:
    """The counters in Redis that are not what SQL says, and the accounts that are not what the ledger says."""
    ids = {row["scope_id"] for row in rows(services.database, budget_state)}
    counters = {str(scope): b for scope, b in books(services, ids).items() if b.held or b.used != b.spent}
    return {"counters": counters, "drifts": services.ledger_check.check(10).drifts}
