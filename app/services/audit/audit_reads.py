"""Reading the audit trail: one row, or a page of those that match, newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, select

from app.clock import iso
from app.db import Database
from app.domain import access
from app.domain.audit import entity_named, table_name
from app.errors import NotFound
from app.models import audit
from app.services.access.refusals import enforce
from app.services.audit.audit import Act
from app.services.rows.pages import Listing, Order, Page, Wanted, page_of

_HIGHEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery(Wanted):
    """Which rows a request asks for; None and "" leave a filter out.

    `changed_by` finds whom LiteLLM's field of that name shows: the claim, else the caller's user.
    """

    entity: str | None = None
    entity_id: str | None = None
    actor_user_id: str | None = None
    actor_key_id: str | None = None
    changed_by: str | None = None
    action: str | None = None
    request_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the trail."""

    columns: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """LiteLLM's names first; an id of a key stands where it has a hash, and never a secret."""
        columns = self.columns
        return {
            "id": str(columns["audit_id"]),
            "updated_at": iso(columns["at"]),
            "changed_by": columns["changed_by"] or columns["actor_user_id"] or "",
            "changed_by_api_key": columns["actor_key_id"] or "",
            "action": columns["action"],
            "table_name": table_name(columns["entity"]),
            "object_id": columns["entity_id"],
            "before_value": columns["before"],
            "updated_values": columns["after"],
            "litellm_changed_by": columns["changed_by"],
            **{name: columns[name] for name in _OURS},
        }


_OURS = ("actor_key_id", "actor_user_id", "actor_role", "request_id", "address", "entity", "entity_id")
_EXACT = ("entity_id", "actor_user_id", "actor_key_id", "action", "request_id")


@dataclass(frozen=True, slots=True)
class AuditPage:
    page: Page
    entries: Sequence[AuditEntry]


class AuditReads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, act: Act, query: AuditQuery) -> AuditPage:
        """A page of the rows that match; three statements, or two behind a cursor.

        Raises RoleRefused for whoever does not see all, InvalidRequest for a cursor of another list.
        """
        enforce(access.may_read_audit(act.caller))
        order = Order(audit.c.at, audit.c.audit_id, descending=query.descending)
        listing = Listing(audit, _conditions(query), order, countable=_countable(query), among=_among(query))
        with self._database.read() as connection:
            page = page_of(connection, listing, query)
            rows = connection.execute(select(audit).where(audit.c.audit_id.in_(page.ids))).mappings()
            found = {row["audit_id"]: AuditEntry(dict(row)) for row in rows}
        return AuditPage(page, [found[audit_id] for audit_id in page.ids if audit_id in found])

    def entry(self, act: Act, audit_id: str) -> AuditEntry:
        """One row; raises NotFound, and RoleRefused as `list` does."""
        enforce(access.may_read_audit(act.caller))
        with self._database.read() as connection:
            row = connection.execute(select(audit).where(audit.c.audit_id == _number(audit_id))).mappings().first()
        if row is None:
            raise NotFound("Audit log not found.", "id")
        return AuditEntry(dict(row))


def _number(audit_id: str) -> int:
    """The id as it is stored; 0, which no row has, for what cannot be one."""
    usable = audit_id.isascii() and audit_id.isdigit() and len(audit_id) <= len(str(_HIGHEST_ID))
    number = int(audit_id) if usable else 0
    return number if number <= _HIGHEST_ID else 0


def _conditions(query: AuditQuery) -> list[ColumnElement[bool]]:
    wanted = [audit.c[name] == getattr(query, name) for name in _EXACT if getattr(query, name)]
    if query.entity:
        wanted.append(audit.c.entity == entity_named(query.entity))
    if query.start is not None:
        wanted.append(audit.c.at >= query.start)
    if query.end is not None:
        wanted.append(audit.c.at <= query.end)
    return wanted


def _among(query: AuditQuery) -> list[ColumnElement[bool]]:
    """Whom LiteLLM's `changed_by` shows: who is claimed to have made the change, else whoever made it."""
    if not query.changed_by:
        return []
    unclaimed = and_(audit.c.changed_by.is_(None), audit.c.actor_user_id == query.changed_by)
    return [audit.c.changed_by == query.changed_by, unclaimed]


def _countable(query: AuditQuery) -> bool:
    """Whether an index alone counts the rows: that of one filter, within a time or without."""
    return sum(bool(getattr(query, name)) for name in (*_EXACT, "entity", "changed_by")) <= 1
