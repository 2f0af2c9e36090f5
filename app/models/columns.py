"""Column shapes that several tables share, so that one thing has one type everywhere."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Text, text

from app.db import Json, JsonObject, UtcDateTime

# SQLite numbers rows by itself only for a column typed INTEGER.
RowNumber = BigInteger().with_variant(Integer, "sqlite")


def json_list(name: str) -> Column[object]:
    return Column(name, Json, nullable=False, server_default=text("'[]'"))


def json_object(name: str) -> Column[object]:
    return Column(name, JsonObject, nullable=False, server_default=text("'{}'"))


def authorship() -> list[Column[object]]:
    """Who made a row and who last changed it, and when."""
    return [
        Column("created_at", UtcDateTime, nullable=False),
        Column("created_by", Text),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("updated_by", Text),
    ]


def rate_limits() -> list[Column[object]]:
    """The limits that keys, tiers, teams and users have in common; tokens and requests, never money."""
    return [
        Column("max_parallel_requests", Integer),
        Column("tpm_limit", BigInteger),
        Column("rpm_limit", BigInteger),
        Column("tpd_limit", BigInteger),
    ]


def spending_limits() -> list[Column[object]]:
    """A hard cap, a soft one, the window they hold for and the caps per model."""
    return [
        Column("max_budget_nanos", BigInteger),
        Column("soft_budget_nanos", BigInteger),
        Column("budget_duration", Text),
        # Not read as empty where it is no object: without a cap nothing is held back.
        Column("model_max_budget", Json, nullable=False, server_default=text("'{}'")),
    ]


def blocked() -> Column[object]:
    return Column("blocked", Boolean)
