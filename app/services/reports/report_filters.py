"""What a report counts: the caller's reach and the asked filters, all of it in SQL.

A filter narrows what the caller may see and never widens it, so what lies beyond the reach is not there, whether
it exists or not.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import ColumnElement, Select, false, literal, or_, select, true, tuple_, union_all
from sqlalchemy.sql.selectable import CompoundSelect, FromClause

from app.domain import minting
from app.domain.access import SpendReach
from app.errors import InvalidRequest
from app.models import daily_label_spend, daily_spend, deleted_keys, key_secrets, keys, ledger
from app.services.keys.key_filters import holds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """What a report is asked for; None, "" and () leave a filter out. Days are UTC, the last one included.

    With a `cursor` the page begins behind where another one ended, else it is the page of this number.
    """

    start_date: date | None = None
    end_date: date | None = None
    page: int = 1
    page_size: int = 100
    cursor: str | None = None
    api_key: str | None = None
    model: str | None = None
    user_id: str | None = None
    team_ids: tuple[str, ...] = ()
    exclude_team_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    end_user: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise InvalidRequest("start_date must not be after end_date.", "start_date")

    @property
    def offset(self) -> int:
        return 0 if self.cursor else (self.page - 1) * self.page_size


def within(reach: SpendReach, table: FromClause) -> ColumnElement[bool]:
    """Whether a row of a table with `user_id`, `key_id` and `team_id` lies within the reach."""
    if reach.everything:
        return true()
    own = [table.c[name] == value for name in ("user_id", "key_id") if (value := getattr(reach, name))]
    return or_(false(), *own, table.c.team_id.in_(sorted(reach.team_ids)))


def of_days(reach: SpendReach, query: ReportQuery, now: datetime) -> list[ColumnElement[bool]]:
    """Which daily sums count."""
    return [within(reach, daily_spend), *_days(query, daily_spend), *_named(query, daily_spend, now)]


def of_labels(
    reach: SpendReach, label: str, names: tuple[str, ...], query: ReportQuery, now: datetime
) -> list[ColumnElement[bool]]:
    """Which sums by a label count: those of keys that lie within the reach today, deleted ones included."""
    table = daily_label_spend
    wanted = [table.c.label == label, *_days(query, table)]
    if not reach.everything:
        wanted.append(table.c.key_id.in_(_keys_within(reach)))
    if names:
        wanted.append(table.c.name.in_(names))
    if query.api_key:
        wanted.append(table.c.key_id.in_(_keys_of(query.api_key, now)))
    if query.model:
        wanted.append(table.c.model == query.model)
    return wanted


def of_charges(reach: SpendReach, query: ReportQuery, now: datetime) -> list[ColumnElement[bool]]:
    """Which rows of the ledger count: charges, neither corrections nor checkpoints."""
    wanted = [ledger.c.kind == "charge", within(reach, ledger), *_named(query, ledger, now)]
    if query.start_date:
        wanted.append(ledger.c.occurred_at >= datetime.combine(query.start_date, time.min, UTC))
    if query.end_date:
        wanted.append(ledger.c.occurred_at <= datetime.combine(query.end_date, time.max, UTC))
    if query.request_id:
        wanted.append(ledger.c.request_id == query.request_id)
    if query.end_user:
        wanted.append(ledger.c.end_user == query.end_user)
    return wanted + [holds(ledger.c.tags, tag) for tag in query.tags]


def after(position: list[Any], *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a row comes behind the position, in the descending order of these columns."""
    values = (literal(value, column.type) for value, column in zip(position, columns, strict=True))
    return tuple_(*columns) < tuple_(*values)


def _days(query: ReportQuery, table: FromClause) -> list[ColumnElement[bool]]:
    wanted = []
    if query.start_date:
        wanted.append(table.c.day >= query.start_date.isoformat())
    if query.end_date:
        wanted.append(table.c.day <= query.end_date.isoformat())
    return wanted


def _named(query: ReportQuery, table: FromClause, now: datetime) -> list[ColumnElement[bool]]:
    exact = {"model": query.model, "user_id": query.user_id}
    wanted = [table.c[name] == value for name, value in exact.items() if value]
    if query.api_key:
        wanted.append(table.c.key_id.in_(_keys_of(query.api_key, now)))
    if query.team_ids:
        wanted.append(table.c.team_id.in_(query.team_ids))
    if query.exclude_team_ids:
        wanted.append(or_(table.c.team_id.is_(None), table.c.team_id.not_in(query.exclude_team_ids)))
    return wanted


def _keys_of(reference: str, now: datetime) -> CompoundSelect[Any]:
    """The key that a plaintext or a hash names, deleted or not; by its id, one that the archive has forgotten."""
    token = minting.token_of(reference)
    usable = or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > now)
    return union_all(
        select(key_secrets.c.key_id).where(key_secrets.c.token == token, usable),
        select(deleted_keys.c.key_id).where(deleted_keys.c.token == token),
        select(literal(token)),
    )


def _keys_within(reach: SpendReach) -> CompoundSelect[Any]:
    def of(table: FromClause) -> Select[Any]:
        return select(table.c.key_id).where(within(reach, table))

    return union_all(of(keys), of(deleted_keys))
