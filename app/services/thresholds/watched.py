"""Accounts whose caps were changed, so that what stands crossed by the new ones is told of idle ones too.

Nothing is charged where a cap is lowered under the spend, a tier is changed or a budget gets a window, so no fold
would find it. Whoever makes such a change puts its accounts here, in the transaction of the change; the job that
takes them out looks at each as it then is. A correction of a spend needs no look: it is folded like a charge.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, insert, literal, select, union_all

from app.domain.event_routing import ALERT_EMAILS
from app.domain.increases import TEMPORARY_FIELDS
from app.domain.scopes import Scope, ScopeKind
from app.models import keys, organizations, team_members, watched
from app.services.teams.team_rows import MEMBER_ID

# What bears on a threshold, of the columns of keys, teams, users and tiers.
_CAPS = (
    "max_budget_nanos",
    "soft_budget_nanos",
    "budget_duration",
    "budget_id",
    "temp_budget_increase_nanos",
    "temp_budget_expiry",
)
# And of a key's metadata.
_ENTRIES = (ALERT_EMAILS, *TEMPORARY_FIELDS)
_NO_ENTRIES: Mapping[str, Any] = dict.fromkeys(_ENTRIES)


def bears(before: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Whether these changes of columns may leave a threshold crossed; `before` is empty for what is new."""
    return _differ(before, changes, _CAPS) or (
        "metadata" in changes
        and _differ(before.get("metadata") or {}, {**_NO_ENTRIES, **changes["metadata"]}, _ENTRIES)
    )


def _differ(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(name in after and after[name] != before.get(name) for name in names)


def watch(transaction: Connection, scopes: Iterable[Scope]) -> None:
    """Have these accounts looked at, in one statement."""
    rows = [{"scope": scope.kind.value, "scope_id": scope.id} for scope in scopes]
    if rows:
        transaction.execute(insert(watched), rows)


def watch_linked(transaction: Connection, budget_ids: Iterable[str]) -> None:
    """Have everything that is linked to these tiers looked at, in one statement for a million as for one."""
    linked = list(budget_ids)
    _watch(transaction, _keys(keys.c.budget_id.in_(linked)), *_others(linked))


def watch_keys(transaction: Connection, chosen: ColumnElement[bool]) -> None:
    """Have these keys looked at, in one statement."""
    _watch(transaction, _keys(chosen))


def watch_others(transaction: Connection, budget_id: str) -> None:
    """Have the members and organizations looked at that are linked to a tier, in one statement."""
    _watch(transaction, *_others([budget_id]))


def _watch(transaction: Connection, *found: Select[Any]) -> None:
    transaction.execute(insert(watched).from_select(["scope", "scope_id"], union_all(*found)))


def _keys(chosen: ColumnElement[bool]) -> Select[Any]:
    return select(literal(ScopeKind.KEY.value), keys.c.key_id).where(chosen)


def _others(budget_ids: Sequence[str]) -> list[Select[Any]]:
    return [
        select(literal(kind.value), identity).where(link.in_(budget_ids))
        for kind, identity, link in (
            (ScopeKind.MEMBER, MEMBER_ID, team_members.c.budget_id),
            (ScopeKind.ORGANIZATION, organizations.c.organization_id, organizations.c.budget_id),
        )
    ]
