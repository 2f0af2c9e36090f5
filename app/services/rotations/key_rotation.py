"""Giving a key a new secret: what the API calls regenerate. Everything that hangs on the key stays."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from app.db import Database
from app.domain import access, minting
from app.domain.access import Caller, Owner
from app.domain.durations import Duration, InvalidDuration
from app.domain.keys import length
from app.domain.minting import Secret
from app.domain.values import InvalidValue
from app.domain.windows import Calendar
from app.errors import Conflict, InvalidRequest, NothingFound
from app.models import keys
from app.services.access.callers import Callers
from app.services.access.refusals import enforce, rules
from app.services.access.standings import of_teams, other_owner, standing_in
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.events import delivery
from app.services.keys import key_events, key_names, key_rows, key_secrets
from app.services.keys.key_changes import KeyChanges, settings_of
from app.services.keys.key_patches import Patch
from app.services.keys.key_secrets import KeySecrets
from app.services.keys.key_views import KeyView
from app.services.keys.keys import GeneratedKey
from app.services.rotations.mailed_keys import MailedKeys
from app.store import policies
from app.store.policies import Policies

REGENERATED = "the key was regenerated meanwhile"

# Of the request, what says how to rotate; the rest are settings, with the gates of an update.
_ROTATION_FIELDS = frozenset({"key", "new_key", "grace_period", "key_type"})


class KeyRotation:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        callers: Callers,
        secrets: KeySecrets,
        changes: KeyChanges,
        calendar: Calendar,
        mailed_keys: MailedKeys,
        *,
        default_grace: Duration | None,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._secrets = secrets
        self._changes = changes
        self._calendar = calendar
        self._mailed_keys = mailed_keys
        self._default_grace = default_grace

    def regenerate(self, act: Act, reference: str, sent: Mapping[str, Any], route: str) -> GeneratedKey:
        """Replace the secret of a key, and change the settings that were sent with it.

        The old secret stops at once, or at the end of the grace that was asked for; secrets that are in grace
        already keep theirs. A scheduled rotation that is under way is cancelled, and its secret stops as the old
        one does. Raises NothingFound, InvalidRequest, BadAlias, Conflict, Forbidden and its kin and
        StoreUnavailable, all without any change, and WriteStands, after which only a secret that the caller chose
        is known to anybody. Sent again, it rotates again; by a secret that opens nothing since the first time it
        raises NothingFound, but not before it has announced the change once more: so a WriteStands is made good.
        """
        if self._callers.is_master(reference):
            raise InvalidRequest("The master key cannot be regenerated.", "key")
        settings = settings_of(sent, _ROTATION_FIELDS)
        with self._database.read() as connection:
            key_id = key_names.by_reference(connection, act.caller, [reference], act.at).get(reference)
            rotated: set[str] = set()
            if key_id is None:
                rotated = key_names.rotated_lately(connection, act.caller, reference, act.at)
        if key_id is None:
            self._policies.publish([policies.key(key_id) for key_id in rotated])
            raise _not_found()
        with rules(settings.get("key_alias")):
            revoke_at = self._end_of_grace(sent.get("grace_period"), act.at)
            secret = self._secrets.choose(sent.get("new_key"), "new_key")
            token = minting.digest(secret.reveal())
            with (
                self._policies.change([policies.key(key_id), policies.digest(token)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                view = self._rotate(transaction, act, key_id, secret, revoke_at, settings, route)
                before_commit()
            if "spend" in settings:
                self._changes.spend_changed([key_id])
        return GeneratedKey(secret, view)

    def _end_of_grace(self, text: str | None, now: datetime) -> datetime | None:
        grace = self._default_grace if text is None else length(text, "grace_period")
        if grace is None or grace.count == 0:
            return None
        try:
            return grace.after(now)
        except InvalidDuration as error:
            raise InvalidValue(f"Invalid grace_period '{text}'. {error}", "grace_period") from error

    def _rotate(
        self,
        transaction: Connection,
        act: Act,
        key_id: str,
        secret: Secret,
        revoke_at: datetime | None,
        settings: Mapping[str, Any],
        route: str,
    ) -> KeyView:
        found = key_rows.load(transaction, [key_id], self._calendar, act.at, lock=True)
        if not found:
            raise _not_found()
        before = found[0]
        facts = of_teams(transaction, act.caller, [before.columns["team_id"]])
        standing = standing_in(facts, before.columns["team_id"])
        enforce(access.may_regenerate(act.caller, before.target, standing, route), _not_found())
        enforce(access.may_learn_secret(act.caller, before.columns, _owner(transaction, act.caller, before)))
        if before.status == "expired" and settings.get("duration") is None:
            raise InvalidRequest("The key has expired: send the duration of the new one.", "duration")
        if minting.digest(secret.reveal()) == before.token:
            raise Conflict("This key already exists. Nothing was changed.", "key")
        if settings:
            refused = self._changes.apply(transaction, act, [Patch(before, settings)], route)
            if refused:
                raise refused[key_id]
        transaction.execute(
            update(keys).where(keys.c.key_id == key_id).values(updated_at=act.at, updated_by=act.caller.user_id)
        )
        withdrawn = delivery.withdraw(transaction, key_secrets.events_of([key_id]))
        key_secrets.retire_current(transaction, key_id, revoke_at, act.at)
        key_secrets.insert_current(transaction, key_id, secret, act.at)
        (view,) = key_rows.load(transaction, [key_id], self._calendar, act.at)
        changes = [Changed(key_id, before.stored_fields(), view.stored_fields())]
        audit.record(transaction, act, "regenerate", "key", changes)
        sealed = self._mailed_keys.sealed(secret, settings)
        events = key_events.of_change("key_rotated", view, settings, sealed)
        if withdrawn:
            events.append(key_events.of_cancelled_rotation(view, REGENERATED))
        delivery.enqueue(transaction, events, act.at)
        return view


def _owner(transaction: Connection, caller: Caller, view: KeyView) -> Owner | None:
    """Whose key it is, where that is somebody else than the caller."""
    user_id = view.columns["user_id"]
    if caller.is_admin or user_id in (None, caller.user_id):
        return None
    return other_owner(transaction, caller, user_id)


def _not_found() -> NothingFound:
    return NothingFound("Key not found.", "key")
