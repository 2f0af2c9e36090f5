"""Pages of long lists: each ends with a cursor by which the next one goes on, at the same cost wherever it stands.

A list is ordered by one column and, among equals, by an id, both in one direction, so that one index serves either
direction. Rows without a value come last in both: they are a second run over the same index.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.sql.selectable import FromClause

from app.errors import InvalidRequest
from app.services.rows import cursors

# What no index counts is counted so far and not beyond, so that a list costs the same over any number of rows.
MOST_COUNTED = 10_001
# Up to so many rows that another table names are read and sorted; of more, a page is found sooner along the order.
FEW = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which page of what a request asks for: the one behind a cursor, else the one of this number.

    The filters of a list are further fields of a class derived from this one.
    """

    page: int = 1
    size: int = 10
    cursor: str | None = None

    def pages_of(self, total: int) -> int:
        """How many pages of this size hold so many rows."""
        return -(-total // self.size)

    def fingerprint(self) -> str:
        """Tells the lists of one noun apart: a cursor goes on with the list that it comes from and no other."""
        place = {field.name for field in fields(Wanted)}
        filters = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name not in place]
        return hashlib.sha256(repr(filters).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list: a column, and the id that no two rows share."""

    column: ColumnElement[Any]
    identity: ColumnElement[Any]
    descending: bool = True
    # Rows may lack a value; they come last.
    gaps: bool = False

    def by(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in columns]


def is_descending(sort_by: str, sort_order: str, sorts: Collection[str]) -> bool:
    """The direction of a sort, which must be one of those that the list knows; raises InvalidRequest."""
    if sort_by not in sorts:
        raise InvalidRequest(f"Invalid sort column. Must be one of: {', '.join(sorts)}", "sort_by")
    direction = sort_order.lower()
    if direction not in {"asc", "desc"}:
        raise InvalidRequest("Invalid sort order. Must be 'asc' or 'desc'", "sort_order")
    return direction == "desc"


@dataclass(frozen=True, slots=True)
class Within:
    """Narrows a list to rows that another table names, such as the members of a team: few, or nearly all."""

    column: ColumnElement[Any]
    ids: Select[Any]

    def collected(self) -> ColumnElement[bool]:
        """Every id is looked up: what that costs grows with the ids."""
        return self.column.in_(self.ids)

    def probed(self) -> ColumnElement[bool]:
        """Every row is looked up among the ids, which must be quick: no more of them are read."""
        (named,) = self.ids.selected_columns
        probe = self.ids.where(named == self.column).correlate(self.column.table)
        # With an offset it stays what it is: no planner makes a join of it, for which it might read all the ids.
        return probe.offset(0).exists()


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows that a list is drawn from, and whether an index counts them, or they are too few to matter."""

    source: FromClause
    where: Sequence[ColumnElement[bool]]
    order: Order
    countable: bool = True
    # What has as many rows as the source, where that joins for the order's sake alone.
    counted: FromClause | None = None
    # A row must meet one of these, if there are any; each is a walk of its own, along an index of its own.
    among: Sequence[ColumnElement[bool]] = ()
    # Rows of other sources that are in the list as well, in the same order.
    also: Sequence["Listing"] = ()
    # Several rows of the source may stand for one of the list: they share its id and what it is ordered by.
    repeats: bool = False
    # A row must be within each of these; how many rows that leaves decides how they are looked for.
    within: Sequence[Within] = ()

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """All that a row must meet, for a statement that reads all of the rows."""
        some = [or_(*self.among)] if self.among else []
        return [*self.where, *some, *(each.collected() for each in self.within)]


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the ids of its rows in their order, and what they are ordered by.

    `total` is how many rows the whole list has; at least so many where it is `capped`.
    """

    ids: Sequence[Any]
    values: Sequence[Any]
    total: int
    capped: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page ended; the total was counted for the first page of the walk and is carried along."""

    total: int
    capped: bool
    value: Any
    identity: Any


def page_of(connection: Connection, listing: Listing, wanted: Wanted) -> Page:
    """The page that is asked for: two statements, or one behind a cursor; raises InvalidRequest for the cursor."""
    place = _decoded(listing.order, wanted) if wanted.cursor else None
    if place is None:
        total, capped = _count(connection, listing)
    else:
        total, capped = place.total, place.capped
    if listing.within and total <= FEW:
        listing = _collected(listing)
    rows = connection.execute(_page(listing, wanted, place)).all()
    shown = rows[: wanted.size]
    more = len(rows) > len(shown)
    end = _Place(total, capped, shown[-1].value, shown[-1].identity) if more else None
    cursor = None if end is None else _encoded(wanted, end)
    return Page([row.identity for row in shown], [row.value for row in shown], total, capped, cursor)


def _collected(listing: Listing) -> Listing:
    """The same list over its rows alone, put together first: no order but theirs is walked."""
    order = listing.order
    rows = (
        select(order.column.label("value"), order.identity.label("identity"))
        .select_from(listing.source)
        .where(*listing.conditions)
        # With an offset it stays apart from what sorts it.
        .offset(0)
        .cte("collected")
    )
    return Listing(rows, (), replace(order, column=rows.c.value, identity=rows.c.identity))


def _page(listing: Listing, wanted: Wanted, place: _Place | None) -> Select[Any]:
    """The rows of the page and one more, which tells that there is another page."""
    offset = 0 if place is not None else (wanted.page - 1) * wanted.size
    order = listing.order
    runs = [
        _run(each, [*more, *narrowed], part)
        for each in (listing, *listing.also)
        for part, more in enumerate(_parts(each.order, place))
        if more is not None
        for narrowed in ([[one] for one in each.among] or [[]])
    ]
    if len(runs) == 1:
        return runs[0].limit(wanted.size + 1).offset(offset)
    # Each run ends where the page does at the latest, so what is put together is never long.
    ends: list[Subquery] = [run.limit(offset + wanted.size + 1).subquery() for run in runs]
    together = union(*(select(end) for end in ends)).subquery()
    return (
        select(together)
        .order_by(together.c.part, *order.by(together.c.value, together.c.identity))
        .limit(wanted.size + 1)
        .offset(offset)
    )


def _parts(order: Order, place: _Place | None) -> list[list[ColumnElement[bool]] | None]:
    """What narrows a list to its rows with a value and to those without, behind the place; None for no rows."""
    behind = [] if place is None else [_behind(order, place)]
    if not order.gaps:
        is_over = place is not None and place.value is None
        return [None if is_over else behind]
    missing: ColumnElement[bool] = order.column.is_(None)
    if place is not None and place.value is None:
        return [None, [missing, _beyond(order, place.identity)]]
    return [[order.column.is_not(None), *behind], [missing]]


def _run(listing: Listing, more: Sequence[ColumnElement[bool]], part: int) -> Select[Any]:
    order = listing.order
    found = (
        select(literal(part).label("part"), order.column.label("value"), order.identity.label("identity"))
        .select_from(listing.source)
        .where(*listing.where, *(each.probed() for each in listing.within), *more)
        .order_by(*order.by(order.column, order.identity))
    )
    # Grouped by the order itself, they come out of its index one after the other.
    return found.group_by(order.column, order.identity) if listing.repeats else found


def _behind(order: Order, place: _Place) -> ColumnElement[bool]:
    columns = tuple_(order.column, order.identity)
    end = tuple_(place.value, place.identity, types=[order.column.type, order.identity.type])
    return columns < end if order.descending else columns > end


def _beyond(order: Order, identity: Any) -> ColumnElement[bool]:
    beyond: ColumnElement[bool] = order.identity < identity if order.descending else order.identity > identity
    return beyond


def _count(connection: Connection, listing: Listing) -> tuple[int, bool]:
    if listing.countable:
        statement = select(func.count()).select_from(_counted(listing)).where(*listing.conditions)
        return connection.execute(statement).scalar_one(), False
    ends = [select(_matching(each).limit(MOST_COUNTED).subquery()) for each in (listing, *listing.also)]
    found = union_all(*ends).limit(MOST_COUNTED).subquery()
    total = connection.execute(select(func.count()).select_from(found)).scalar_one()
    return total, total == MOST_COUNTED


def _matching(listing: Listing) -> Select[Any]:
    found = select(literal(1).label("one")).select_from(_counted(listing)).where(*listing.conditions)
    return found.group_by(listing.order.column, listing.order.identity) if listing.repeats else found


def _counted(listing: Listing) -> FromClause:
    return listing.source if listing.counted is None else listing.counted


def _encoded(wanted: Wanted, end: _Place) -> str:
    return cursors.encode([wanted.fingerprint(), end.total, int(end.capped), end.value, end.identity])


def _decoded(order: Order, wanted: Wanted) -> _Place:
    value = order.column.type.python_type
    fingerprint, total, capped, value, identity = cursors.decode(
        wanted.cursor or "",
        [str, int, int, (value, NoneType) if order.gaps else value, order.identity.type.python_type],
    )
    if fingerprint != wanted.fingerprint():
        raise cursors.unusable()
    return _Place(total, bool(capped), value, identity)
