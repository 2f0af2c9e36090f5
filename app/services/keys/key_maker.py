"""Putting a new key into the store: its row, its secret, its account, its audit and its events."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert

from app.domain import money
from app.domain.minting import Secret
from app.domain.notices import next_notice
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.models import keys
from app.services.accounts import accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.events import delivery
from app.services.keys import key_events, key_relations, key_rows, key_secrets
from app.services.keys.key_views import KeyView
from app.services.ledger import ledger
from app.services.rotations.mailed_keys import MailedKeys
from app.services.rotations.rotation_ways import RotationWays


class KeyMaker:
    """Makes keys within the transactions of use cases, which decide whether the caller may."""

    def __init__(
        self, calendar: Calendar, mailed_keys: MailedKeys, ways: RotationWays, notice_days: Sequence[int]
    ) -> None:
        self._calendar = calendar
        self._mailed_keys = mailed_keys
        self._ways = ways
        self._notice_days = notice_days

    def make(
        self,
        transaction: Connection,
        act: Act,
        request: Mapping[str, Any],
        columns: Mapping[str, Any],
        secret: Secret,
    ) -> KeyView:
        """Make the key that `request` asks for, with these columns; raises InvalidRequest and InvalidValue."""
        relations = key_relations.related(
            transaction, act.caller, [columns.get("budget_id")], [request.get("organization_id")]
        )
        tier = relations.check(columns, request) or {}
        spelling = columns.get("budget_duration") or tier.get("budget_duration")
        if columns.get("auto_rotate"):
            self._ways.read(transaction, [columns.get("user_id")]).of(columns.get("user_id"))
        key_id = str(uuid.uuid4())
        self._insert(transaction, act, key_id, columns, request, secret)
        account = accounts.open_account(
            transaction, Scope(ScopeKind.KEY, key_id), spelling, self._calendar, act.at
        )
        if "spend" in request:
            spent = money.nanos(request["spend"], "spend")
            correction = ledger.correction(account, spent, act, {"key_id": key_id})
            ledger.append(transaction, [correction], act, self._calendar)
        (view,) = key_rows.load(transaction, [key_id], self._calendar, act.at)
        audit.record(transaction, act, "generate", "key", [Changed(key_id, None, view.stored_fields())])
        sealed = self._mailed_keys.sealed(secret, request)
        delivery.enqueue(transaction, key_events.of_change("key_created", view, request, sealed), act.at)
        return view

    def _insert(
        self,
        transaction: Connection,
        act: Act,
        key_id: str,
        columns: Mapping[str, Any],
        request: Mapping[str, Any],
        secret: Secret,
    ) -> None:
        permission_id = key_relations.put_permission(transaction, None, request.get("object_permission"))
        author = act.caller.user_id
        transaction.execute(
            insert(keys).values(
                {
                    "key_id": key_id,
                    **columns,
                    "notice_at": next_notice(columns.get("expires_at"), act.at, self._notice_days),
                    "object_permission_id": permission_id,
                    "created_at": act.at,
                    "created_by": author,
                    "updated_at": act.at,
                    "updated_by": author,
                }
            )
        )
        key_secrets.insert_current(transaction, key_id, secret, act.at)
