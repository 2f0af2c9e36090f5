"""Changing users: what the API calls update."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select, update

from app.db import Database
from app.domain import access, money
from app.domain.event_routing import MAIL
from app.domain.scopes import Scope, ScopeKind
from app.domain.users import TEXT_FIELDS, columns_of, folded
from app.domain.windows import Calendar
from app.models import keys, users
from app.services.access.refusals import enforce, rules
from app.services.accounts import holder_accounts
from app.services.accounts.holder_accounts import HolderChange
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.decisions.rebasing import Rebasing
from app.services.keys import key_relations
from app.services.rotations import rotation_ends
from app.services.users import user_rows
from app.services.users.user_views import UserView
from app.services.users.users import taken, user_not_found
from app.store import policies
from app.store.policies import Policies

ANOTHER_ADDRESS = "the key's user got another mail address"


class UserChanges:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar, rebasing: Rebasing) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._rebasing = rebasing

    def update(self, act: Act, sent: Mapping[str, Any]) -> UserView:
        """Change what was sent of the user named by `user_id`, or else by `user_email`.

        Raises NotFound, InvalidRequest, Forbidden, Conflict (the address or the single sign-on id is somebody
        else's) and StoreUnavailable, all of them without any change; WriteStands where the change is stored but
        not announced. Sending it again is safe.
        """
        field = "user_id" if sent.get("user_id") else "user_email"
        with self._database.read() as connection:
            user_id = _resolve(connection, sent)
        if user_id is None or not access.may_see_user(act.caller, user_id):
            raise user_not_found(sent[field], field)
        changed = {name: value for name, value in sent.items() if name not in {"user_id", field}}
        with (
            rules(taken=taken(user_id, changed)),
            self._policies.change([policies.user(user_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._update(transaction, act, user_id, changed)
            before_commit()
        if "spend" in changed:
            self._rebasing.corrected([Scope(ScopeKind.USER, user_id)])
        return view

    def _update(self, transaction: Connection, act: Act, user_id: str, sent: Mapping[str, Any]) -> UserView:
        # Held before it is read: a statement that waits for a row does not see anew what it joins to it.
        transaction.execute(select(users.c.user_id).where(users.c.user_id == user_id).with_for_update())
        before = self._load(transaction, act, user_id)
        stored = {name: before.columns[name] for name in TEXT_FIELDS | {"metadata"}}
        enforce(access.may_update_user(act.caller, user_id, sent, stored), user_not_found(user_id))
        columns = columns_of(sent, before.columns)
        if "object_permission" in sent:
            columns["object_permission_id"] = key_relations.put_permission(
                transaction, before.object_permission, sent["object_permission"]
            )
        # A null is the default.
        spend = money.nanos(sent["spend"] or Decimal(0), "spend") if "spend" in sent else None
        change = HolderChange(before.account, before.columns, {**before.columns, **columns}, spend)
        with holder_accounts.follow(transaction, act, [change], self._calendar):
            transaction.execute(
                update(users).where(users.c.user_id == user_id).values({**columns, "updated_at": act.at})
            )
            if "email_folded" in columns and columns["email_folded"] != folded(before.columns["user_email"]):
                # A user stands in the versions of each of its keys: they need no mark of their own.
                theirs = keys.c.user_id == user_id
                rotation_ends.withdraw(transaction, theirs, ANOTHER_ADDRESS, self._calendar, act.at, target=MAIL)
            key_relations.drop_given_up(transaction, before, columns)
        view = self._load(transaction, act, user_id)
        audit.record(transaction, act, "update", "user", [Changed(user_id, before.fields(), view.fields())])
        return view

    def _load(self, transaction: Connection, act: Act, user_id: str) -> UserView:
        found = user_rows.load(transaction, users.c.user_id == user_id, self._calendar, act.at)
        if user_id not in found:
            raise user_not_found(user_id)
        return found[user_id]


def _resolve(connection: Connection, sent: Mapping[str, Any]) -> str | None:
    """The id of the user that the request names; its address counts only where it does not say an id."""
    user_id = sent.get("user_id")
    named = users.c.user_id == user_id if user_id else users.c.email_folded == folded(sent["user_email"])
    found: str | None = connection.execute(select(users.c.user_id).where(named)).scalar()
    return found
