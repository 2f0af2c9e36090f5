"""Reading keys: one key, or a page of those that a caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.sql.selectable import FromClause

from app.db import Database
from app.domain import access
from app.domain.access import Caller
from app.domain.windows import Calendar
from app.errors import KeyNotFound
from app.models import deleted_keys, key_secrets, keys, users
from app.services import key_names, key_rows, user_rows
from app.services.audit import Act
from app.services.key_filters import (
    AliasQuery,
    KeyQuery,
    alias_conditions,
    conditions,
    ordering,
    scope_of,
)
from app.services.key_views import KeyView
from app.services.standings import of_teams, standing_in
from app.services.user_views import UserView


@dataclass(frozen=True, slots=True)
class KeyPage:
    """One page of keys; `views` is empty where only tokens were asked for, `owners` unless they were."""

    tokens: Sequence[str]
    views: Sequence[KeyView]
    total: int
    owners: dict[str, UserView]


class KeyReads:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def info(self, act: Act, reference: str | None) -> KeyView:
        """The key named by plaintext or hash, or the caller's own; raises KeyNotFound.

        A key that the caller may not see is not found.
        """
        with self._database.read() as connection:
            # Nothing is left out for a key that is not there: the number of statements must not tell it from
            # one that may not be seen.
            key_id = self._key_id(connection, act, reference) or ""
            view = next(iter(key_rows.load(connection, [key_id], self._calendar, act.at)), None)
            team_id = None if view is None else view.columns["team_id"]
            facts = {} if act.caller.sees_all else of_teams(connection, act.caller, [team_id or ""])
        if view is None or not access.may_see_key(act.caller, view.target, standing_in(facts, team_id)):
            raise KeyNotFound
        return view

    def infos(self, act: Act, references: Sequence[str], aliases: Sequence[str]) -> list[KeyView]:
        """The keys among these that the caller may see, each once; the others are passed over."""
        with self._database.read() as connection:
            named = {
                *key_names.by_reference(connection, act.caller, references, act.at).values(),
                *key_names.by_alias(connection, act.caller, aliases).values(),
            }
            return key_rows.load(connection, named, self._calendar, act.at)

    def aliases(self, act: Act, query: AliasQuery) -> tuple[list[str], int]:
        """A page of the aliases that the caller may see, in their order, and how many there are."""
        with self._database.read() as connection:
            where = alias_conditions(act.caller, query)
            total = connection.execute(select(func.count()).select_from(keys).where(*where)).scalar_one()
            page = (
                select(keys.c.key_alias)
                .where(*where)
                .order_by(keys.c.key_alias, keys.c.key_id)
                .limit(query.size)
                .offset((query.page - 1) * query.size)
            )
            return list(connection.execute(page).scalars()), total

    def _key_id(self, connection: Connection, act: Act, reference: str | None) -> str | None:
        if reference is None:
            return act.caller.key_id
        return key_rows.ids_of_references(connection, [reference], act.at).get(reference)

    def models(self, caller: Caller) -> Sequence[str]:
        """The models that the caller's key names; its team's where it names none, or takes them from there."""
        if caller.team_id is None or (caller.models and access.OF_TEAM not in caller.models):
            return caller.models
        with self._database.read() as connection:
            facts = of_teams(connection, caller, [caller.team_id])
        return facts[caller.team_id].row["models"] if caller.team_id in facts else ()

    def list(self, act: Act, query: KeyQuery) -> KeyPage:
        """A page of the keys that match and that the caller may see.

        Raises InvalidRequest for a filter or sort that does not exist, ListRefused where a filter reaches beyond
        what the caller may see. At most five statements, however many keys there are.
        """
        with self._database.read() as connection:
            table, base = _source(query)
            scope = scope_of(connection, act.caller, query, table)
            where = [*conditions(query, table, act.at), *scope]
            total = connection.execute(_count(table, where)).scalar_one()
            page = (
                base.where(*where)
                .order_by(*ordering(query, table))
                .limit(query.size)
                .offset((query.page - 1) * query.size)
            )
            rows = connection.execute(page).mappings().all()
            if not (query.return_full_object or query.expand):
                return KeyPage([row["token"] for row in rows], (), total, {})
            views = [
                key_rows.archived_view_of(row, act.at)
                if query.status == "deleted"
                else key_rows.view_of(row, self._calendar, act.at)
                for row in rows
            ]
            owners = self._owners(connection, act, views) if "user" in query.expand else {}
        return KeyPage([view.token for view in views], views, total, owners)

    def _owners(self, connection: Connection, act: Act, views: Sequence[KeyView]) -> dict[str, UserView]:
        ids = {view.columns[name] for view in views for name in ("user_id", "created_by")} - {None}
        if not ids:
            return {}
        return user_rows.load(connection, users.c.user_id.in_(ids), self._calendar, act.at)


def _source(query: KeyQuery) -> tuple[FromClause, Select[Any]]:
    if query.status == "deleted":
        return deleted_keys, select(deleted_keys)
    return keys, key_rows.select_keys()


def _count(table: FromClause, where: Sequence[Any]) -> Select[Any]:
    source: FromClause = table
    if table is keys:
        source = keys.join(
            key_secrets, (key_secrets.c.key_id == keys.c.key_id) & key_secrets.c.revoke_at.is_(None)
        )
    return select(func.count()).select_from(source).where(*where)
