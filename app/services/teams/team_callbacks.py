"""The logging callbacks of a team, one by one: what the API calls callback and disable_logging."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, update

from app.db import Database
from app.domain import team_callbacks
from app.domain.callbacks import Vault
from app.domain.team_callbacks import Callbacks
from app.domain.windows import Calendar
from app.errors import NotFound
from app.models import teams
from app.services.access.refusals import rules
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.teams import team_rows
from app.services.teams.team_changes import managed_team
from app.services.teams.team_views import TeamView
from app.store import policies
from app.store.policies import Policies

Metadata = Mapping[str, Any]

_CALLBACK = "/team/{team_id}/callback"
_NAMED = "/team/{team_id}/callback/{callback_name}"
_DISABLE = "/team/{team_id}/disable_logging"


class TeamCallbacks:
    """All methods raise NotFound, Forbidden and StoreUnavailable, without any change; changes, WriteStands too."""

    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar, vault: Vault) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._vault = vault

    def list(self, act: Act, team_id: str) -> Callbacks:
        """The callbacks in effect for the team's keys that have none of their own."""
        with self._database.read() as connection:
            row = managed_team(connection, act, team_id, _CALLBACK).row
        return team_callbacks.in_effect(row["metadata"])

    def add(self, act: Act, team_id: str, sent: Mapping[str, Any]) -> TeamView:
        """Add one callback; raises InvalidRequest where it cannot be or is there already."""

        def addition(metadata: Metadata) -> Metadata:
            return team_callbacks.added(metadata, sent, self._vault)

        with rules(), self._changed(act, team_id, _CALLBACK, "callback_add", addition) as (transaction, _):
            (view,) = team_rows.load(transaction, teams.c.team_id == team_id, self._calendar, act.at)
        return view

    def delete(self, act: Act, team_id: str, name: str) -> Callbacks:
        """Take away every callback of this name, and what it kept secret; those that are left."""

        def deletion(metadata: Metadata) -> Metadata:
            kept = team_callbacks.without(metadata, name)
            if kept is None:
                raise NotFound(f"callback_name = {name[:64]} is not registered for this team.", "callback_name")
            return kept

        with self._changed(act, team_id, _NAMED, "callback_delete", deletion) as (_, left):
            return team_callbacks.in_effect(left)

    def disable_logging(self, act: Act, team_id: str) -> None:
        """Take away every callback, and what they kept secret; doing it again changes nothing."""
        with self._changed(act, team_id, _DISABLE, "disable_logging", team_callbacks.silenced):
            pass

    @contextmanager
    def _changed(
        self, act: Act, team_id: str, route: str, action: str, change: Callable[[Metadata], Metadata]
    ) -> Iterator[tuple[Connection, Metadata]]:
        """Within its transaction, the team's metadata as `change` leaves it; committed when the block ends."""
        with self._database.read() as connection:
            managed_team(connection, act, team_id, route)
        with (
            # It decides no call, but every cached key of the team holds the team's metadata.
            self._policies.change([policies.team(team_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            before = managed_team(transaction, act, team_id, route, lock=True).row["metadata"]
            after = change(before)
            if after != before:
                self._write(transaction, act, team_id, after)
                changed = Changed(team_id, {"metadata": before}, {"metadata": after})
                audit.record(transaction, act, action, "team", [changed])
            yield transaction, after
            before_commit()

    def _write(self, transaction: Connection, act: Act, team_id: str, metadata: Metadata) -> None:
        transaction.execute(
            update(teams).where(teams.c.team_id == team_id).values(metadata=metadata, updated_at=act.at)
        )
