"""The last run of every periodic job."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text, text

from app.db import UtcDateTime, metadata

job_runs = Table(
    "job_runs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_started_at", UtcDateTime),
    Column("last_finished_at", UtcDateTime),
    Column("last_rows", BigInteger, nullable=False, server_default=text("0")),
    # By the last run alone; what is still set aside from any run is counted where it stands.
    Column("parked_rows", BigInteger, key="last_parked_rows", nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
)
