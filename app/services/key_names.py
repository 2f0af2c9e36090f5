"""From what a request calls a key to the keys that its caller may know of.

A key out of the caller's sight is left out before anything is locked or announced, and looking for it takes the
same statements as looking for one that does not exist: neither the answer nor its time tells the two apart.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from app.domain.access import Caller, KeyTarget, may_see_key
from app.models import keys
from app.services import key_rows
from app.services.standings import of_teams, standing_in


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


def _visible(connection: Connection, caller: Caller, named: Mapping[str, str]) -> dict[str, str]:
    if caller.sees_all:
        return dict(named)
    rows = connection.execute(
        select(keys.c.key_id, keys.c.user_id, keys.c.team_id, keys.c.created_by).where(
            keys.c.key_id.in_(set(named.values()))
        )
    ).all()
    # No team is asked about like any other, so that the number of statements says nothing.
    facts = of_teams(connection, caller, {row.team_id or "" for row in rows} or {""})
    seen = {
        row.key_id
        for row in rows
        if may_see_key(
            caller,
            KeyTarget(row.key_id, row.user_id, row.team_id, row.created_by),
            standing_in(facts, row.team_id),
        )
    }
    return {name: key_id for name, key_id in named.items() if key_id in seen}
