"""Budget tiers, and the spend of every scope.

`budget_state` is narrow on purpose: it is the only table that a charge, a rollup or a reset writes, and it
holds no setting. A tier is a template: every key linked to it has its own spend against the tier's caps.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, Table, Text, false, text

from app.db import UtcDateTime, metadata
from app.models.columns import RowNumber, authorship, json_list, rate_limits, spending_limits

budgets = Table(
    "budgets",
    metadata,
    Column("budget_id", Text, primary_key=True),
    Column("budget_reset_at", UtcDateTime),
    json_list("allowed_models"),
    Column("temp_budget_increase_nanos", BigInteger),
    Column("temp_budget_expiry", UtcDateTime),
    *spending_limits(),
    *rate_limits(),
    *authorship(),
    Index("ix_budgets_created_at", "created_at", "budget_id"),
    # Temporary increases that are over are looked for.
    Index(
        "ix_budgets_temp_budget_expiry",
        "temp_budget_expiry",
        sqlite_where=text("temp_budget_expiry IS NOT NULL"),
        postgresql_where=text("temp_budget_expiry IS NOT NULL"),
    ),
)

budget_state = Table(
    "budget_state",
    metadata,
    # key, team, user, member, organization; and key_model, team_model, user_model, key_window, team_window, whose
    # `sub` names the model or the window's spelling.
    Column("scope", Text, primary_key=True),
    Column("scope_id", Text, primary_key=True),
    Column("sub", Text, primary_key=True, server_default=text("''")),
    Column("window_start", UtcDateTime),
    Column("reset_at", UtcDateTime),
    Column("armed_at", UtcDateTime),
    # A window that could not be computed is set aside, so that it does not keep the others, and why.
    Column("parked_at", UtcDateTime),
    Column("parked_reason", Text),
    # Armed without a window: without an end as well, but not because nobody has computed it yet.
    Column("windowless", Boolean, nullable=False, server_default=false()),
    Column("window_spend_nanos", BigInteger, nullable=False, server_default=text("0")),
    Column("lifetime_spend_nanos", BigInteger, nullable=False, server_default=text("0")),
    # What the window holds beyond the ledger's rows inside it; NULL where it was armed on an older account and
    # nobody has looked. It decides nothing: a check recomputes the balance with it.
    Column("carried_nanos", BigInteger, server_default=text("0")),
    # The window before, for charges of it that are folded late; NULL where none is kept.
    Column("previous_start", UtcDateTime),
    Column("previous_end", UtcDateTime),
    Column("previous_spend_nanos", BigInteger, nullable=False, server_default=text("0")),
    # The spelling by which its passed windows were moved that stand in `rolled_windows`; NULL where none does, and
    # what stands there yet is of no account.
    Column("rolled_by", Text),
    Index(
        "ix_budget_state_due",
        "reset_at",
        sqlite_where=text("armed_at IS NOT NULL AND parked_at IS NULL AND windowless = 0"),
        postgresql_where=text("armed_at IS NOT NULL AND parked_at IS NULL AND NOT windowless"),
    ),
    Index(
        "ix_budget_state_parked",
        "parked_at",
        "scope",
        "scope_id",
        "sub",
        sqlite_where=text("parked_at IS NOT NULL"),
        postgresql_where=text("parked_at IS NOT NULL"),
    ),
    # Lists are sorted by these.
    Index("ix_budget_state_spend", "scope", "window_spend_nanos", "scope_id"),
    Index("ix_budget_state_lifetime_spend", "scope", "lifetime_spend_nanos", "scope_id"),
    Index("ix_budget_state_reset_at", "scope", "reset_at", "scope_id"),
)

# Passed windows of accounts that carry on what they spend beyond their cap: charges of them may come late. A row
# is that of a window that was moved, and of those after it that held nothing, until the next row.
rolled_windows = Table(
    "rolled_windows",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("scope_id", Text, primary_key=True),
    Column("sub", Text, primary_key=True),
    Column("window_start", UtcDateTime, primary_key=True),
    # What is folded of it, with what it began with.
    Column("used_nanos", BigInteger, nullable=False),
    Column("cap_nanos", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["scope", "scope_id", "sub"],
        ["budget_state.scope", "budget_state.scope_id", "budget_state.sub"],
        name="fk_rolled_windows_account",
        ondelete="CASCADE",
    ),
)

# Accounts whose caps were changed: whoever looks at one takes its rows out. Several rows of one are one look.
watched = Table(
    "watched",
    metadata,
    Column("watched_id", RowNumber, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False),
    Column("scope_id", Text, nullable=False),
)
