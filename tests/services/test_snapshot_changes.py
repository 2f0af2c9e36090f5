"""A change of a team, a user, a member, an organization or a tier makes every copy of their keys stale at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.container import Services
from app.db import Database
from app.models import budgets, team_members
from app.services.audit.audit import Act
from app.services.decisions.snapshots import Snapshots
from app.services.keys import key_relations
from tests.factories import rows
from tests.servers import eventually
from tests.services.policy_processes import counted

# One change of each kind that bears on the key of `world`.
CHANGES: dict[str, Callable[[Services, Act], Any]] = {
    "team update": lambda services, act: services.team_changes.update(act, {"team_id": "team", "rpm_limit": 1}),
    "the members' tier": lambda services, act: services.team_changes.update(
        act, {"team_id": "team", "team_member_budget": Decimal(1)}
    ),
    "team block": lambda services, act: services.team_changes.set_blocked(
        act, "team", "/team/block", blocked=True
    ),
    "team unblock": lambda services, act: services.team_changes.set_blocked(
        act, "team", "/team/unblock", blocked=False
    ),
    "a member's role": lambda services, act: services.member_changes.member_update(
        act, {"team_id": "team", "user_id": "ann", "role": "admin"}
    ),
    "a member's tier": lambda services, act: services.member_changes.member_update(
        act, {"team_id": "team", "user_id": "ann", "rpm_limit": 1}
    ),
    "user update": lambda services, act: services.user_changes.update(act, {"user_id": "ann", "rpm_limit": 1}),
    "the key's tier": lambda services, act: services.budget_changes.update(
        act, {"budget_id": "gold", "max_budget": Decimal(1)}
    ),
    "organization update": lambda services, act: services.organization_changes.update(
        act, {"organization_id": "org", "max_budget": Decimal(1)}
    ),
}


@pytest.fixture
def token(elsewhere: Services, act: Act) -> str:
    """A key of a user in a team of an organization, linked to a tier."""
    elsewhere.organizations.new(act, {"organization_id": "org", "organization_alias": "org"})
    elsewhere.users.new(act, {"user_id": "ann", "auto_create_key": False})
    member = {"user_id": "ann", "role": "user"}
    elsewhere.teams.new(act, {"team_id": "team", "organization_id": "org", "members_with_roles": [member]})
    elsewhere.budgets.new(act, {"budget_id": "gold"})
    named = {"user_id": "ann", "team_id": "team", "budget_id": "gold"}
    return elsewhere.keys.generate(act, named, "/key/generate").view.token


@pytest.mark.parametrize("change", CHANGES)
def test_another_process_reads_anew_after_a_change_has_answered(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act, token: str, change: str
) -> None:
    with counted(database.engine) as sql:
        snapshots.of(token, act.at)
        warm = sql.during(lambda: snapshots.of(token, act.at))
        CHANGES[change](elsewhere, act)
        after = sql.during(lambda: snapshots.of(token, act.at))
        again = sql.during(lambda: snapshots.of(token, act.at))

    assert (warm, after, again) == (0, 2, 0)


def test_what_it_reads_is_the_new_state(elsewhere: Services, snapshots: Snapshots, act: Act, token: str) -> None:
    before = snapshots.of(token, act.at)
    for change in ("team block", "a member's role", "user update"):
        CHANGES[change](elsewhere, act)
    after = snapshots.of(token, act.at)

    assert before is not None
    assert after is not None
    found = [(one.team["blocked"], one.member["role"], one.user["rpm_limit"]) for one in (before, after)]  # type: ignore[index]
    assert found == [(None, "user", None), (True, "admin", 1)]


def test_a_member_that_is_unlinked_from_its_tier_is_seen_at_once(
    elsewhere: Services, snapshots: Snapshots, act: Act, token: str
) -> None:
    CHANGES["a member's tier"](elsewhere, act)
    before = snapshots.of(token, act.at)

    elsewhere.member_changes.member_update(act, {"team_id": "team", "user_id": "ann", "rpm_limit": None})

    after = snapshots.of(token, act.at)
    assert before.member["budget_id"] is not None  # type: ignore[index, union-attr]
    assert after.member["budget_id"] is None  # type: ignore[index, union-attr]


# --- at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_tier_that_changes_its_window_waits_for_whoever_is_being_linked_to_it(
    elsewhere: Services, database: Database, act: Act
) -> None:
    """Else a key could be armed by the window that the tier has no longer; SQLite lets one writer in at a time."""
    elsewhere.budgets.new(act, {"budget_id": "gold"})

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as transaction:
            key_relations.related(transaction, act.caller, ["gold"], [])
            changing = threads.submit(
                elsewhere.budget_changes.update, act, {"budget_id": "gold", "budget_duration": "1d"}
            )
            assert eventually(lambda: changing.done() or _waits_for_a_lock(database), 30)
            assert not changing.done()
        changed = changing.result()

    assert changed.columns["budget_duration"] == "1d"


def _waits_for_a_lock(database: Database) -> bool:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with database.read() as connection:
        return connection.execute(waiting).scalar_one() > 0


def test_two_changes_of_a_member_at_once_leave_one_tier_with_both(
    elsewhere: Services, database: Database, act: Act
) -> None:
    member = {"user_id": "ann", "role": "user"}
    elsewhere.teams.new(act, {"team_id": "team", "members_with_roles": [member]})
    limits = ({"rpm_limit": 1}, {"tpm_limit": 2}, {"max_budget_in_team": Decimal(3)}, {"role": "admin"})

    def change(limit: dict[str, Any]) -> Any:
        return elsewhere.member_changes.member_update(act, {"team_id": "team", "user_id": "ann", **limit})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, limits))

    (tier,) = rows(database, budgets)
    (joined,) = rows(database, team_members)
    assert (tier["rpm_limit"], tier["tpm_limit"], tier["max_budget_nanos"]) == (1, 2, 3_000_000_000)
    assert (joined["budget_id"], joined["role"]) == (tier["budget_id"], "admin")
