"""Accounts of every kind by the ten thousand, with windows of different lengths that all end at one instant.

A family is an organization, a team of it, a member of that, and a key of both: one account of each kind. The first
is made through the API, the others are copies of its rows, put in by sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from app.container import Services
from app.db import metadata
from app.domain import minting
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from app.domain.windows import Window
from app.services.audit.audit import SYSTEM, Act
from app.services.ledger import ledger
from app.services.ledger.ledger import Entry
from tests.clients import Api
from tests.factories import everything
from tests.services.due import Stored
from tests.services.every_scope import fold

MODEL = "gpt-4o"
DAY = timedelta(days=1)
# A Monday, and the first of a month: half a day, a day, a week and a month end at once.
BOUNDARY = datetime(2027, 2, 1, tzinfo=UTC)
MADE_AT = BOUNDARY - timedelta(hours=2)
MONTH = 28 * DAY  # the length of this one
# How long the windows are that begin at the boundary, and how that is spelled.
LENGTHS: Mapping[ScopeKind, tuple[timedelta, str]] = {
    ScopeKind.KEY: (DAY, "1d"),
    ScopeKind.KEY_MODEL: (7 * DAY, "7d"),
    ScopeKind.KEY_WINDOW: (DAY / 2, "12h"),
    ScopeKind.TEAM: (7 * DAY, "weekly"),
    ScopeKind.TEAM_MODEL: (MONTH, "30d"),
    ScopeKind.TEAM_WINDOW: (DAY, "daily"),
    ScopeKind.MEMBER: (MONTH, "1mo"),
    ScopeKind.USER: (DAY, "1d"),
    ScopeKind.USER_MODEL: (7 * DAY, "1w"),
    ScopeKind.ORGANIZATION: (MONTH, "monthly"),
}
# What each family has spent before its windows end: a part is folded, a part waits.
FOLDED_NANOS, WAITING_NANOS = 700_000, 30_000
SPENT_NANOS = FOLDED_NANOS + WAITING_NANOS

_COPIED = (
    "budgets",
    "organizations",
    "users",
    "teams",
    "team_members",
    "keys",
    "key_secrets",
    "budget_state",
)
_TEAM, _USER, _ORGANIZATION = "the first team", "the first user", "the first organization"
_AT_ONCE = 250

Names = Mapping[str, str]


def token(number: int) -> str:
    """What a family's key is found by; nobody knows its plaintext."""
    return minting.digest(f"the key of family {number}")


def make(api: Api, services: Services, count: int) -> None:
    """Make so many families in an empty store, and charge each of their accounts twice."""
    _make_first(api)
    first = everything(services.database)
    names = [_names(first, number) for number in range(count)]
    with services.database.transaction() as transaction:
        for table in reversed(metadata.sorted_tables):
            transaction.execute(table.delete())
    for some in _pages(names):
        with services.database.transaction() as transaction:
            for table in metadata.sorted_tables:
                if table.name in _COPIED:
                    copies = [_renamed(row, family) for family in some for row in first[table.name]]
                    transaction.execute(insert(table), copies)
    _charge(services, first, names, "folded", FOLDED_NANOS)
    fold(services)
    _charge(services, first, names, "waiting", WAITING_NANOS)


def _make_first(api: Api) -> None:
    spelled = {kind: spelling for kind, (_, spelling) in LENGTHS.items()}

    def of_model(kind: ScopeKind) -> dict[str, Any]:
        return {MODEL: {"budget_limit": 50, "time_period": spelled[kind]}}

    def further(kind: ScopeKind) -> list[dict[str, Any]]:
        return [{"budget_duration": spelled[kind], "max_budget": 90}]

    sent: Sequence[tuple[str, dict[str, Any]]] = (
        (
            "/organization/new",
            {
                "organization_id": _ORGANIZATION,
                "organization_alias": "o",
                "budget_duration": spelled[ScopeKind.ORGANIZATION],
            },
        ),
        (
            "/user/new",
            {
                "user_id": _USER,
                "auto_create_key": False,
                "budget_duration": spelled[ScopeKind.USER],
                "model_max_budget": of_model(ScopeKind.USER_MODEL),
            },
        ),
        (
            "/team/new",
            {
                "team_id": _TEAM,
                "organization_id": _ORGANIZATION,
                "budget_duration": spelled[ScopeKind.TEAM],
                "model_max_budget": of_model(ScopeKind.TEAM_MODEL),
                "budget_limits": further(ScopeKind.TEAM_WINDOW),
                "team_member_budget": 90,
                "team_member_budget_duration": spelled[ScopeKind.MEMBER],
                "members_with_roles": [{"role": "user", "user_id": _USER}],
            },
        ),
        (
            "/key/generate",
            {
                "team_id": _TEAM,
                "user_id": _USER,
                "budget_duration": spelled[ScopeKind.KEY],
                "model_max_budget": of_model(ScopeKind.KEY_MODEL),
                "budget_limits": further(ScopeKind.KEY_WINDOW),
            },
        ),
    )
    for path, body in sent:
        answer = api.post(path, body)
        assert answer.status == 200, answer
    # The accounts of models and further windows are opened by use.
    used = {"key": answer.body["key"], "request_id": "first", "model": MODEL, "cost": 0}
    assert api.post("/key/settle", used).status == 200


def _names(first: Stored, number: int) -> Names:
    """What the names of the first family are in another one."""
    (key,), (secret,) = first["keys"], first["key_secrets"]
    team, user = f"team {number}", f"user {number}"
    return {
        _ORGANIZATION: f"organization {number}",
        _TEAM: team,
        _USER: user,
        member_id(_TEAM, _USER): member_id(team, user),
        key["key_id"]: f"key {number}",
        secret["token"]: token(number),
        **{row["budget_id"]: f"{row['budget_id']} {number}" for row in first["budgets"]},
    }


def _renamed(row: Mapping[str, Any], names: Names) -> dict[str, Any]:
    return {column: names.get(value, value) if isinstance(value, str) else value for column, value in row.items()}


def _charge(services: Services, first: Stored, names: Sequence[Names], request_id: str, nanos: int) -> None:
    """Charge each family once, in the windows in which it was made; that is left to be folded."""
    states, (key,) = first["budget_state"], first["keys"]
    assert {row["scope"] for row in states} == {kind.value for kind in LENGTHS}, "not every kind has an account"
    assert {row["reset_at"] for row in states} == {BOUNDARY}, "not every window ends at the boundary"
    columns = {"key_id": key["key_id"], "team_id": _TEAM, "user_id": _USER, "organization_id": _ORGANIZATION}

    def entry(family: Names) -> Entry:
        accounts = tuple(
            Account(
                Scope(ScopeKind(row["scope"]), family[row["scope_id"]], row["sub"]),
                Window(row["window_start"], row["reset_at"]),
                row["armed_at"],
            )
            for row in states
        )
        return Entry("charge", request_id, nanos, MADE_AT, accounts, {**_renamed(columns, family), "model": MODEL})

    for some in _pages(names):
        with services.database.transaction() as transaction:
            entries, by = [entry(family) for family in some], Act(SYSTEM, MADE_AT)
            assert all(ledger.append(transaction, entries, by, services.calendars.installation))


def _pages(names: Sequence[Names]) -> Iterator[Sequence[Names]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
