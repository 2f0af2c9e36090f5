"""Changing many keys of one team alike: what the API calls bulk_update."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from app.db import Database
from app.errors import InvalidRequest, NothingFound
from app.models import key_secrets, keys
from app.services.audit.audit import Act
from app.services.keys import key_rows
from app.services.keys.key_bulk import Asked, BulkItem, KeyBulk
from app.services.teams.team_changes import managed_team

ROUTE = "/team/key/bulk_update"
# One transaction changes them all; a store takes so many parameters in a statement at the most.
MOST_KEYS = 1_000


class TeamKeys:
    def __init__(self, database: Database, bulk: KeyBulk) -> None:
        self._database = database
        self._bulk = bulk

    def bulk_update(
        self, act: Act, team_id: str, references: Sequence[str] | None, settings: Mapping[str, Any]
    ) -> list[BulkItem]:
        """Change these keys of a team, each as `/key/update` would by this caller.

        Where None are named, all that are neither blocked nor expired. Raises InvalidRequest (more than
        MOST_KEYS), NotFound (no such team), NothingFound (no such key in it), Forbidden and StoreUnavailable,
        without any change, and WriteStands. Sending it again is safe.
        """
        if references is not None and len(references) > MOST_KEYS:
            raise InvalidRequest(
                f"key_ids may name {MOST_KEYS} keys at most. Received: {len(references)}", "key_ids"
            )
        with self._database.read() as connection:
            managed_team(connection, act, team_id, ROUTE)
            if references is None:
                asked = _all(connection, team_id, settings, act.at)
            else:
                asked = _named(connection, team_id, references, settings, act.at)
        return self._bulk.change(act, asked, ROUTE, team_id=team_id)


def _named(
    connection: Connection, team_id: str, references: Sequence[str], settings: Mapping[str, Any], now: datetime
) -> list[Asked]:
    """The keys by their plaintexts or hashes, each once; one of another team is as unknown as any."""
    named = key_rows.ids_of_references(connection, references, now)
    in_team = set(
        connection.execute(
            select(keys.c.key_id).where(keys.c.key_id.in_(set(named.values())), keys.c.team_id == team_id)
        ).scalars()
    )
    if not in_team:
        raise NothingFound("None of these keys is in the team.", "key_ids")
    found = {reference: key_id for reference, key_id in named.items() if key_id in in_team}
    return [Asked(reference, found.get(reference), settings) for reference in dict.fromkeys(references)]


def _all(connection: Connection, team_id: str, settings: Mapping[str, Any], now: datetime) -> list[Asked]:
    """The keys of the team that can be used at present, newest first, by their hashes."""
    rows = connection.execute(
        select(keys.c.key_id, key_secrets.c.token)
        .select_from(
            keys.join(key_secrets, and_(key_secrets.c.key_id == keys.c.key_id, key_secrets.c.revoke_at.is_(None)))
        )
        .where(
            keys.c.team_id == team_id,
            keys.c.blocked.is_not(True),
            or_(keys.c.expires_at.is_(None), keys.c.expires_at > now),
        )
        .order_by(keys.c.created_at.desc(), keys.c.key_id.desc())
        .limit(MOST_KEYS + 1)
    ).all()
    if not rows:
        raise NothingFound("The team has no key that can be used.", "team_id")
    if len(rows) > MOST_KEYS:
        raise InvalidRequest(f"The team has more than {MOST_KEYS} keys: name them by key_ids.", "all_keys_in_team")
    return [Asked(row.token, row.key_id, settings) for row in rows]
