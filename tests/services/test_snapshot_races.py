"""A key that is changed while it is being read: what is kept is as old as its versions say, never younger."""

from collections.abc import Callable

from sqlalchemy import insert, select, update

from app.container import Services
from app.db import Database
from app.models import key_secrets, keys, teams
from app.services.audit.audit import Act
from app.services.decisions.snapshots import Snapshots
from app.store import policies
from tests.clocks import MovableClock
from tests.services.policy_processes import Interrupted, counted, make_key

ADOPT = policies._ADOPT


def block(services: Services, act: Act, token: str) -> None:
    services.key_ends.set_blocked(act, token, "/key/block", blocked=True)


def add_team(database: Database, clock: MovableClock, team_id: str) -> None:
    now = clock.now()
    with database.transaction() as tx:
        tx.execute(insert(teams).values(team_id=team_id, created_at=now, updated_at=now))


def test_a_copy_hangs_on_the_versions_that_were_read_before_it(
    elsewhere: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(elsewhere, act)
    pending = [lambda: block(elsewhere, act, token)]
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: pending.pop()() if pending else None))

    snapshots.of(token, act.at)
    with counted(database.engine) as sql:
        again = sql.during(lambda: snapshots.of(token, act.at))

    assert again == 2, "a copy is kept as if it were as new as the versions that came after it"
    assert snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]


def test_while_a_change_is_under_way_sql_decides_and_nothing_is_kept(
    elsewhere: Services, snapshots: Snapshots, database: Database, act: Act
) -> None:
    token = make_key(elsewhere, act)
    found = snapshots.of(token, act.at)
    assert found is not None
    with (
        elsewhere.keys._policies.change([policies.key(found.key["key_id"])]),
        counted(database.engine) as sql,
    ):
        counts = [sql.during(lambda: snapshots.of(token, act.at)) for _ in range(3)]
        with database.transaction() as tx:
            tx.execute(update(keys).values(blocked=True))
        seen = snapshots.of(token, act.at)

    assert counts == [2, 2, 2]
    assert seen is not None
    assert seen.key["blocked"]


# --- ids that move -------------------------------------------------------------------------------------------------


def move(database: Database, token: str, team_id: str) -> None:
    """Change the key's team behind everybody's back."""
    key_id = select(key_secrets.c.key_id).where(key_secrets.c.token == token).scalar_subquery()
    with database.transaction() as tx:
        tx.execute(update(keys).where(keys.c.key_id == key_id).values(team_id=team_id))


def test_ids_that_move_between_two_reads_are_read_again(
    elsewhere: Services,
    new: Callable[..., Snapshots],
    database: Database,
    act: Act,
    clock: MovableClock,
    redis_url: str,
) -> None:
    add_team(database, clock, "new")
    token = make_key(elsewhere, act, team_id="old")
    pending = [lambda: move(database, token, "new")]
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: pending.pop()() if pending else None))

    seen = snapshots.of(token, act.at)
    with database.transaction() as tx:
        tx.execute(update(teams).where(teams.c.team_id == "new").values(blocked=True))
    elsewhere.keys._policies.publish([policies.team("new")])
    later = snapshots.of(token, act.at)

    assert seen is not None
    assert later is not None
    assert (seen.team or {})["team_id"] == "new"
    assert (later.team or {})["blocked"], "the copy does not hang on the team that it was moved to"


def test_ids_that_never_stand_still_are_answered_from_sql_and_not_kept(
    elsewhere: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(elsewhere, act, team_id="0")
    moves = iter(range(1, 100))
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: move(database, token, str(next(moves)))))

    first, second = snapshots.of(token, act.at), snapshots.of(token, act.at)

    assert first is not None
    assert second is not None
    assert (first.key["team_id"], second.key["team_id"]) == ("5", "10")
