"""From what a request calls a key to the keys that its caller may know of.

A key out of the caller's sight is left out before anything is locked or announced, and looking for it takes the
same statements as looking for one that does not exist: neither the answer nor its time tells the two apart.

A name that names nothing may have named a key until lately. Whoever asks again for a change that stands, but was
not announced, uses such a name; so the services announce those keys once more before they answer "not found".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, select, union

from app.domain.access import Caller, KeyTarget, may_see_key
from app.domain.minting import token_of
from app.models import deleted_keys, keys, retired_secrets
from app.services.access.standings import of_teams, standing_in
from app.services.keys import key_rows

# No cached copy is older than KEYLEDGER_SNAPSHOT_SECONDS, an hour at the most: before that nothing can linger.
LATELY = timedelta(hours=2)


def by_reference(
    connection: Connection, caller: Caller, references: Sequence[str], now: datetime
) -> dict[str, str]:
    """Which visible key each plaintext or hash names; what names none is left out."""
    if not references:
        return {}
    return _visible(connection, caller, key_rows.ids_of_references(connection, references, now))


def by_alias(connection: Connection, caller: Caller, aliases: Sequence[str]) -> dict[str, str]:
    """Which visible key each alias names; what names none is left out."""
    if not aliases:
        return {}
    return _visible(connection, caller, key_rows.ids_of_aliases(connection, aliases))


def deleted_lately(
    connection: Connection, caller: Caller, references: Sequence[str], aliases: Sequence[str], now: datetime
) -> set[str]:
    """The keys that these named until they were deleted, of those that the caller might have seen."""
    since = now - LATELY
    rows = connection.execute(
        union(
            _retired(deleted_keys, references, since),
            select(*_target(deleted_keys)).where(
                deleted_keys.c.key_alias.in_(set(aliases)), deleted_keys.c.deleted_at > since
            ),
        )
    )
    return _seen(connection, caller, rows.all())


def rotated_lately(connection: Connection, caller: Caller, reference: str, now: datetime) -> set[str]:
    """The live key that this opened until it was given another secret, if the caller may see it."""
    rows = connection.execute(_retired(keys, [reference], now - LATELY))
    return _seen(connection, caller, rows.all())


def _retired(table: Table, references: Sequence[str], since: datetime) -> Select[Any]:
    return select(*_target(table)).where(
        table.c.key_id == retired_secrets.c.key_id,
        retired_secrets.c.token.in_({token_of(reference) for reference in references}),
        retired_secrets.c.retired_at > since,
    )


def _target(table: Table) -> list[ColumnElement[Any]]:
    return [table.c.key_id, table.c.user_id, table.c.team_id, table.c.created_by]


def _visible(connection: Connection, caller: Caller, named: Mapping[str, str]) -> dict[str, str]:
    if caller.sees_all:
        return dict(named)
    rows = connection.execute(select(*_target(keys)).where(keys.c.key_id.in_(set(named.values()))))
    seen = _seen(connection, caller, rows.all())
    return {name: key_id for name, key_id in named.items() if key_id in seen}


def _seen(connection: Connection, caller: Caller, rows: Sequence[Row[Any]]) -> set[str]:
    if caller.sees_all:
        return {row.key_id for row in rows}
    # No team is asked about like any other, so that the number of statements says nothing.
    facts = of_teams(connection, caller, {row.team_id or "" for row in rows} or {""})
    return {
        row.key_id
        for row in rows
        if may_see_key(
            caller,
            KeyTarget(row.key_id, row.user_id, row.team_id, row.created_by),
            standing_in(facts, row.team_id),
        )
    }
