"""Stores with as many rows of everything as one likes, made by a handful of statements.

Ids count up, as `user-0000001`, and so does the time at which a row was made. The first team, user and organization
are large: nearly a quarter of all keys is theirs. The second ones are as small in any population. Of what may be
missing, some is. A population of a thousand and a larger one show pages of the same length wherever they can.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    true,
)

from app.db import Database, Json
from app.models import (
    audit,
    budget_state,
    budgets,
    deliveries,
    events,
    key_secrets,
    keys,
    organization_members,
    organizations,
    team_members,
    teams,
    users,
)
from tests.clocks import START
from tests.factories import NANOS

# The first of each noun, and the second.
USER, TEAM, ORGANIZATION = (f"{noun}-0000001" for noun in ("user", "team", "organization"))
SMALL_USER, SMALL_TEAM, SMALL_ORGANIZATION = (f"{noun}-0000002" for noun in ("user", "team", "organization"))
# What the first key has of the names that are strewn about.
STREWN = "0507919"
# The first of a noun has one row in four, but for one in five of these, up to the thousandth: the second has those.
_SHARE, _SHARE_OF_SECOND, _LAST_OF_SECOND = 4, 20, 1_000
# Of the first so many events there are some in each state: of the rest none is parked, or went to nobody.
_FIRST = 1_000
# So many users came by single sign-on.
_SIGNED_ON = 100
# No statement may take longer than one of the service.
_AT_ONCE = 5_000
_NOUNS = ("key", "team", "user", "organization")
# Primes, by which numbers are strewn about; those of the first rows come to lie in the middle.
_STRIDE, _RANGE = 7_919, 1_000_003
_MIDDLE = 500_000


def fill(database: Database, rows: int) -> None:
    """Put so many keys, users, teams, organizations, tiers and audit rows into an empty store."""
    for first in range(1, rows + 1, _AT_ONCE):
        with database.transaction() as transaction:
            population = _Population(transaction, first, min(first + _AT_ONCE - 1, rows))
            population.put_identities()
            population.put_keys()
            population.put_records()
            population.put_events()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


class _Population:
    def __init__(self, transaction: Connection, first: int, last: int) -> None:
        self._transaction = transaction
        numbers = select(literal(first, BigInteger).label("n")).cte("numbers", recursive=True)
        following = select(numbers.c.n + literal(1, BigInteger)).where(numbers.c.n < last)
        self._numbers = numbers.union_all(following)
        self._n = self._numbers.c.n
        self._strewn = (self._n * _STRIDE + _MIDDLE) % _RANGE
        self._made = {"created_at": self._moment(self._n), "updated_at": self._moment(self._strewn)}

    def put_identities(self) -> None:
        address = self._named("user") + literal("@example.com")
        self._into(budgets, budget_id=self._id("budget"), max_budget_nanos=self._strewn * NANOS, **self._made)
        self._into(
            organizations,
            organization_id=self._id("organization"),
            organization_alias=self._named("Organization"),
            budget_id=self._id("budget"),
            **self._made,
        )
        self._into(
            users,
            user_id=self._id("user"),
            user_email=address,
            email_folded=address,
            user_alias=self._mostly(self._named("User")),
            user_role=self._one_of("internal_user", "internal_user_viewer", "proxy_admin_viewer"),
            sso_user_id=case((self._n <= _SIGNED_ON, self._id("sso")), else_=None),
            max_budget_nanos=self._mostly(self._strewn * NANOS),
            tpm_limit=self._mostly(self._n % 997),
            **self._made,
        )
        self._into(
            teams,
            team_id=self._id("team"),
            team_alias=self._mostly(self._named("Team")),
            # The first is in none: where there are few teams, a page of them would tell its many members.
            organization_id=case((self._n == 1, None), else_=self._shared("organization")),
            max_budget_nanos=self._mostly(self._strewn * NANOS),
            **self._made,
        )
        self._into(
            team_members,
            team_id=self._shared("team"),
            user_id=self._id("user"),
            role="user",
            created_at=self._made["created_at"],
        )
        self._into(
            organization_members,
            organization_id=self._shared("organization"),
            user_id=self._id("user"),
            user_role="internal_user",
            **self._made,
        )

    def put_keys(self) -> None:
        self._into(
            keys,
            key_id=self._id("key"),
            key_alias=self._mostly(self._named("Key")),
            user_id=self._shared("user"),
            team_id=self._shared("team"),
            organization_id=self._shared("organization"),
            created_by=self._shared("user"),
            models=literal(["gpt-4o"], Json),
            max_budget_nanos=self._mostly(self._strewn * NANOS),
            tpm_limit=self._mostly(self._n % 997),
            rpm_limit=self._mostly(self._n % 499),
            expires_at=self._mostly(self._moment(self._n + 100_000_000)),
            last_active=self._mostly(self._moment(self._n * 31 % 999_983)),
            **self._made,
        )
        self._into(
            key_secrets,
            token=self._numbered("f" * 57, self._strewn),
            key_id=self._id("key"),
            key_name="sk-...abcd",
            created_at=self._made["created_at"],
        )

    def put_records(self) -> None:
        for noun in _NOUNS:
            self._into(
                budget_state,
                scope=noun,
                scope_id=self._id(noun),
                sub="",
                window_spend_nanos=self._strewn * 1_000,
                lifetime_spend_nanos=self._strewn * 2_000,
                reset_at=self._mostly(self._moment(self._n + 200_000_000)),
            )
        self._into(
            audit,
            at=self._made["created_at"],
            actor_user_id=self._shared("user"),
            actor_key_id=self._shared("key"),
            actor_role="internal_user",
            changed_by=case((self._n % 5 == 0, self._shared("user")), else_=None),
            action=self._one_of("new", "update", "delete"),
            entity=self._one_of("key", "team", "user"),
            entity_id=self._id("key"),
            request_id=self._id("request"),
        )

    def put_events(self) -> None:
        """For two receivers each. A fifth waits; of the first ones others are given up, or went to nobody."""
        at, fifth = self._made["created_at"], self._n % 5
        waits, first = fifth == 0, self._n <= _FIRST
        parked, alone = and_(first, fifth == 1), and_(first, fifth == 2)
        self._into(
            events,
            event_id=self._id("event"),
            kind=self._one_of("key_created", "key_updated", "key_deleted"),
            entity=self._one_of("key", "team", "user"),
            entity_id=self._id("key"),
            payload=literal({}, Json),
            created_at=at,
            routed_at=at,
            addressed=case((alone, None), else_=true()),
        )
        for target in ("webhook:0", "webhook:1"):
            self._into(
                deliveries,
                ~alone,
                target=target,
                subject="event",
                subject_id=self._id("event"),
                recipient="",
                attempts=1,
                happened_at=at,
                created_at=at,
                delivered_at=case((or_(waits, parked), None), else_=at),
                parked_at=case((parked, at), else_=None),
            )

    def _into(self, table: Table, *which: ColumnElement[bool], **columns: Any) -> None:
        found = [
            value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)
            for name, value in columns.items()
        ]
        chosen = select(*found).select_from(self._numbers).where(*which)
        self._transaction.execute(insert(table).from_select(list(columns), chosen, include_defaults=False))

    def _id(self, noun: str) -> ColumnElement[Any]:
        return self._numbered(f"{noun}-", self._n)

    def _shared(self, noun: str) -> ColumnElement[Any]:
        """One's own of a noun, but of every fourth the first one or the second."""
        second = and_(self._n % _SHARE_OF_SECOND == _SHARE, self._n <= _LAST_OF_SECOND)
        return self._numbered(f"{noun}-", case((second, 2), (self._n % _SHARE == 0, 1), else_=self._n))

    def _named(self, noun: str) -> ColumnElement[Any]:
        """Names that do not sort as the ids do."""
        return self._numbered(f"{noun} ", self._strewn)

    @staticmethod
    def _numbered(prefix: str, number: ColumnElement[Any]) -> ColumnElement[Any]:
        """Seven digits behind the prefix."""
        return literal(prefix) + func.substr(cast(number + 10_000_000, Text), 2)

    def _mostly(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((self._n % 3 == 0, None), else_=value)

    def _one_of(self, *choices: str) -> ColumnElement[Any]:
        return case(dict(enumerate(choices)), value=self._n % len(choices))

    def _moment(self, seconds: ColumnElement[Any]) -> ColumnElement[datetime]:
        if self._transaction.dialect.name == "postgresql":
            return literal(START) + seconds * text("interval '1 second'")
        at = func.datetime(cast(literal(int(START.timestamp())), Integer) + seconds, "unixepoch")
        return at + literal(".000000")
