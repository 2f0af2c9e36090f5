"""Those whom a request names as members: found by id or address, or brought into being as users.

Whoever is to be a member gets a row, so that every membership made here has a user behind it.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, or_, select

from app.db import insertion
from app.domain import access
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.users import folded
from app.domain.windows import Calendar
from app.errors import Conflict, ServiceError
from app.models import users
from app.services.access.refusals import unknown_reference
from app.services.accounts import accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.users import user_rows


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to become a member; `fresh` where the id was made up for an address that nobody had."""

    user_id: str
    user_email: str | None
    role: str
    fresh: bool = False


def resolve(connection: Connection, members: Sequence[Mapping[str, Any]]) -> list[Newcomer]:
    """Who the entries of a request are, each user once; the first entry of a user counts."""
    return distinct(resolve_each(connection, members))


def resolve_each(connection: Connection, members: Sequence[Mapping[str, Any]]) -> list[Newcomer]:
    """Who each entry of a request is; entries of one user have one id."""
    known = _ids_of(connection, [entry["user_email"] for entry in members if not entry.get("user_id")])
    for entry in members:
        if entry.get("user_id") and entry.get("user_email"):
            known.setdefault(folded(entry["user_email"]), entry["user_id"])
    newcomers = []
    for entry in members:
        address = (entry.get("user_email") or "").strip() or None
        user_id = entry.get("user_id") or known.get(folded(address))
        fresh = user_id is None
        user_id = user_id or known.setdefault(folded(address), str(uuid.uuid4()))
        newcomers.append(Newcomer(user_id, address, entry["role"], fresh))
    return newcomers


def distinct(newcomers: Iterable[Newcomer]) -> list[Newcomer]:
    """Each user once; the first entry of a user counts."""
    found: dict[str, Newcomer] = {}
    for newcomer in newcomers:
        found.setdefault(newcomer.user_id, newcomer)
    return list(found.values())


def faults(connection: Connection, act: Act, newcomers: Sequence[Newcomer]) -> dict[str, ServiceError]:
    """Which newcomers `settle` would refuse, by their ids, and with which error; one statement."""
    if not newcomers:
        return {}
    rows = _rows_of(connection, newcomers)
    present = {row.user_id for row in rows}
    owners = {row.email_folded: row.user_id for row in rows if row.email_folded is not None}
    found: dict[str, ServiceError] = {}
    for newcomer in newcomers:
        address = folded(newcomer.user_email)
        if newcomer.fresh or newcomer.user_id in present:
            continue
        if not access.may_create_users(act.caller):
            found[newcomer.user_id] = unknown_reference("user_id")
        elif address is not None and owners.setdefault(address, newcomer.user_id) != newcomer.user_id:
            found[newcomer.user_id] = _email_exists(newcomer)
    return found


def settle(transaction: Connection, act: Act, newcomers: Sequence[Newcomer], calendar: Calendar) -> list[Newcomer]:
    """Give each newcomer without a row one, and return them as they are then.

    An address that somebody else registered meanwhile brings that user in the place of the fresh one. Raises
    InvalidRequest for an unknown id where the caller may not create users, Conflict where an id is new but its
    address another's.
    """
    if not newcomers:
        return []
    existing = set(
        transaction.execute(
            select(users.c.user_id)
            .where(users.c.user_id.in_([newcomer.user_id for newcomer in newcomers]))
            .order_by(users.c.user_id)
            .with_for_update(read=True)
        ).scalars()
    )
    missing = [newcomer for newcomer in newcomers if newcomer.user_id not in existing]
    if not access.may_create_users(act.caller) and not all(newcomer.fresh for newcomer in missing):
        raise unknown_reference("user_id")
    created = _create(transaction, act, missing, calendar)
    if len(created) == len(missing):
        return list(newcomers)
    return _replaced(transaction, newcomers, existing | created)


def _create(transaction: Connection, act: Act, missing: Sequence[Newcomer], calendar: Calendar) -> set[str]:
    if not missing:
        return set()
    created = set(
        transaction.execute(
            insertion(transaction, users).on_conflict_do_nothing().returning(users.c.user_id),
            [
                {
                    "user_id": newcomer.user_id,
                    "user_email": newcomer.user_email,
                    "email_folded": folded(newcomer.user_email),
                    "created_at": act.at,
                    "updated_at": act.at,
                }
                # In one order everywhere, so that two requests never wait for each other.
                for newcomer in sorted(missing, key=lambda newcomer: newcomer.user_id)
            ],
        ).scalars()
    )
    accounts.open_accounts(transaction, [Account(Scope(ScopeKind.USER, user_id)) for user_id in created])
    views = user_rows.load(transaction, users.c.user_id.in_(created), calendar, act.at)
    changes = [Changed(user_id, None, view.fields()) for user_id, view in views.items()]
    audit.record(transaction, act, "new", "user", changes)
    return created


def _replaced(transaction: Connection, newcomers: Sequence[Newcomer], settled: set[str]) -> list[Newcomer]:
    """The newcomers, with whoever took an id or an address in the meantime in their place."""
    lost = [newcomer for newcomer in newcomers if newcomer.user_id not in settled]
    rows = _rows_of(transaction, lost)
    present = settled | {row.user_id for row in rows}
    owners = {row.email_folded: row.user_id for row in rows}
    found: dict[str, Newcomer] = {}
    for newcomer in newcomers:
        user_id = newcomer.user_id
        if user_id not in present:
            if not newcomer.fresh:
                raise _email_exists(newcomer)
            user_id = owners[folded(newcomer.user_email)]
        found.setdefault(user_id, replace(newcomer, user_id=user_id))
    return list(found.values())


def _rows_of(connection: Connection, newcomers: Sequence[Newcomer]) -> Sequence[Any]:
    """The users who have the id or the address of one of these."""
    addresses = {folded(newcomer.user_email) for newcomer in newcomers} - {None}
    return connection.execute(
        select(users.c.user_id, users.c.email_folded).where(
            or_(
                users.c.user_id.in_([newcomer.user_id for newcomer in newcomers]),
                users.c.email_folded.in_(addresses),
            )
        )
    ).all()


def _email_exists(newcomer: Newcomer) -> Conflict:
    return Conflict(f"User with email {newcomer.user_email} already exists.", "user_email")


def _ids_of(connection: Connection, addresses: Sequence[str | None]) -> dict[str | None, str]:
    wanted = {folded(address) for address in addresses} - {None}
    if not wanted:
        return {}
    rows = connection.execute(
        select(users.c.email_folded, users.c.user_id).where(users.c.email_folded.in_(wanted))
    )
    return {row.email_folded: row.user_id for row in rows}
