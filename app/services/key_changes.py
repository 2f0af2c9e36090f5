"""Changing keys: what the API calls update."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, update

from app.db import Database
from app.domain import access, money
from app.domain.access import Caller
from app.domain.callbacks import Vault
from app.domain.keys import columns_of
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound, NotFound
from app.models import keys
from app.services import accounts, audit, delivery, key_events, key_names, key_relations, key_rows, ledger
from app.services.audit import Act, Changed
from app.services.callers import Callers
from app.services.key_views import KeyView
from app.services.refusals import enforce, rules
from app.services.standings import TeamFacts, of_teams, standing_in
from app.store import policies
from app.store.policies import Policies


class KeyChanges:
    def __init__(
        self, database: Database, policy_store: Policies, callers: Callers, calendar: Calendar, vault: Vault
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._calendar = calendar
        self._vault = vault

    def update(self, act: Act, sent: Mapping[str, Any], route: str) -> KeyView:
        """Change what was sent of the key named by `key` (plaintext or hash) or else by `key_alias`.

        Raises KeyNotFound, InvalidRequest, BadAlias, Forbidden and its kin, and StoreUnavailable, all of them
        without any change; WriteStands where the change is stored but not announced. Sending it again is safe.
        """
        request = {name: value for name, value in sent.items() if not (name == "team_id" and value == "")}
        key_id = self._resolve(act, request)
        changed = {name: value for name, value in request.items() if name not in {"key", "key_type"}}
        if "key" not in request:
            changed.pop("key_alias")
        with (
            rules(request.get("key_alias")),
            self._policies.change([policies.key(key_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._change(transaction, act, key_id, changed, route)
            before_commit()
        return view

    def _resolve(self, act: Act, request: Mapping[str, Any]) -> str:
        reference, alias = request.get("key"), request.get("key_alias")
        if reference is not None and self._callers.is_master(reference):
            raise InvalidRequest("The master key is no virtual key.", "key")
        with self._database.read() as connection:
            if reference is not None:
                key_id = key_names.by_reference(connection, act.caller, [reference], act.at).get(reference)
            else:
                key_id = key_names.by_alias(connection, act.caller, [alias or ""]).get(alias or "")
        if key_id is None:
            raise KeyNotFound(param="key" if reference is not None else "key_alias")
        return key_id

    def _change(
        self, transaction: Connection, act: Act, key_id: str, sent: Mapping[str, Any], route: str
    ) -> KeyView:
        found = key_rows.load(transaction, [key_id], self._calendar, act.at, lock=True)
        if not found:
            raise KeyNotFound
        before = found[0]
        self.apply(transaction, act, before, sent, route)
        (view,) = key_rows.load(transaction, [key_id], self._calendar, act.at)
        change = Changed(key_id, before.stored_fields(), view.stored_fields())
        audit.record(transaction, act, "update", "key", [change])
        delivery.enqueue(transaction, key_events.of_change("key_updated", view, sent), act.at)
        return view

    def apply(
        self, transaction: Connection, act: Act, before: KeyView, sent: Mapping[str, Any], route: str
    ) -> None:
        """Write the sent settings over those of a locked key, in an open transaction, if the caller may.

        Raises what `update` raises. The caller of this records audit and events.
        """
        target = before.target
        facts = of_teams(transaction, act.caller, [target.team_id, sent.get("team_id")])
        standing = standing_in(facts, target.team_id)
        enforce(access.may_update(act.caller, target, sent, standing, route), KeyNotFound())
        enforce(access.may_set(act.caller, sent, personal=target.team_id is None))
        columns = columns_of(sent, before.columns, self._calendar, act.at, self._vault)
        enforce(access.within_own_caps(act.caller, sent, columns.get("max_budget_nanos")))
        if "team_id" in columns:
            self._check_move(transaction, act.caller, before, columns, facts)
        after = {**before.columns, **columns}
        spelling = key_relations.check(transaction, act.caller, after, sent)
        if "object_permission" in sent:
            columns["object_permission_id"] = key_relations.put_permission(
                transaction, before.object_permission, sent["object_permission"]
            )
        transaction.execute(
            update(keys)
            .where(keys.c.key_id == before.key_id)
            .values(
                {**columns, "updated_at": act.at, "updated_by": act.caller.user_id, "settings_updated_at": act.at}
            )
        )
        if "object_permission" in sent and columns["object_permission_id"] is None:
            key_relations.drop_permissions(transaction, [before])
        self._account(transaction, act, before, columns, sent, spelling)

    def _account(
        self,
        transaction: Connection,
        act: Act,
        before: KeyView,
        columns: Mapping[str, Any],
        sent: Mapping[str, Any],
        spelling: str | None,
    ) -> None:
        account, running = before.account, key_rows.effective_duration(before.columns, before.tier)
        if running != spelling:
            accounts.rearm(
                transaction,
                accounts.among([account.scope]),
                before=running,
                after=spelling,
                calendar=self._calendar,
                now=act.at,
            )
            account = accounts.armed_account(account.scope, spelling, self._calendar, act.at)
        if {"model_max_budget", "budget_limits"} & columns.keys():
            further = replace(before, columns={**before.columns, **columns}).further_accounts
            accounts.replace_further(transaction, before.further_accounts, further, self._calendar, act.at)
        if sent.get("spend") is not None:
            to_nanos = money.nanos(sent["spend"], "spend")
            ledger.correct(transaction, act, account, to_nanos, {"key_id": before.key_id})

    def _check_move(
        self,
        transaction: Connection,
        caller: Caller,
        before: KeyView,
        columns: Mapping[str, Any],
        facts: Mapping[str, TeamFacts],
    ) -> None:
        team_id = columns["team_id"]
        if team_id == before.columns["team_id"]:
            return
        if team_id is None:
            enforce(access.may_leave_team(caller, before.target))
            return
        team = facts.get(team_id)
        refusal = access.may_move_to_team(caller, None if team is None else team.standing)
        enforce(refusal, NotFound(f"Team not found, passed team_id={team_id}", "team_id"))
        if team is not None:
            after = {**before.columns, **columns}
            is_member = key_relations.is_member(transaction, team_id, after["user_id"])
            enforce(access.fits_team(after, team.row, is_member=is_member))
