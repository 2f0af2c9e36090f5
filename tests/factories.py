"""Rows that a test needs and the endpoint under test does not make: people, teams, organizations, tiers.

They go straight into the tables, so a test of keys does not depend on the endpoints that manage the rest.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Select, Table, insert, select, update

from app.db import Database, metadata
from app.dispatch import TaskName
from app.domain import minting
from app.models import (
    budget_state,
    budgets,
    events,
    key_secrets,
    keys,
    ledger,
    organization_members,
    organizations,
    team_members,
    teams,
    users,
)
from app.services.ledger import daily
from tests.clients import Api
from tests.clocks import START
from tests.leaks import SECRETS

# For what does not depend on the store: how a body is read, who may do what.
on_one_store = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

NANOS = 1_000_000_000
_MADE = {"created_at": START, "updated_at": START}

# The periodic jobs, in the order in which they are told.
JOBS = tuple(sorted(set(TaskName) - {TaskName.HEARTBEAT, TaskName.TEST_CALLBACK}))


def add_user(database: Database, user_id: str, role: str | None = "internal_user", **columns: Any) -> str:
    _add(database, users, user_id=user_id, user_role=role, **_MADE, **columns)
    return user_id


def add_tier(database: Database, budget_id: str, **columns: Any) -> str:
    _add(database, budgets, budget_id=budget_id, **_MADE, **columns)
    return budget_id


def add_event(database: Database, event_id: str, **columns: Any) -> str:
    """An event that nobody was told of yet."""
    told = {"kind": "key_updated", "entity": "key", "entity_id": "k", "payload": {}, "created_at": START}
    _add(database, events, event_id=event_id, **{**told, **columns})
    return event_id


def add_organization(
    database: Database, organization_id: str, members: Mapping[str, str | None] | None = None, **columns: Any
) -> str:
    """An organization with its budget row; `members` maps a user id to a role, such as org_admin."""
    tier = add_tier(database, f"tier of {organization_id}")
    _add(
        database,
        organizations,
        organization_id=organization_id,
        organization_alias=organization_id,
        budget_id=tier,
        **_MADE,
        **columns,
    )
    for user_id, role in (members or {}).items():
        _add(
            database,
            organization_members,
            organization_id=organization_id,
            user_id=user_id,
            user_role=role,
            **_MADE,
        )
    return organization_id


def add_team(
    database: Database,
    team_id: str,
    members: Mapping[str, str] | None = None,
    *,
    grants: list[str] | None = None,
    **columns: Any,
) -> str:
    """A team; `members` maps a user id to admin or user, `grants` are the routes that plain members may call."""
    _add(database, teams, team_id=team_id, team_member_permissions=grants, **_MADE, **columns)
    for user_id, role in (members or {}).items():
        _add(database, team_members, team_id=team_id, user_id=user_id, role=role, created_at=START)
    return team_id


def change_team(database: Database, team_id: str, **columns: Any) -> None:
    """Change a team as another installation on the same store would: behind the back of every cache."""
    with database.transaction() as transaction:
        transaction.execute(update(teams).where(teams.c.team_id == team_id).values(**columns))


def change_key(database: Database, alias: str, **columns: Any) -> None:
    """Change a column of a key that no endpoint sets."""
    with database.transaction() as transaction:
        transaction.execute(update(keys).where(keys.c.key_alias == alias).values(**columns))


def copy_key(database: Database, key_id: str, count: int) -> None:
    """Make so many more keys like this one, with its secrets and its spend; none of them can be opened."""
    with database.transaction() as transaction:
        for table, owner, unique in (
            (keys, "key_id", None),
            (key_secrets, "key_id", "token"),
            (budget_state, "scope_id", None),
        ):
            for row in transaction.execute(select(table).where(table.c[owner] == key_id)).mappings().all():
                copies = [{**row, owner: f"copy {n}"} for n in range(count)]
                if unique is not None:
                    copies = [{**copied, unique: f"{row[unique]} {n}"} for n, copied in enumerate(copies)]
                transaction.execute(insert(table), copies)


def add_secret_in_grace(database: Database, key_id: str, plaintext: str, revoke_at: datetime) -> None:
    """A former secret of a key that still opens it, as a rotation leaves one."""
    _add(
        database,
        key_secrets,
        token=minting.digest(plaintext),
        key_id=key_id,
        key_name=minting.key_name(plaintext),
        created_at=START,
        revoke_at=revoke_at,
    )


def charge(key_id: str | None, dollars: float = 1, at: datetime = START, **columns: Any) -> dict[str, Any]:
    """A charge as the ledger keeps it; by default of its key alone."""
    return {
        "kind": "charge",
        "request_id": f"request-{uuid.uuid4()}",
        "key_id": key_id,
        "amount_nanos": round(dollars * NANOS),
        "scopes": [["key", key_id, ""]],
        "occurred_at": at,
        "recorded_at": at,
        **dict.fromkeys(
            ("team_id", "user_id", "organization_id", "model", "input_tokens", "output_tokens", "tags", "end_user")
        ),
        **columns,
    }


def add_charges(database: Database, *charges: Mapping[str, Any]) -> None:
    """Charges in the ledger and in the daily sums, as they are once they are folded."""
    with database.transaction() as transaction:
        transaction.execute(insert(ledger), [dict(charge) for charge in charges])
        daily.add(transaction, charges)


def add_person(
    api: Api, database: Database, user_id: str, role: str | None = "internal_user", **fields: Any
) -> str:
    """A user, and the plaintext of a key that an administrator made for it."""
    add_user(database, user_id, role)
    plaintext: str = api.generate(user_id=user_id, **fields)["key"]
    return plaintext


def add_people(api: Api, database: Database, roles: Mapping[str, str]) -> dict[str, str]:
    """Users of these roles, and the plaintext of a key of each; an administrator made one, the others are as it is.

    A fifth of the time of as many calls of `add_person`.
    """
    (first, role), *others = roles.items()
    made = api.generate(user_id=add_user(database, first, role))
    secrets = {user_id: minting.mint().reveal() for user_id, _ in others}
    with database.transaction() as transaction:
        transaction.execute(
            insert(users), [{"user_id": user_id, "user_role": role, **_MADE} for user_id, role in others]
        )
        for table, owner in ((keys, "key_id"), (key_secrets, "key_id"), (budget_state, "scope_id")):
            of_first = table.c[owner] == made["key_id"]
            (row,) = transaction.execute(select(table).where(of_first)).mappings()
            transaction.execute(
                insert(table),
                [
                    {**row, owner: f"key of {user_id}", **_of_another(table, user_id, plaintext)}
                    for user_id, plaintext in secrets.items()
                ],
            )
    for plaintext in secrets.values():
        SECRETS.remember(plaintext)
    return {first: made["key"], **secrets}


def _of_another(table: Table, user_id: str, plaintext: str) -> dict[str, Any]:
    """What tells the key of another user from the one of which it is a copy."""
    if table is keys:
        return {"user_id": user_id}
    if table is key_secrets:
        return {"token": minting.digest(plaintext), "key_name": minting.key_name(plaintext)}
    return {}


def rows(database: Database, table: Table, **equal: Any) -> list[dict[str, Any]]:
    """The rows of a table in the order of its primary key, or those whose columns equal these values."""
    statement = select(table).order_by(*table.primary_key.columns)
    for name, value in equal.items():
        statement = statement.where(table.c[name] == value)
    with database.read() as connection:
        return _read(connection, statement)


_WHOLE_TABLES = {
    table.name: select(table).order_by(*table.primary_key.columns) for table in metadata.sorted_tables
}


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table: equal before and after what must change nothing."""
    with database.read() as connection:
        return {name: _read(connection, statement) for name, statement in _WHOLE_TABLES.items()}


def _read(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """Every row by its columns' names; a third of the time of its mappings, where there are hundreds."""
    found = connection.execute(statement)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found]


@contextmanager
def unchanged(database: Database) -> Iterator[None]:
    """Fail unless the block leaves every row as it was."""
    before = everything(database)
    yield
    assert everything(database) == before


def _add(database: Database, table: Table, **columns: Any) -> None:
    with database.transaction() as transaction:
        transaction.execute(insert(table).values(columns))
