"""What the accounts of each kind hold beside what the ledger says: an oracle that shares no code with the service.

The ledger names the accounts of each of its rows; from that alone every sum is made anew, by one statement for all
accounts, in the plain SQL of each store.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.db import Database

_CHARGED = {
    "postgresql": """
        SELECT named.account ->> 0 AS scope, named.account ->> 1 AS scope_id, named.account ->> 2 AS sub,
               ledger.amount_nanos AS amount, ledger.occurred_at AS at
        FROM ledger CROSS JOIN LATERAL jsonb_array_elements(ledger.scopes) AS named (account)
    """,
    "sqlite": """
        SELECT CAST(json_extract(named.value, '$[0]') AS TEXT) AS scope,
               CAST(json_extract(named.value, '$[1]') AS TEXT) AS scope_id,
               CAST(json_extract(named.value, '$[2]') AS TEXT) AS sub,
               ledger.amount_nanos AS amount, ledger.occurred_at AS at
        FROM ledger, json_each(ledger.scopes) AS named
    """,
}
_SHEET = """
    WITH charged AS ({charged}),
    owed AS (
        SELECT account.scope, account.scope_id, account.sub,
               account.lifetime_spend_nanos AS lifetime,
               account.window_spend_nanos AS present,
               CASE WHEN account.previous_start IS NULL THEN 0 ELSE account.previous_spend_nanos END AS former,
               coalesce(sum(charged.amount), 0) AS owed,
               coalesce(sum(CASE WHEN charged.at >= account.window_start AND charged.at < account.reset_at
                                 THEN charged.amount END), 0) AS owed_inside,
               coalesce(sum(CASE WHEN charged.at >= account.previous_start AND charged.at < account.previous_end
                                 THEN charged.amount END), 0) AS owed_before
        FROM budget_state AS account
        LEFT JOIN charged ON charged.scope = account.scope AND charged.scope_id = account.scope_id
                         AND charged.sub = account.sub
        GROUP BY account.scope, account.scope_id, account.sub
    )
    SELECT scope, count(*) AS accounts,
           sum(lifetime) AS lifetime, sum(owed) AS owed,
           sum(present) AS present, sum(owed_inside) AS owed_inside,
           sum(former) AS former, sum(owed_before) AS owed_before,
           sum(CASE WHEN lifetime <> owed OR present <> owed_inside OR former <> owed_before
                    THEN 1 ELSE 0 END) AS wrong,
           min(CASE WHEN lifetime <> owed OR present <> owed_inside OR former <> owed_before
                    THEN scope_id END) AS example
    FROM owed GROUP BY scope ORDER BY scope
"""


@dataclass(frozen=True)
class Line:
    """One kind of account: pairs of what is stored and what the ledger says, of all of them, and how many differ."""

    kind: str
    accounts: int
    lifetime: tuple[int, int]
    window: tuple[int, int]
    window_before: tuple[int, int]
    wrong: int
    example: str | None

    def __str__(self) -> str:
        pairs = (("lifetime", self.lifetime), ("window", self.window), ("window before", self.window_before))
        told = ", ".join(f"{name} {stored:,} = {owed:,}" for name, (stored, owed) in pairs)
        return f"{self.kind:12} {self.accounts:7,} accounts: {told}; {self.wrong} differ"


def draw(database: Database) -> list[Line]:
    """One line for each kind; no account that is right can make up for one that is wrong."""
    statement = _SHEET.format(charged=_CHARGED["sqlite" if database.is_sqlite else "postgresql"])
    with database.snapshot() as connection:
        rows: list[Any] = list(connection.execute(text(statement)))
    return [
        Line(
            row.scope,
            row.accounts,
            (int(row.lifetime), int(row.owed)),
            (int(row.present), int(row.owed_inside)),
            (int(row.former), int(row.owed_before)),
            row.wrong,
            row.example,
        )
        for row in rows
    ]
