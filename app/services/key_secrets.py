"""The secrets under a key: choosing one, making it current, retiring the one before."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, select, update

from app.domain import minting
from app.domain.minting import Secret
from app.errors import Forbidden, InvalidRequest
from app.models import key_secrets, retired_secrets
from app.services.callers import Callers


class KeySecrets:
    def __init__(self, callers: Callers, *, custom_keys_allowed: bool) -> None:
        self._callers = callers
        self._custom_keys_allowed = custom_keys_allowed

    def choose(self, custom: str | None, param: str = "key") -> Secret:
        """The caller's own choice of key, or a new random one; raises InvalidRequest and Forbidden."""
        if custom is None:
            return minting.mint()
        if not self._custom_keys_allowed:
            raise Forbidden("Custom keys are disabled here.", param)
        fault = minting.fault_of_custom_key(custom)
        if fault is not None:
            raise InvalidRequest(fault, param)
        if self._callers.is_master(custom):
            raise InvalidRequest("The master key cannot be a virtual key.", param)
        return Secret(custom)


def insert_current(transaction: Connection, key_id: str, secret: Secret, now: datetime) -> None:
    """Make the secret the one that opens the key; there must be no other current one."""
    plaintext = secret.reveal()
    transaction.execute(
        insert(key_secrets).values(
            token=minting.digest(plaintext),
            key_id=key_id,
            key_name=minting.key_name(plaintext),
            created_at=now,
        )
    )


def retire_current(transaction: Connection, key_id: str, revoke_at: datetime | None, now: datetime) -> None:
    """Let the current secret open the key until `revoke_at`, or no longer at all; older graces run on."""
    current = (key_secrets.c.key_id == key_id) & key_secrets.c.revoke_at.is_(None)
    if revoke_at is None:
        _remember(transaction, current, now)
        transaction.execute(delete(key_secrets).where(current))
    else:
        transaction.execute(update(key_secrets).where(current).values(revoke_at=revoke_at))


def retire_all(transaction: Connection, key_ids: Collection[str], now: datetime) -> None:
    """Remember the secrets of keys that are about to be deleted; they go with their keys."""
    _remember(transaction, key_secrets.c.key_id.in_(key_ids), now)


def _remember(transaction: Connection, chosen: ColumnElement[bool], now: datetime) -> None:
    at = literal(now, retired_secrets.c.retired_at.type)
    found = select(key_secrets.c.token, key_secrets.c.key_id, at).where(chosen)
    transaction.execute(insert(retired_secrets).from_select(["token", "key_id", "retired_at"], found))
