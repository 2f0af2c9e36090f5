"""Ids that are taken without a row: an administrator may name a team or a user that does not exist yet.

Whoever makes such a team or user afterwards gets a say over everything that names it, so only an administrator
may; for everybody else the id is taken. What was spent under an id names it even when the archive has forgotten
the keys.
"""

from sqlalchemy import Connection, exists, or_, select

from app.domain.access import Caller
from app.errors import ServiceError, UnknownKey
from app.models import daily_spend, deleted_keys, keys, organization_members, team_members, users
from app.services.access.callers import MASTER_USER_ID
from app.services.audit.audit import SYSTEM


def check_team(transaction: Connection, caller: Caller, team_id: str, taken: ServiceError) -> None:
    """Raise `taken` where a key, live or archived, or a sum of what was spent already names the team."""
    if caller.is_admin:
        return
    named = or_(*(exists().where(table.c.team_id == team_id) for table in (keys, deleted_keys, daily_spend)))
    if transaction.execute(select(named)).scalar():
        raise taken


def check_user(transaction: Connection, caller: Caller, user_id: str, taken: ServiceError) -> None:
    """Raise `taken` where a key, a membership or a sum names the user already, or the service has that name."""
    if caller.is_admin:
        return
    tables = (keys, deleted_keys, daily_spend, team_members, organization_members)
    named = or_(*(exists().where(table.c.user_id == user_id) for table in tables))
    if user_id in {MASTER_USER_ID, SYSTEM.user_id} or transaction.execute(select(named)).scalar():
        raise taken


def hold_owner(transaction: Connection, user_id: str | None) -> None:
    """Keep the caller's user until the transaction ends; raises UnknownKey where it has been deleted meanwhile.

    Whoever deletes a user archives the keys that there are: one made at the same moment must not outlive it.
    """
    chosen = select(users.c.user_id).where(users.c.user_id == user_id)
    if transaction.execute(chosen.with_for_update(read=True, key_share=True)).first() is None:
        raise UnknownKey
