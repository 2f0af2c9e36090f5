"""Constraints are the last judge, and a violation names the same constraint on SQLite and on PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import insert

from app.db import ConstraintViolated, Database
from app.models import budget_state, budgets, events, key_secrets, keys, ledger, team_members, teams, users
from tests.clocks import START
from tests.stores import count

MADE = {"created_at": START, "updated_at": START}
SECRET = {"key_name": "sk-...aaaa", "created_at": START}
CHARGE = {"kind": "charge", "amount_nanos": 1, "occurred_at": START, "recorded_at": START}
EVENT = {"kind": "k", "entity": "e", "entity_id": "e", "payload": {}, "created_at": START}


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [
        ("pk_budgets", budgets, [{"budget_id": "b", **MADE}] * 2),
        ("pk_teams", teams, [{"team_id": "t", **MADE}] * 2),
        (
            "pk_team_members",
            team_members,
            [{"team_id": "t", "user_id": "u", "role": "user", "created_at": START}] * 2,
        ),
        ("pk_budget_state", budget_state, [{"scope": "key", "scope_id": "k"}] * 2),
        ("pk_keys", keys, [{"key_id": "k2", **MADE}] * 2),
        ("uq_keys_key_alias", keys, [{"key_id": name, "key_alias": "alias", **MADE} for name in ("k2", "k3")]),
        ("pk_key_secrets", key_secrets, [{"token": "t", "key_id": "k", "revoke_at": START, **SECRET}] * 2),
        (
            "uq_key_secrets_current",
            key_secrets,
            [{"token": name, "key_id": "k", **SECRET} for name in ("t2", "t3")],
        ),
        (
            "uq_users_email_folded",
            users,
            [{"user_id": name, "email_folded": "a@b.example", **MADE} for name in ("u1", "u2")],
        ),
        ("uq_ledger_key_id_request_id", ledger, [{"key_id": "k", "request_id": "r", **CHARGE}] * 2),
        (
            "uq_events_fact",
            events,
            [{"event_id": name, "fact": "f", **EVENT} for name in ("e1", "e2")],
        ),
    ],
)
def test_a_violation_names_its_constraint(database: Database, name: str, table: Any, rows: list[dict[str, Any]]):
    first, second = rows
    with database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", **MADE))
        if table is not teams:
            tx.execute(insert(teams).values(team_id="t", **MADE))
        tx.execute(insert(table).values(first))

    with pytest.raises(ConstraintViolated) as violated, database.transaction() as tx:
        tx.execute(insert(table).values(second))

    assert violated.value.name == name


def test_secrets_in_grace_stand_beside_the_current_one(database: Database):
    with database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", **MADE))
        for token, revoke_at in (("t1", START), ("t2", START), ("t3", None)):
            tx.execute(insert(key_secrets).values(token=token, key_id="k", revoke_at=revoke_at, **SECRET))

    assert count(database, key_secrets) == 3


def test_keys_without_an_alias_do_not_clash(database: Database):
    with database.transaction() as tx:
        for name in ("k1", "k2"):
            tx.execute(insert(keys).values(key_id=name, key_alias=None, **MADE))

    assert count(database, keys) == 2


def test_aliases_differ_by_case(database: Database):
    with database.transaction() as tx:
        for alias in ("alias", "Alias", "ALIAS"):
            tx.execute(insert(keys).values(key_id=alias, key_alias=alias, **MADE))

    assert count(database, keys) == 3


def test_a_reference_to_nothing_is_a_violation(database: Database):
    with pytest.raises(ConstraintViolated), database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", budget_id="nowhere", **MADE))

    assert count(database, keys) == 0


def test_a_missing_required_value_is_a_violation(database: Database):
    with pytest.raises(ConstraintViolated), database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", updated_at=START))

    assert count(database, keys) == 0


def test_deleting_a_key_takes_its_secrets_along(database: Database):
    with database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", **MADE))
        tx.execute(insert(key_secrets).values(token="t", key_id="k", **SECRET))

    with database.transaction() as tx:
        tx.execute(keys.delete())

    assert count(database, key_secrets) == 0
