"""The audit trail: who did what to which entity, and what changed, written in the transaction of the change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, literal, select

from app.domain.access import Caller, Role
from app.domain.masking import masked
from app.models import audit

# Changes with every write and says nothing that the row's own columns do not.
_NOISE = frozenset({"updated_at", "settings_updated_at", "updated_by", "status"})


@dataclass(frozen=True, slots=True)
class Act:
    """One request (or job run) that changes something: the real caller, and what the caller claims.

    `at` is the one instant by which the whole use case decides.
    `changed_by` is the `litellm-changed-by` header: recorded beside the caller, never instead of it.
    """

    caller: Caller
    at: datetime
    request_id: str | None = None
    address: str | None = None
    changed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What happened to one entity; None stands for its absence before or after."""

    entity_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


SYSTEM = Caller(role=Role.PROXY_ADMIN, user_id="system", key_alias="system")


def record(transaction: Connection, act: Act, action: str, entity: str, changes: Sequence[Changed]) -> None:
    """Write one row per entity, all in one statement; only the fields that changed are kept."""
    if not changes:
        return
    said = _said(act, action, entity)
    rows = []
    for change in changes:
        before, after = _difference(change.before, change.after)
        rows.append({**said, "entity_id": change.entity_id, "before": before, "after": after})
    transaction.execute(insert(audit), rows)


def record_alike(
    transaction: Connection, act: Act, action: str, entity: str, ids: ColumnElement[str], change: Changed
) -> None:
    """Write a row with this change for each of the ids, a column of what is selected; none of them comes here."""
    said = {**_said(act, action, entity), "before": change.before, "after": change.after}
    columns = [literal(value, audit.c[name].type) for name, value in said.items()]
    transaction.execute(insert(audit).from_select(["entity_id", *said], select(ids, *columns)))


def _said(act: Act, action: str, entity: str) -> dict[str, Any]:
    """What every row of one change says."""
    return {
        "at": act.at,
        "actor_key_id": act.caller.key_id,
        "actor_user_id": act.caller.user_id,
        "actor_role": "system" if act.caller is SYSTEM else act.caller.role.value,
        "changed_by": act.changed_by,
        "request_id": act.request_id,
        "address": act.address,
        "action": action,
        "entity": entity,
    }


def _difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if before is None or after is None:
        return (None if before is None else masked(before)), (None if after is None else masked(after))
    changed = [name for name in after if name not in _NOISE and before.get(name) != after[name]]
    return masked({name: before.get(name) for name in changed}), masked({name: after[name] for name in changed})
