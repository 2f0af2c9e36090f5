"""Reading keys: one key, or a page of those that a caller may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.selectable import FromClause

from app.db import Database
from app.domain import access
from app.domain.access import Caller
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.errors import KeyNotFound
from app.models import deleted_keys, keys, users
from app.services.access.standings import of_teams, standing_in
from app.services.accounts import further_spends
from app.services.audit.audit import Act
from app.services.keys import key_names, key_rows
from app.services.keys.key_filters import (
    AliasQuery,
    KeyQuery,
    alias_conditions,
    conditions,
    listing_of,
)
from app.services.keys.key_scope import scope_of
from app.services.keys.key_views import KeyView
from app.services.rows.pages import Listing, Order, Page, page_of
from app.services.users import user_rows
from app.services.users.user_views import shown_to


@dataclass(frozen=True, slots=True)
class KeyPage:
    """One page of keys; `views` is empty where only tokens were asked for.

    `owners` holds those who own or made the keys, each as the caller may see it, where they were asked for.
    """

    page: Page
    tokens: Sequence[str]
    views: Sequence[KeyView]
    owners: Mapping[str, Mapping[str, Any]]


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
            return self._with_further(connection, act, [view])[0]

    def infos(self, act: Act, references: Sequence[str], aliases: Sequence[str]) -> list[KeyView]:
        """The keys among these that the caller may see, each once; the others are passed over."""
        with self._database.read() as connection:
            named = {
                *key_names.by_reference(connection, act.caller, references, act.at).values(),
                *key_names.by_alias(connection, act.caller, aliases).values(),
            }
            return self._with_further(connection, act, key_rows.load(connection, named, self._calendar, act.at))

    def _with_further(self, connection: Connection, act: Act, views: Sequence[KeyView]) -> list[KeyView]:
        """The keys with their budgets for models and in further windows, and what is used of each."""
        holders = {Scope(ScopeKind.KEY, view.key_id): view.further_settings for view in views}
        found = further_spends.load(connection, holders, self._calendar, act.at)
        return [replace(view, further=used) for view, used in zip(views, found.values(), strict=True)]

    def aliases(self, act: Act, query: AliasQuery) -> Page:
        """A page of the aliases that the caller may see, as its `values`; raises InvalidRequest."""
        order = Order(keys.c.key_alias, keys.c.key_id, descending=False)
        listing = Listing(keys, alias_conditions(act.caller, query), order, countable=not query.search)
        with self._database.read() as connection:
            return page_of(connection, listing, query)

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

        Raises InvalidRequest for a filter, a sort or a cursor that does not exist, ListRefused where a filter
        reaches beyond what the caller may see. At most five statements, however many keys there are.
        """
        table = deleted_keys if query.status == "deleted" else keys
        with self._database.read() as connection:
            where = conditions(query, table, act.at)
            scope = scope_of(connection, act.caller, query, table)
            page = page_of(connection, listing_of(query, table, where, scope), query)
            if not (query.return_full_object or query.expand):
                return KeyPage(page, key_rows.tokens_of(connection, table, page.ids), (), {})
            views = self._views(connection, table, page.ids, act)
            owners = self._owners(connection, act, views) if "user" in query.expand else {}
        return KeyPage(page, [view.token for view in views], views, owners)

    def _views(self, connection: Connection, table: FromClause, ids: Sequence[Any], act: Act) -> Sequence[KeyView]:
        if table is deleted_keys:
            return key_rows.archived(connection, ids, act.at)
        views = {view.key_id: view for view in key_rows.load(connection, ids, self._calendar, act.at)}
        return [views[key_id] for key_id in ids if key_id in views]

    def _owners(self, connection: Connection, act: Act, views: Sequence[KeyView]) -> dict[str, dict[str, Any]]:
        ids = {view.columns[name] for view in views for name in ("user_id", "created_by")} - {None}
        if not ids:
            return {}
        found = user_rows.load(connection, users.c.user_id.in_(ids), self._calendar, act.at)
        return {user_id: shown_to(act.caller, view) for user_id, view in found.items()}
