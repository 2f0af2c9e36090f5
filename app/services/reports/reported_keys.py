"""How a report names keys: by what they are called now, deleted ones as they were."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, union_all

from app.domain.access import SpendReach
from app.models import deleted_keys, key_secrets, keys
from app.services.reports.report_filters import within


@dataclass(frozen=True, slots=True)
class ReportedKey:
    """A key in a report. One that has left the caller's reach, or every table, goes by its `key_id` alone."""

    key_id: str
    token: str | None = None
    key_name: str | None = None
    key_alias: str | None = None
    team_id: str | None = None

    @property
    def name(self) -> str:
        """The hash, as everywhere on the wire, else the id."""
        return self.token or self.key_id


def load(connection: Connection, reach: SpendReach, key_ids: Iterable[str]) -> dict[str, ReportedKey]:
    """All of these keys, in one statement."""
    wanted = set(key_ids) - {""}
    if not wanted:
        return {}
    current = and_(key_secrets.c.key_id == keys.c.key_id, key_secrets.c.revoke_at.is_(None))
    live = select(
        keys.c.key_id, key_secrets.c.token, key_secrets.c.key_name, keys.c.key_alias, keys.c.team_id
    ).select_from(keys.join(key_secrets, current))
    archived = select(*(deleted_keys.c[name] for name in ("key_id", "token", "key_name", "key_alias", "team_id")))
    rows = connection.execute(
        union_all(
            live.where(keys.c.key_id.in_(wanted), within(reach, keys)),
            archived.where(deleted_keys.c.key_id.in_(wanted), within(reach, deleted_keys)),
        )
    )
    found = {row.key_id: ReportedKey(*row) for row in rows}
    return {key_id: found.get(key_id) or ReportedKey(key_id) for key_id in wanted}
