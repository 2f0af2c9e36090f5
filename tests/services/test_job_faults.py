"""Jobs killed at any point, or two at once, deal with every row exactly once."""

from datetime import timedelta
from operator import itemgetter
from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.domain.scopes import ScopeKind
from app.models import key_secrets
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, everything, rows
from tests.services import every_scope
from tests.services.due import DUE, Due, Reset, Stored, restore
from tests.services.job_processes import COMMIT, die_before_commit, kills, together

each_job = pytest.mark.parametrize("due", DUE, ids=[due.task for due in DUE])


@each_job
def test_a_job_killed_at_any_point_and_run_again_deals_with_every_row_once(
    services: Services, settings: Settings, api: Api, clock: MovableClock, due: Due
):
    # A full batch and the beginning of another.
    due.make(api, services, clock, due.batch(services.database) + 3)
    stored = everything(services.database)
    found = []

    for point, left in kills(services, settings, clock, due.task, stored):
        found.append((point, left))
        if left:
            services.jobs.run(due.task, lambda: True)
            due.check_once(services.database)
            restore(services.database, stored)

    # Where nothing was left, the next run began where this one had; the last was not killed.
    due.check_once(services.database)
    # Each batch and each record of it: killed within all of them, and between.
    commits = [index for index, (point, _) in enumerate(found) if point == COMMIT]
    assert len(commits) == 4
    assert len([point for point, _ in found if point.startswith("INSERT INTO audit")]) == 2
    assert [left for _, left in found] == [index > commits[0] for index in range(len(found))]


def test_spend_charged_between_a_killed_reset_and_the_next_is_kept(
    services: Services, settings: Settings, api: Api, clock: MovableClock
):
    due = Reset()
    made = due.batch(services.database) + 3
    due.make(api, services, clock, made)
    first, last = due.first_and_last(services.database)
    tokens = {row["key_id"]: row["token"] for row in rows(services.database, key_secrets)}
    stored = everything(services.database)
    met = set()

    for _ in kills(services, settings, clock, due.task, stored, die_before_commit):
        left = due.still_due(services.database)
        met.add((first in left, last in left))
        for key_id in (first, last):
            assert api.post("/key/update", {"key": tokens[key_id], "spend": 0.25}).status == 200

        services.jobs.run(due.task, lambda: True)

        # Those whose windows the charge has moved were no longer due.
        moved = made - len({first, last} & left)
        due.check_once(services.database, charged={first, last}, moved=moved)
        for key_id in (first, last):
            info = api.info(tokens[key_id])
            assert (info["spend"], info["total_spend"]) == (0.25, due.spent / NANOS + 0.25)
        restore(services.database, stored)
    assert met == {(True, True), (False, True), (False, False)}


@pytest.fixture
def of_every_scope(services: Services, api: Api, clock: MovableClock) -> Stored:
    """Windows of every scope that are due: one of each that has passed, one parked, one closed, two of each else."""
    accounts = every_scope.make(api)
    every_scope.charge(api, 3)
    every_scope.fold(services)
    for scope in accounts.values():
        every_scope.copy(services.database, scope, 2)
    every_scope.spell(services.database, accounts[ScopeKind.USER], "fortnightly")
    every_scope.spell(services.database, accounts[ScopeKind.TEAM], None)
    clock.advance(timedelta(days=1))
    return everything(services.database)


def states(stored: Stored) -> list[dict[str, Any]]:
    return sorted(stored["budget_state"], key=itemgetter("scope", "scope_id", "sub"))


def test_a_reset_of_every_scope_killed_at_any_point_and_run_again_leaves_the_same_state(
    services: Services, settings: Settings, clock: MovableClock, of_every_scope: Stored
):
    every_scope.reset(services)
    meant = everything(services.database)
    restore(services.database, of_every_scope)
    points = []

    for point, _ in kills(services, settings, clock, Reset().task, of_every_scope):
        points.append(point)
        every_scope.reset(services)
        assert states(everything(services.database)) == states(meant)
        restore(services.database, of_every_scope)

    # The last was not killed.
    assert states(everything(services.database)) == states(meant) != states(of_every_scope)
    # What is due, the spellings in eight statements, move, park, close, audit, tell; the record; and both commits.
    assert len([point for point in points if not point.startswith("BEGIN")]) == 17


def test_two_processes_that_reset_every_scope_leave_the_state_of_one(
    services: Services, settings: Settings, clock: MovableClock, of_every_scope: Stored
):
    rows_of_one = every_scope.reset(services)
    meant = everything(services.database)
    restore(services.database, of_every_scope)

    shares = together(Reset().task, settings, clock.now())

    assert sum(shares) == rows_of_one == len(of_every_scope["budget_state"]) - 1
    assert states(everything(services.database)) == states(meant)


@each_job
def test_two_processes_with_one_job_share_the_rows_and_neither_fails(
    services: Services, settings: Settings, api: Api, clock: MovableClock, due: Due
):
    batch = due.batch(services.database)
    # Enough for both to have a full batch, and some more.
    made = 2 * batch + 150
    due.make(api, services, clock, made)

    shares = together(due.task, settings, clock.now())

    assert sum(shares) == made
    assert services.database.is_sqlite or min(shares) >= batch, "the two did not work at once"
    due.check_once(services.database)
