"""Changing keys: what the API calls update."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, update

from app.db import Database
from app.domain import access, money
from app.domain.access import Caller
from app.domain.callbacks import Vault
from app.domain.keys import ROTATION_FIELDS, columns_of
from app.domain.notices import next_notice
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound, NotFound, ServiceError
from app.models import keys
from app.services.access.callers import Callers
from app.services.access.refusals import enforce, rules
from app.services.access.standings import TeamFacts, hold_teams, of_teams, standing_in
from app.services.accounts import holder_accounts, key_accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.decisions.rebasing import Rebasing
from app.services.events import delivery
from app.services.keys import key_events, key_names, key_relations, key_rows
from app.services.keys.key_patches import AllowedPatch, Patch
from app.services.keys.key_relations import Relations
from app.services.keys.key_views import KeyView
from app.services.rotations import rotation_ends
from app.services.rotations.rotation_ways import RotationWays, Ways
from app.store import policies
from app.store.policies import Policies

ANOTHER_USER = "the key got another user"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the rules need to know beside the patches: teams, tiers, organizations, memberships to come.

    And by which ways new secrets would leave, where a patch is about rotation.
    """

    teams: Mapping[str, TeamFacts]
    relations: Relations
    members: AbstractSet[tuple[str, str]]
    ways: Ways | None


class KeyChanges:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        callers: Callers,
        calendar: Calendar,
        vault: Vault,
        rebasing: Rebasing,
        ways: RotationWays,
        notice_days: Sequence[int],
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._calendar = calendar
        self._vault = vault
        self._rebasing = rebasing
        self._ways = ways
        self._notice_days = notice_days

    def update(self, act: Act, sent: Mapping[str, Any], route: str) -> KeyView:
        """Change what was sent of the key named by `key` (plaintext or hash) or else by `key_alias`.

        Raises KeyNotFound, InvalidRequest, BadAlias, Forbidden and its kin, and StoreUnavailable, all of them
        without any change; WriteStands where the change is stored but not announced. Sending it again is safe.
        """
        key_id = self._resolve(act, sent)
        changed = settings_of(sent)
        if "key" not in sent:
            changed.pop("key_alias")
        with (
            rules(sent.get("key_alias")),
            self._policies.change([policies.key(key_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._change(transaction, act, key_id, changed, route)
            before_commit()
        if "spend" in changed:
            self.spend_changed([key_id])
        return view

    def spend_changed(self, key_ids: Iterable[str]) -> None:
        """To be called after the commit of a changed spend: decisions go by it from now on; raises WriteStands."""
        self._rebasing.corrected([Scope(ScopeKind.KEY, key_id) for key_id in key_ids])

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
        changed, refused = self.change(transaction, act, [Patch(found[0], sent)], route)
        if refused:
            raise refused[key_id]
        return changed[key_id]

    def change(
        self, transaction: Connection, act: Act, patches: Sequence[Patch], route: str
    ) -> tuple[dict[str, KeyView], dict[str, ServiceError]]:
        """Apply patches, each to another locked key, with their audit and events.

        Answers, by key id, the changed keys as they are now, and why the others were left as they are.
        """
        refused = self.apply(transaction, act, patches, route)
        sent = {patch.before.key_id: patch for patch in patches if patch.before.key_id not in refused}
        if not sent:
            return {}, refused
        self._withdraw_from_former(transaction, act, sent)
        views = key_rows.load(transaction, sent, self._calendar, act.at)
        changes = [
            Changed(view.key_id, sent[view.key_id].before.stored_fields(), view.stored_fields()) for view in views
        ]
        audit.record(transaction, act, "update", "key", changes)
        events = [
            event for view in views for event in key_events.of_change("key_updated", view, sent[view.key_id].sent)
        ]
        delivery.enqueue(transaction, events, act.at)
        return {view.key_id: view for view in views}, refused

    def _withdraw_from_former(self, transaction: Connection, act: Act, sent: Mapping[str, Patch]) -> None:
        """A new secret that is on its way to a user who has the key no longer does not go there."""
        moved = [
            key_id for key_id, patch in sent.items() if patch.will_be("user_id") != patch.before.columns["user_id"]
        ]
        if moved:
            rotation_ends.withdraw(transaction, keys.c.key_id.in_(moved), ANOTHER_USER, self._calendar, act.at)

    def apply(
        self, transaction: Connection, act: Act, patches: Sequence[Patch], route: str
    ) -> dict[str, ServiceError]:
        """Write the sent settings over those of locked keys, if the caller may; answers why not, by key id.

        Raises nothing that is one patch's fault. What the rules need is read first and what they allow is written
        last, both in sets: the number of statements does not grow with that of the keys. The caller of this
        records audit and events.
        """
        facts = self._facts(transaction, act.caller, patches)
        allowed: list[AllowedPatch] = []
        refused: dict[str, ServiceError] = {}
        for patch in patches:
            try:
                with rules():
                    allowed.append(self._decide(act, patch, facts, route))
            except ServiceError as error:
                refused[patch.before.key_id] = error
        if allowed:
            self._write(transaction, act, allowed)
        return refused

    def _facts(self, transaction: Connection, caller: Caller, patches: Sequence[Patch]) -> _Facts:
        moves = [patch for patch in patches if patch.will_be("team_id") != patch.before.target.team_id]
        hold_teams(transaction, [patch.will_be("team_id") for patch in moves])
        teams = of_teams(
            transaction,
            caller,
            [name for patch in patches for name in (patch.before.target.team_id, patch.will_be("team_id"))],
        )
        pairs = [(patch.will_be("team_id"), patch.will_be("user_id")) for patch in moves]
        rotating = [patch.will_be("user_id") for patch in patches if ROTATION_FIELDS & patch.sent.keys()]
        return _Facts(
            teams,
            key_relations.related(
                transaction,
                caller,
                [patch.will_be("budget_id") for patch in patches],
                [patch.sent.get("organization_id") for patch in patches],
            ),
            key_relations.members(transaction, {(team, user) for team, user in pairs if team in teams and user}),
            self._ways.read(transaction, rotating) if rotating else None,
        )

    def _decide(self, act: Act, patch: Patch, facts: _Facts, route: str) -> AllowedPatch:
        before, sent = patch.before, patch.sent
        target = before.target
        standing = standing_in(facts.teams, target.team_id)
        enforce(access.may_update(act.caller, target, sent, standing, route), KeyNotFound())
        enforce(access.may_set(act.caller, sent, personal=target.team_id is None))
        columns = columns_of(sent, before.columns, self._calendar, act.at, self._vault)
        enforce(access.within_own_caps(act.caller, {**columns, **sent}, columns.get("max_budget_nanos")))
        if "expires_at" in columns:
            columns["notice_at"] = next_notice(columns["expires_at"], act.at, self._notice_days)
        if columns.get("auto_rotate") and facts.ways is not None:
            facts.ways.of(patch.will_be("user_id"))
        if "team_id" in columns:
            _check_move(act.caller, before, columns, facts)
        spend = money.nanos(sent["spend"], "spend") if "spend" in sent else None
        tier = facts.relations.check({**before.columns, **columns}, sent)
        allowed = AllowedPatch(patch, columns, tier, spend, carries=bool(sent.get("carry_spend")))
        if allowed.carries and (allowed.running is not None or allowed.spelling is None):
            raise InvalidRequest(
                "carry_spend needs a change that gives a window to a key without one.", "carry_spend"
            )
        return allowed

    def _write(self, transaction: Connection, act: Act, allowed: Sequence[AllowedPatch]) -> None:
        withdrawn = _put_permissions(transaction, allowed)
        names = {name for each in allowed for name in each.columns}
        stamps = {"updated_at": act.at, "updated_by": act.caller.user_id, "settings_updated_at": act.at}
        changes = [key_accounts.change_of(each) for each in allowed]
        with holder_accounts.follow(transaction, act, changes, self._calendar):
            transaction.execute(
                update(keys).where(keys.c.key_id == bindparam("of_key")),
                [
                    {"of_key": each.before.key_id, **{name: each.after[name] for name in names}, **stamps}
                    for each in allowed
                ],
            )
            key_relations.drop_permissions(transaction, withdrawn)


def settings_of(
    sent: Mapping[str, Any], others: AbstractSet[str] = frozenset({"key", "key_type"})
) -> dict[str, Any]:
    """What a request sends to change, without its `others`; an empty team_id is none, as in LiteLLM.

    A null spend is the default, which is no null.
    """
    return {
        name: Decimal(0) if name == "spend" and value is None else value
        for name, value in sent.items()
        if name not in others and not (name == "team_id" and value == "")
    }


def _check_move(caller: Caller, before: KeyView, columns: Mapping[str, Any], facts: _Facts) -> None:
    team_id = columns["team_id"]
    if team_id == before.columns["team_id"]:
        return
    if team_id is None:
        enforce(access.may_leave_team(caller, before.target))
        return
    team = facts.teams.get(team_id)
    refusal = access.may_move_to_team(caller, None if team is None else team.standing)
    enforce(refusal, NotFound(f"Team not found, passed team_id={team_id}", "team_id"))
    if team is not None:
        after = {**before.columns, **columns}
        is_member = (team_id, after["user_id"]) in facts.members
        enforce(access.fits_team(after, team.row, is_member=is_member))


def _put_permissions(transaction: Connection, allowed: Sequence[AllowedPatch]) -> list[KeyView]:
    """Store the object permissions that were sent; the keys that have none any more."""
    sent = [each for each in allowed if "object_permission" in each.patch.sent]
    ids = key_relations.put_permissions(
        transaction, [(each.before.object_permission, each.patch.sent["object_permission"]) for each in sent]
    )
    for each, permission_id in zip(sent, ids, strict=True):
        each.columns["object_permission_id"] = permission_id
    return [each.before for each, permission_id in zip(sent, ids, strict=True) if permission_id is None]
