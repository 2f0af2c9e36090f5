"""Reports of what was spent: by key, tag, end user, day, and charge by charge.

Reports of days are drawn from the daily sums, which lag behind the ledger by the rollup's interval. What a key has
spent is read as everywhere else. Each report is one bounded page, and takes as many statements whatever it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from app.db import Database
from app.domain.access import Caller, SpendReach, sees_spend_of, spend_reach
from app.domain.activity import Day, Identity, Sums, days_of
from app.domain.teams import DASHBOARD_TEAM
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.models import budget_state, daily_label_spend, daily_spend, keys, ledger, teams
from app.services.access import standings
from app.services.accounts.spends import of_state
from app.services.audit.audit import Act
from app.services.keys import key_rows
from app.services.keys.key_views import KeyView
from app.services.reports import reported_keys
from app.services.reports.report_filters import ReportQuery, after, of_charges, of_days, of_labels, within
from app.services.reports.reported_keys import ReportedKey
from app.services.rows import cursors

# A summary is not paged: so many days, keys, users and models at the most.
MOST_SUMMED = 10_000
USUAL_DAYS = 30

Row = tuple[Identity, Sums]
_IDENTITY = tuple(daily_spend.primary_key.columns)


@dataclass(frozen=True, slots=True)
class LabelSums:
    name: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Some rows of daily sums, newest day first, of `total`; `entity` is `team_id` or `user_id`."""

    entity: str
    rows: Sequence[Row]
    total: int
    next_cursor: str | None
    keys: Mapping[str, ReportedKey]
    team_aliases: Mapping[str, str | None]

    @property
    def days(self) -> list[Day]:
        return days_of(self.rows, self.entity)


@dataclass(frozen=True, slots=True)
class ChargePage:
    """Some charges, newest first."""

    rows: Sequence[Mapping[Any, Any]]
    next_cursor: str | None
    keys: Mapping[str, ReportedKey]


class Reports:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def keys(self, act: Act, query: ReportQuery) -> list[KeyView]:
        """A page of the live keys by what they have spent, most first.

        Pages follow the stored spend and each is put in order by the true one, which may be ahead of it.
        """
        with self._database.read() as connection:
            reach = _reach(connection, act.caller)
            # Every live key has an account, whose index is in this order.
            ids = (
                select(keys.c.key_id)
                .join(budget_state, of_state("key", keys.c.key_id))
                .where(within(reach, keys), or_(keys.c.team_id.is_(None), keys.c.team_id != DASHBOARD_TEAM))
                .order_by(budget_state.c.window_spend_nanos.desc(), budget_state.c.scope_id.desc())
            )
            page = connection.execute(_paged(ids, query)).scalars().all()
            views = key_rows.load(connection, page, self._calendar, act.at)
        return sorted(views, key=lambda view: (-view.spend.window_nanos, view.key_id))

    def labels(self, act: Act, label: str, names: tuple[str, ...], query: ReportQuery) -> list[LabelSums]:
        """A page of the tags, or end users, by what was spent under them, most first."""
        table = daily_label_spend
        with self._database.read() as connection:
            reach = _reach(connection, act.caller)
            statement = (
                select(table.c.name, *_summed(table))
                .where(*of_labels(reach, label, names, query, act.at))
                .group_by(table.c.name)
                .order_by(func.sum(table.c.spend_nanos).desc(), table.c.name)
            )
            rows = connection.execute(_paged(statement, query)).all()
        return [LabelSums(row.name, _sums(row)) for row in rows]

    def top_keys(self, act: Act, query: ReportQuery) -> list[tuple[ReportedKey, Sums]]:
        """A page of the keys, deleted ones included, by what they spent within the days asked for, most first.

        Without a first day, the last USUAL_DAYS.
        """
        if query.start_date is None:
            last = query.end_date or act.at.astimezone(UTC).date()
            query = replace(query, start_date=last - min(timedelta(days=USUAL_DAYS), last - last.min))
        with self._database.read() as connection:
            reach = _reach(connection, act.caller)
            statement = (
                select(daily_spend.c.key_id, *_summed(daily_spend))
                .where(*of_days(reach, query, act.at), daily_spend.c.key_id != "")
                .group_by(daily_spend.c.key_id)
                .order_by(func.sum(daily_spend.c.spend_nanos).desc(), daily_spend.c.key_id)
            )
            rows = connection.execute(_paged(statement, query)).all()
            named = reported_keys.load(connection, reach, (row.key_id for row in rows))
        return [(named[row.key_id], _sums(row)) for row in rows]

    def user_activity(self, act: Act, query: ReportQuery) -> ActivityPage:
        """A page of daily sums: the caller's own, or those of the named user within the caller's reach.

        Whoever sees all, sees everybody's where no user is named. Raises InvalidRequest.
        """
        with self._database.read() as connection:
            reach = _reach(connection, act.caller) if query.user_id else spend_reach(act.caller)
            return _activity(connection, reach, "user_id", query, act.at)

    def team_activity(self, act: Act, query: ReportQuery) -> ActivityPage:
        """A page of daily sums of teams: of a plain member, its own part of them. Raises InvalidRequest."""
        with self._database.read() as connection:
            return _activity(connection, _reach(connection, act.caller), "team_id", query, act.at)

    def charges(self, act: Act, query: ReportQuery) -> ChargePage:
        """A page of the charges in the ledger, newest first; raises InvalidRequest."""
        place = (ledger.c.occurred_at, ledger.c.ledger_id)
        with self._database.read() as connection:
            reach = _reach(connection, act.caller)
            statement = select(ledger).where(*of_charges(reach, query, act.at))
            if query.cursor:
                statement = statement.where(after(cursors.decode(query.cursor, [datetime, int]), *place))
            statement = statement.order_by(*(column.desc() for column in place))
            found = connection.execute(_paged(statement, query, more=1)).mappings().all()
            rows = found[: query.page_size]
            named = reported_keys.load(connection, reach, (row["key_id"] or "" for row in rows))
        end = [rows[-1]["occurred_at"], rows[-1]["ledger_id"]] if len(found) > len(rows) else None
        return ChargePage(rows, None if end is None else cursors.encode(end), named)

    def summary(self, act: Act, query: ReportQuery) -> tuple[list[Row], Mapping[str, ReportedKey]]:
        """What each key, user and model spent on each day, oldest first; raises InvalidRequest for too much."""
        by = (daily_spend.c.day, daily_spend.c.key_id, daily_spend.c.user_id, daily_spend.c.model)
        with self._database.read() as connection:
            reach = _reach(connection, act.caller)
            statement = (
                select(*by, *_summed(daily_spend))
                .where(*of_days(reach, query, act.at))
                .group_by(*by)
                .order_by(*by)
                .limit(MOST_SUMMED + 1)
            )
            rows = connection.execute(statement).all()
            if len(rows) > MOST_SUMMED:
                raise InvalidRequest(
                    f"The summary would hold more than {MOST_SUMMED:,} entries. Ask for fewer days, or for "
                    "single charges with summarize=false.",
                    "start_date",
                )
            named = reported_keys.load(connection, reach, (row.key_id for row in rows))
        return [(Identity(row.day, row.key_id, "", row.user_id, "", row.model), _sums(row)) for row in rows], named


def _activity(
    connection: Connection, reach: SpendReach, entity: str, query: ReportQuery, now: datetime
) -> ActivityPage:
    if query.start_date is None or query.end_date is None:
        raise InvalidRequest("Please provide start_date and end_date", "start_date")
    where = [*of_days(reach, query, now)]
    if entity == "team_id":
        where.append(daily_spend.c.team_id != "")
    total = connection.execute(select(func.count()).select_from(daily_spend).where(*where)).scalar_one()
    if query.cursor:
        where.append(after(cursors.decode(query.cursor, [str] * len(_IDENTITY)), *_IDENTITY))
    statement = (
        select(daily_spend, teams.c.team_alias)
        .join(teams, teams.c.team_id == daily_spend.c.team_id, isouter=True)
        .where(*where)
        .order_by(*(column.desc() for column in _IDENTITY))
    )
    found = connection.execute(_paged(statement, query, more=1)).all()
    rows = [(Identity(*row[: len(_IDENTITY)]), _sums(row)) for row in found[: query.page_size]]
    return ActivityPage(
        entity,
        rows,
        total,
        cursors.encode(rows[-1][0]) if len(found) > len(rows) else None,
        reported_keys.load(connection, reach, (identity.key_id for identity, _ in rows)),
        {row.team_id: row.team_alias for row in found},
    )


def _reach(connection: Connection, caller: Caller) -> SpendReach:
    """What the caller sees; whoever sees all needs no statement for it."""
    if caller.sees_all:
        return spend_reach(caller)
    known = standings.of_caller(connection, caller)
    return spend_reach(caller, (team_id for team_id, standing in known.items() if sees_spend_of(standing)))


def _paged(statement: Select[Any], query: ReportQuery, more: int = 0) -> Select[Any]:
    """One page of it, and so many rows more, which tell that there is another page."""
    return statement.limit(query.page_size + more).offset(query.offset)


def _summed(table: Any) -> list[Any]:
    return [
        func.sum(table.c[name]).label(name)
        for name in ("spend_nanos", "input_tokens", "output_tokens", "requests")
    ]


def _sums(row: Any) -> Sums:
    """PostgreSQL adds integers up to decimals."""
    return Sums(int(row.spend_nanos), int(row.input_tokens), int(row.output_tokens), int(row.requests))
