"""A process that is killed at any point of a regenerate leaves the key as it was or as it was to be, never between.

The points are numbered by a process that lives: when the code sends another statement, it is one more of them.
"""

import sys
from collections import Counter
from typing import Any

import pytest

from app.clock import SystemClock
from app.container import Services
from app.domain import minting
from app.errors import UnknownKey
from app.models import audit, events, key_secrets, retired_secrets
from tests.clients import Api
from tests.environment import ENVIRONMENT
from tests.factories import everything, rows
from tests.faults import mortal

pytestmark = pytest.mark.processes

PATH = "/key/regenerate"
SETTINGS = {
    "max_budget": 7,
    "soft_budget": 0.25,
    "tpm_limit": 5,
    "budget_duration": "1d",
    "spend": 0.5,
    "tags": ["rotated"],
    "object_permission": {"models": ["m"]},
}
# Between them they send every statement that there is to send.
SENT: dict[str, dict[str, Any]] = {
    "at once": {},
    "with a grace and settings": {"grace_period": "1h", **SETTINGS},
}


@pytest.fixture
def clock() -> SystemClock:
    """That of the processes which are killed."""
    return SystemClock()


@pytest.fixture
def environment(store_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": store_url,
        "REDIS_URL": redis_url,
        **ENVIRONMENT,
        "KEYLEDGER_LOG_LEVEL": "ERROR",
    }


class Rotation:
    """One key in use, its secret of before and the one that it is to get."""

    def __init__(self, services: Services, api: Api, number: int, sent: dict[str, Any]) -> None:
        self._services = services
        self._api = api
        self._sent = sent
        # The masked name shows the last letters.
        self.old, self.new, self.newest = (
            f"sk-{number:03}-0123456789-{name}" for name in ("old", "new", "newest")
        )
        self.request = {"key": self.old, "new_key": self.new, **sent}
        self.key_id = self._api.generate(key=self.old, tpm_limit=1, spend=1)["key_id"]
        self.opens(self.old)  # this process knows it by heart
        self.before = everything(services.database)

    def opens(self, secret: str) -> bool:
        try:
            caller = self._services.callers.authenticate(secret, self._services.clock.now())
        except UnknownKey:
            return False
        return caller.key_id == self.key_id

    def changes(self) -> dict[str, tuple[int, int]]:
        """Of each table that is not as it was before: how many rows are gone, and how many are new."""
        after = everything(self._services.database)
        counted = {
            name: (_missing(self.before[name], after[name]), _missing(after[name], self.before[name]))
            for name in after
        }
        return {name: counts for name, counts in counted.items() if counts != (0, 0)}

    def assert_old(self) -> None:
        assert self.opens(self.old)
        assert not self.opens(self.new)

    def assert_new(self, current: str) -> None:
        """The key has this secret, and everything that belongs to that."""
        token, name = minting.digest(current), minting.key_name(current)
        assert _settings_in(self._api.info(current), self._sent) == self._sent
        graced = "grace_period" in self._sent
        assert (self.opens(current), self.opens(self.old)) == (True, graced)
        secrets = rows(self._services.database, key_secrets, key_id=self.key_id)
        assert [(row["token"], row["key_name"]) for row in secrets if row["revoke_at"] is None] == [(token, name)]
        retired = {row["token"] for row in rows(self._services.database, retired_secrets, key_id=self.key_id)}
        kept = {row["token"] for row in secrets if row["revoke_at"] is not None}
        assert minting.digest(self.old) in (kept if graced else retired)
        assert kept & retired == set()
        recorded = rows(self._services.database, audit, entity_id=self.key_id, action="regenerate")
        told = rows(self._services.database, events, entity_id=self.key_id, kind="key_rotated")
        assert len(recorded) == len(told) == len(secrets) + len(retired) - 1
        assert recorded[0]["before"]["token"] == minting.digest(self.old)
        assert (recorded[-1]["after"]["token"], recorded[-1]["after"]["key_name"]) == (token, name)
        assert token in [event["payload"]["token"] for event in told]

    def again(self, reference: str, new: str) -> None:
        answer = self._api.post(PATH, {**self.request, "key": reference, "new_key": new})
        assert answer.status == 200, answer


def _missing(these: list[dict[str, Any]], those: list[dict[str, Any]]) -> int:
    return sum(row not in those for row in these)


def _settings_in(info: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """What the key shows of that which was sent; a grace is nothing of the key's."""
    shown = {**info, "tags": info["metadata"].get("tags"), "grace_period": sent.get("grace_period")}
    permission = info["object_permission"] or {}
    shown["object_permission"] = {name: value for name, value in permission.items() if name == "models"}
    return {name: shown[name] for name in sent}


@pytest.mark.parametrize("case", SENT)
def test_a_regenerate_that_is_killed_at_any_statement_is_done_or_not_and_can_be_sent_again(
    services: Services, api: Api, environment: dict[str, str], case: str
) -> None:
    lived = Rotation(services, api, 0, SENT[case])
    points = mortal.points_of(environment, PATH, lived.request)
    lived.assert_new(lived.new)
    whole, committed_at = lived.changes(), points.index(mortal.RETURN, points.index(mortal.COMMIT)) + 1
    left: Counter[str] = Counter()

    for number, point in enumerate(points, 1):
        killed = Rotation(services, api, number, SENT[case])
        mortal.die_at(number, environment, PATH, killed.request)
        found = killed.changes()
        if number < committed_at:
            assert found == {}, point
            killed.assert_old()
            killed.again(killed.old, killed.new)
            killed.assert_new(killed.new)
            assert killed.changes() == whole, point
            left["old"] += 1
        else:
            assert found == whole, point
            killed.assert_new(killed.new)
            killed.again(killed.new, killed.newest)
            killed.assert_new(killed.newest)
            left["new"] += 1

    assert left["new"] >= 2, "no kill between the commit and the answer"
    sys.stdout.write(f"{case}: {len(points)} kills, left behind: {dict(left)}\n")
