"""The sums of the days are those of the charges, in whatever order and batches they come."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from app.db import Database
from app.models import daily_label_spend, daily_spend, keys
from app.services.ledger import daily
from tests.api.counting import statements
from tests.clocks import START
from tests.factories import charge, rows

NAMES = st.sampled_from([None, "a", "b", "ü", "a,b"])
CHARGES = st.lists(
    st.builds(
        charge,
        NAMES,
        st.sampled_from([0, 0.1, 0.2, 1e-9, 9_000_000]),
        st.datetimes(datetime(2026, 2, 27), datetime(2026, 3, 2)).map(  # noqa: DTZ001
            lambda moment: moment.replace(tzinfo=UTC)
        ),
        team_id=NAMES,
        user_id=NAMES,
        model=NAMES,
        input_tokens=st.sampled_from([None, 0, 7]),
        output_tokens=st.sampled_from([None, 3]),
        tags=st.none() | st.lists(st.sampled_from(["x", "y", ""]), max_size=3),
        end_user=NAMES,
    ),
    max_size=12,
)


def add(database: Database, *charges: dict[str, Any]) -> None:
    with database.transaction() as transaction:
        daily.add(transaction, charges)


def last_active(database: Database, key_id: str = "k") -> datetime | None:
    (row,) = rows(database, keys, key_id=key_id)
    found: datetime | None = row["last_active"]
    return found


@pytest.fixture
def new_key(database: Database) -> Callable[..., str]:
    def make(key_id: str = "k", **columns: Any) -> str:
        with database.transaction() as transaction:
            transaction.execute(insert(keys).values(key_id=key_id, created_at=START, updated_at=START, **columns))
        return key_id

    return make


# --- the sums ------------------------------------------------------------------------------------------------


def expected(charges: list[dict[str, Any]]) -> tuple[Counter[Any], Counter[Any]]:
    """What each day and each label comes to, added up one charge at a time."""
    days: Counter[Any] = Counter()
    labels: Counter[Any] = Counter()
    for one in charges:
        day = one["occurred_at"].strftime("%Y-%m-%d")
        sums = {
            "spend_nanos": one["amount_nanos"],
            "input_tokens": one["input_tokens"] or 0,
            "output_tokens": one["output_tokens"] or 0,
            "requests": 1,
        }
        names = [("tag", tag) for tag in sorted(set(one["tags"] or []))]
        names += [("end_user", one["end_user"])] if one["end_user"] else []
        for name, value in sums.items():
            whole = (
                day,
                *(one[part] or "" for part in ("key_id", "team_id", "user_id", "organization_id", "model")),
            )
            days[(*whole, name)] += value
            for label in names:
                labels[(day, *label, one["key_id"] or "", one["model"] or "", name)] += value
    return +days, +labels


def stored(database: Database) -> tuple[Counter[Any], Counter[Any]]:
    found = []
    for table in (daily_spend, daily_label_spend):
        identity = [column.name for column in table.primary_key.columns]
        found.append(
            Counter(
                {
                    (*(row[name] for name in identity), column): row[column]
                    for row in rows(database, table)
                    for column in ("spend_nanos", "input_tokens", "output_tokens", "requests")
                }
            )
        )
    return +found[0], +found[1]


@given(charges=CHARGES, seed=st.integers(0, 99), size=st.integers(1, 12))
@settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_sums_of_days_are_those_of_charges_in_any_order_and_batches(
    database: Database, charges: list[dict[str, Any]], seed: int, size: int
):
    with database.transaction() as transaction:
        transaction.execute(delete(daily_spend))
        transaction.execute(delete(daily_label_spend))
    shuffled = random.Random(seed).sample(charges, len(charges))

    for start in range(0, len(shuffled), size):
        add(database, *shuffled[start : start + size])

    assert stored(database) == expected(charges)


def test_a_day_is_that_of_utc_wherever_the_instant_was_written(database: Database):
    late = datetime(2026, 11, 18, 23, 30, tzinfo=timezone(timedelta(hours=-2)))

    add(database, charge("k", at=late))

    assert [row["day"] for row in rows(database, daily_spend)] == ["2026-11-19"]


def test_a_tag_that_is_named_twice_counts_its_charge_once(database: Database):
    add(database, charge("k", tags=["x", "x"]))

    assert [(row["name"], row["requests"]) for row in rows(database, daily_label_spend)] == [("x", 1)]


def test_a_fold_that_is_rolled_back_adds_nothing(database: Database, new_key: Callable[..., str]):
    new_key()

    with pytest.raises(ZeroDivisionError), database.transaction() as transaction:
        daily.add(transaction, [charge("k", tags=["x"])])
        raise ZeroDivisionError

    assert stored(database) == (Counter(), Counter())
    assert last_active(database) is None


@pytest.mark.parametrize("count", [1, 300])
def test_any_number_of_charges_takes_four_statements(database: Database, new_key: Callable[..., str], count: int):
    charges = [charge(new_key(f"k{number}"), tags=["x", f"t{number}"]) for number in range(count)]

    with statements(database) as sent:
        add(database, *charges)

    assert len(sent) == 4


def test_folds_at_once_lose_nothing_and_do_not_lock_each_other_out(
    database: Database, new_key: Callable[..., str]
):
    for number in range(5):
        new_key(f"k{number}")
    batches = [[charge(f"k{n % 5}", 1, tags=[f"t{n % 7}"]) for n in range(70)] for _ in range(8)]
    for number, batch in enumerate(batches):
        random.Random(number).shuffle(batch)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda batch: add(database, *batch), batches))

    assert sum(row["requests"] for row in rows(database, daily_spend)) == 8 * 70
    assert sum(row["requests"] for row in rows(database, daily_label_spend)) == 8 * 70
    assert last_active(database, "k3") == START


# --- when a key was last used --------------------------------------------------------------------------------


def test_a_key_was_last_active_at_its_latest_charge(database: Database, new_key: Callable[..., str]):
    new_key()

    add(database, charge("k", at=START), charge("k", at=START + timedelta(hours=1)), charge("k", at=START))

    assert last_active(database) == START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("later", "moved"),
    [(timedelta(days=-9), False), (timedelta(seconds=59), False), (timedelta(minutes=1), True)],
)
def test_last_active_never_goes_back_and_is_not_written_for_less_than_a_minute(
    database: Database, new_key: Callable[..., str], later: timedelta, moved: bool
):
    new_key(last_active=START)

    add(database, charge("k", at=START + later))

    assert last_active(database) == (START + later if moved else START)


def test_keys_that_are_gone_are_passed_over(database: Database, new_key: Callable[..., str]):
    new_key()

    add(database, charge("gone"), charge("k"), charge(None))

    assert last_active(database) == START
    assert len(rows(database, daily_spend)) == 3


@pytest.fixture
def held(database: Database, new_key: Callable[..., str]) -> Iterator[Any]:
    """A key whose row somebody is changing."""
    new_key()
    with database.transaction() as other:
        other.execute(update(keys).where(keys.c.key_id == "k").values(key_alias="new"))
        yield other


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_fold_does_not_wait_for_a_request_that_changes_the_key(database: Database, held: Any):
    add(database, charge("k"))

    with database.read() as connection:
        assert connection.execute(select(daily_spend.c.requests)).scalar_one() == 1
        assert connection.execute(select(keys.c.last_active)).scalar_one() is None
