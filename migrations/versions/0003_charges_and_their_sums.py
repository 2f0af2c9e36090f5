"""What charges need: the scopes that each counts in, daily sums, and what a balance is checked against.

Safe with the previous release because: it only adds columns with defaults, indexes and tables. Corrections that
the previous release still writes name no scopes; they are of keys, and their key is in `key_id`.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
SUMS = ("spend_nanos", "input_tokens", "output_tokens", "requests")

# Until now a key's ledger held corrections only; what else its window holds was carried over at an arming.
CARRIED = """
    UPDATE budget_state SET carried_nanos = window_spend_nanos - COALESCE((
        SELECT SUM(ledger.amount_nanos) FROM ledger
        WHERE ledger.key_id = budget_state.scope_id
          AND (budget_state.window_start IS NULL OR ledger.occurred_at >= budget_state.window_start)
          AND (budget_state.reset_at IS NULL OR ledger.occurred_at < budget_state.reset_at)
    ), 0) WHERE scope = 'key' AND sub = ''
"""
SCOPES = {
    "sqlite": "UPDATE ledger SET scopes = json_array(json_array('key', key_id, '')) WHERE key_id IS NOT NULL",
    "postgresql": """
        UPDATE ledger SET scopes = jsonb_build_array(jsonb_build_array('key', key_id, ''))
        WHERE key_id IS NOT NULL
    """,
}


def upgrade() -> None:
    op.add_column("ledger", sa.Column("scopes", Json, nullable=False, server_default=sa.text("'[]'")))
    op.create_index("ix_ledger_occurred_at", "ledger", ["occurred_at", "ledger_id"])
    op.add_column("budget_state", sa.Column("carried_nanos", sa.BigInteger(), server_default=sa.text("0")))
    op.execute(CARRIED)
    op.execute(SCOPES[op.get_context().dialect.name])
    _sums("daily_spend", ("day", "key_id", "team_id", "user_id", "organization_id", "model"))
    for column in ("team_id", "user_id", "key_id"):
        op.create_index(f"ix_daily_spend_{column}", "daily_spend", [column, "day"])
    _sums("daily_label_spend", ("day", "label", "name", "key_id", "model"))
    op.create_index("ix_daily_label_spend_name", "daily_label_spend", ["label", "name", "day"])


def downgrade() -> None:
    op.drop_table("daily_label_spend")
    op.drop_table("daily_spend")
    op.drop_column("budget_state", "carried_nanos")
    op.drop_index("ix_ledger_occurred_at", table_name="ledger")
    op.drop_column("ledger", "scopes")


def _sums(table: str, identity: Sequence[str]) -> None:
    columns: list[Any] = [sa.Column(name, sa.Text(), nullable=False) for name in identity]
    columns += [sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")) for name in SUMS]
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*identity, name=f"pk_{table}"))
