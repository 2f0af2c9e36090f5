"""The secrets under a key: choosing one, sending it off, making it current, retiring the one before."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, literal, or_, select, update

from app.domain import minting
from app.domain.minting import Secret
from app.errors import Forbidden, InvalidRequest
from app.models import key_secrets, retired_secrets
from app.services.access.callers import Callers

# The end of a secret on its way: no clock gets there, and every store and time zone knows it.
NO_END = datetime(9999, 1, 1, tzinfo=UTC)
ON_ITS_WAY = key_secrets.c.event_id.is_not(None)
_CURRENT = key_secrets.c.revoke_at.is_(None)


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
    transaction.execute(insert(key_secrets).values(_row(key_id, secret, now)))


def send_off(transaction: Connection, sent: Mapping[str, tuple[Secret, str]], now: datetime) -> None:
    """Let each key be opened by its next secret as well, which the event of this id delivers; by key id."""
    transaction.execute(
        insert(key_secrets),
        [
            {**_row(key_id, secret, now), "revoke_at": NO_END, "event_id": event_id}
            for key_id, (secret, event_id) in sent.items()
        ],
    )


def arrive(transaction: Connection, key_ids: Collection[str], revoke_at: datetime, now: datetime) -> None:
    """Make the secrets on their way the current ones; those before open the keys until `revoke_at`."""
    of_keys = key_secrets.c.key_id.in_(key_ids)
    _retire(transaction, of_keys & _CURRENT, revoke_at, now)
    transaction.execute(update(key_secrets).where(of_keys, ON_ITS_WAY).values(revoke_at=None, event_id=None))


def take_back(transaction: Connection, key_ids: Collection[str], now: datetime) -> None:
    """Let the secrets on their way open nothing any more."""
    _retire(transaction, key_secrets.c.key_id.in_(key_ids) & ON_ITS_WAY, None, now)


def retire_current(transaction: Connection, key_id: str, revoke_at: datetime | None, now: datetime) -> None:
    """Let the current secret open the key until `revoke_at`, or no longer at all; older graces run on.

    One that is on its way has the same end: who has it by now is not worse off than who has the current one.
    """
    _retire(transaction, (key_secrets.c.key_id == key_id) & or_(_CURRENT, ON_ITS_WAY), revoke_at, now)


def retire_all(transaction: Connection, key_ids: Collection[str], now: datetime) -> None:
    """Remember the secrets of keys that are about to be deleted; they go with their keys."""
    _remember(transaction, key_secrets.c.key_id.in_(key_ids), now)


def events_of(key_ids: Collection[str]) -> Select[Any]:
    """The events by which secrets of these keys are on their way."""
    return select(key_secrets.c.event_id).where(key_secrets.c.key_id.in_(key_ids), ON_ITS_WAY)


def _row(key_id: str, secret: Secret, now: datetime) -> dict[str, Any]:
    plaintext = secret.reveal()
    return {
        "token": minting.digest(plaintext),
        "key_id": key_id,
        "key_name": minting.key_name(plaintext),
        "created_at": now,
    }


def _retire(
    transaction: Connection, chosen: ColumnElement[bool], revoke_at: datetime | None, now: datetime
) -> None:
    if revoke_at is None or revoke_at <= now:
        _remember(transaction, chosen, now)
        transaction.execute(delete(key_secrets).where(chosen))
    else:
        transaction.execute(update(key_secrets).where(chosen).values(revoke_at=revoke_at, event_id=None))


def _remember(transaction: Connection, chosen: ColumnElement[bool], now: datetime) -> None:
    at = literal(now, retired_secrets.c.retired_at.type)
    found = select(key_secrets.c.token, key_secrets.c.key_id, at).where(chosen)
    transaction.execute(insert(retired_secrets).from_select(["token", "key_id", "retired_at"], found))
