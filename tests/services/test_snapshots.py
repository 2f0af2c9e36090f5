"""What a process remembers of a key: how little it asks, and that it never remembers too long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import insert, select, update

from app.container import Services
from app.db import Database
from app.domain import minting
from app.domain.minting import Secret
from app.models import budget_state, key_secrets, keys
from app.services.audit.audit import Act
from app.services.decisions.snapshots import Snapshots
from app.store.connection import HotRedis
from tests.bench.plans import sent_to
from tests.clocks import MovableClock
from tests.environment import REDIS_SECONDS
from tests.factories import add_organization, add_user
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer, eventually
from tests.services.policy_processes import counted, make_key

# --- how much is asked ---------------------------------------------------------------------------------------------


def test_a_cold_key_costs_two_statements_and_a_warm_one_none(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act
) -> None:
    token = make_key(elsewhere, act)
    with counted(database.engine) as sql:
        cold = sql.during(lambda: snapshots.of(token, act.at))
        warm = sql.during(lambda: snapshots.of(token, act.at))

    assert (cold, warm) == (2, 0)


def test_what_there_may_be_any_number_of_is_read_in_one_row(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act
) -> None:
    add_user(database, "u")
    for organization_id in ("o1", "o2"):
        add_organization(database, organization_id, {"u": "org_admin"})
    token = make_key(elsewhere, act, user_id="u")
    armed = {(kind, f"{number}h"): act.at for kind in ("key_model", "key_window") for number in range(3)}
    armed["user_model", "m"] = act.at
    with database.transaction() as transaction:
        key_id = transaction.execute(select(keys.c.key_id)).scalar_one()
        for scope, sub in armed:
            scope_id = "u" if scope == "user_model" else key_id
            columns = {"scope": scope, "scope_id": scope_id, "sub": sub, "armed_at": act.at, "windowless": True}
            transaction.execute(insert(budget_state).values(columns))

    with sent_to(database) as sent:
        found = snapshots.of(token, act.at)

    assert found is not None
    assert found.organization_admin_of == {"o1", "o2"}
    assert {of: at for of, at in found.armed_at.items() if of[1]} == armed
    with database.read() as connection:
        assert len(connection.exec_driver_sql(sent[-1].text, sent[-1].parameters).all()) == 1


def test_an_absent_key_is_remembered_as_absent(snapshots: Snapshots, database: Database, act: Act) -> None:
    token = minting.digest("sk-nobody-has-ever-made-this")
    with counted(database.engine) as sql:
        cold = sql.during(lambda: snapshots.of(token, act.at))
        warm = sql.during(lambda: snapshots.of(token, act.at))

    assert (cold, warm) == (2, 0)
    assert snapshots.of(token, act.at) is None


def test_without_redis_sql_decides_every_request_and_nothing_is_kept(
    elsewhere: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_server: RedisServer
) -> None:
    warm_token, cold_token = make_key(elsewhere, act), make_key(elsewhere, act)
    with RedisProxy(redis_server.port) as proxy, counted(database.engine) as sql:
        snapshots = new(HotRedis(proxy.url, seconds=REDIS_SECONDS))
        snapshots.of(warm_token, act.at)
        proxy.cut()

        warm = [sql.during(lambda: snapshots.of(warm_token, act.at)) for _ in range(2)]
        cold = [sql.during(lambda: snapshots.of(cold_token, act.at)) for _ in range(2)]

    assert (warm, cold) == ([1, 1], [2, 2])


# --- what makes a copy stale ---------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Services, Act, str], Any]] = {
    "block": lambda services, act, key: services.key_ends.set_blocked(act, key, "/key/block", blocked=True),
    "update": lambda services, act, key: services.key_changes.update(
        act, {"key": key, "blocked": True}, "/key/update"
    ),
    "delete": lambda services, act, key: services.key_ends.delete(act, [key], []),
}


@pytest.mark.parametrize("verb", VERBS)
def test_another_process_sees_a_change_at_once(
    elsewhere: Services, snapshots: Snapshots, act: Act, verb: str
) -> None:
    token = make_key(elsewhere, act)
    before = snapshots.of(token, act.at)

    VERBS[verb](elsewhere, act, token)
    after = snapshots.of(token, act.at)

    assert before is not None
    assert not before.key["blocked"]
    assert after is None or after.key["blocked"]


def test_unblocking_is_seen_at_once(elsewhere: Services, snapshots: Snapshots, act: Act) -> None:
    token = make_key(elsewhere, act, blocked=True)
    assert snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]

    elsewhere.key_ends.set_blocked(act, token, "/key/unblock", blocked=False)

    assert not snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]


def test_a_remembered_absence_ends_when_the_key_is_made(
    elsewhere: Services, snapshots: Snapshots, act: Act
) -> None:
    chosen = Secret("sk-chosen-by-the-caller-1")
    assert snapshots.of(minting.digest(chosen.reveal()), act.at) is None

    token = make_key(elsewhere, act, key=chosen.reveal())

    assert snapshots.of(token, act.at) is not None


def test_a_key_made_again_after_its_deletion_is_seen_at_once(
    elsewhere: Services, snapshots: Snapshots, act: Act
) -> None:
    chosen = "sk-chosen-by-the-caller-2"
    token = make_key(elsewhere, act, key=chosen)
    snapshots.of(token, act.at)
    elsewhere.key_ends.delete(act, [token], [])
    assert snapshots.of(token, act.at) is None

    make_key(elsewhere, act, key=chosen, tpm_limit=7)

    assert snapshots.of(token, act.at).key["tpm_limit"] == 7  # type: ignore[union-attr]


# --- time ----------------------------------------------------------------------------------------------------------


def test_a_secret_in_grace_closes_at_its_instant_though_no_version_changes(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act, clock: MovableClock
) -> None:
    token = make_key(elsewhere, act)
    in_grace = minting.digest("sk-in-grace-until-the-clock-says-so")
    revoke_at = clock.now() + timedelta(hours=1)
    with database.transaction() as tx:
        key_id = tx.execute(select(key_secrets.c.key_id).where(key_secrets.c.token == token)).scalar_one()
        tx.execute(
            insert(key_secrets).values(
                token=in_grace, key_id=key_id, key_name="sk-...o", created_at=clock.now(), revoke_at=revoke_at
            )
        )

    assert snapshots.of(in_grace, revoke_at - timedelta(microseconds=1)) is not None
    assert snapshots.of(in_grace, revoke_at) is None
    assert snapshots.of(in_grace, revoke_at) is None


def test_a_copy_never_grows_older_than_the_limit(
    elsewhere: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    """What a writer that was killed before it could publish leaves when its mark was lost as well."""
    token = make_key(elsewhere, act)
    snapshots = new(seconds=0.2)
    snapshots.of(token, act.at)
    with database.transaction() as tx:
        tx.execute(update(keys).values(blocked=True))

    assert eventually(lambda: snapshots.of(token, act.at).key["blocked"], 5)  # type: ignore[union-attr]


def test_a_lost_redis_is_an_empty_memory(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(elsewhere, act)
    snapshots.of(token, act.at)
    with Redis.from_url(redis_url) as client, counted(database.engine) as sql:
        client.flushall()

        assert sql.during(lambda: snapshots.of(token, act.at)) == 2
        assert sql.during(lambda: snapshots.of(token, act.at)) == 0
