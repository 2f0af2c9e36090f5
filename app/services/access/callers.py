"""Who is calling: the master key, or a virtual key with its owner's rights, decided afresh for every request."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.domain import access, minting, refusals
from app.domain.access import SERVICE_ACCOUNT, Caller, Role
from app.domain.limits import key_cap
from app.domain.snapshots import Snapshot
from app.errors import ExpiredKey, Unauthenticated, UnknownKey
from app.services.decisions.snapshots import Sighting, Snapshots

# The names under which the master key appears in answers and records; never the key, never its digest.
MASTER_USER_ID = "default_user_id"
MASTER_KEY_ALIAS = "litellm_proxy_master_key"


class Callers:
    def __init__(self, snapshots: Snapshots, *, master_key: minting.Secret) -> None:
        self._snapshots = snapshots
        self._master_digest = minting.digest(master_key.reveal())

    def is_master(self, plaintext: str) -> bool:
        return minting.same(minting.digest(plaintext), self._master_digest)

    def authenticate(self, plaintext: str, now: datetime) -> Caller:
        """The caller behind a credential at `now`.

        Raises Unauthenticated, UnknownKey or ExpiredKey, and StoreUnavailable when SQL cannot be asked. A hash
        is no credential: it names a key, it does not open it.
        """
        snapshot = self._snapshots.of(minting.digest(plaintext), now) if self._may_open(plaintext) else None
        return self.admit(plaintext, snapshot, now)

    def sight(self, plaintext: str, now: datetime) -> Sighting | None:
        """The caller's key as `Snapshots.sight` has it; None for a credential that no key could have."""
        return self._snapshots.sight(minting.digest(plaintext), now) if self._may_open(plaintext) else None

    def admit(self, plaintext: str, snapshot: Snapshot | None, now: datetime) -> Caller:
        """The caller by what its credential opens; raises as `authenticate` does."""
        if self.is_master(plaintext):
            return Caller(
                role=Role.PROXY_ADMIN, user_id=MASTER_USER_ID, key_alias=MASTER_KEY_ALIAS, has_owner=True
            )
        if not plaintext.startswith(minting.PREFIX):
            raise Unauthenticated(
                f"LiteLLM Virtual Key expected. Received={_abbreviated(plaintext)}, expected to start with 'sk-'."
            )
        if snapshot is None:
            raise UnknownKey
        if snapshot.key["blocked"]:
            raise Unauthenticated(refusals.key_blocked().message)
        if not snapshot.owner_is_active:
            raise Unauthenticated(refusals.owner_deactivated(snapshot.key["user_id"]).message)
        expires_at = snapshot.key["expires_at"]
        if expires_at is not None and expires_at <= now:
            refused = refusals.key_expired(minting.key_name(plaintext), expires_at, now)
            raise ExpiredKey(refused.message, refused.param)
        team = snapshot.team or {}
        if team.get("blocked"):
            raise Unauthenticated(refusals.team_blocked(team["team_id"]).message)
        return _caller(snapshot, now)

    def _may_open(self, plaintext: str) -> bool:
        return plaintext.startswith(minting.PREFIX) and not self.is_master(plaintext)


_RATES = ("tpm_limit", "rpm_limit", "max_parallel_requests")


def _caller(snapshot: Snapshot, now: datetime) -> Caller:
    key: Mapping[str, Any] = snapshot.key
    # What the key leaves open, its tier says.
    rates = {name: (snapshot.tier or {}).get(name) if key[name] is None else key[name] for name in _RATES}
    return Caller(
        role=Role.of((snapshot.user or {}).get("user_role")),
        user_id=key["user_id"],
        key_id=key["key_id"],
        token=key["token"],
        key_alias=key["key_alias"],
        team_id=key["team_id"],
        has_owner=snapshot.user is not None,
        is_service_account=key["team_id"] is not None and SERVICE_ACCOUNT in key["metadata"],
        allowed_routes=tuple(key["allowed_routes"]),
        models=tuple(key["models"]),
        max_budget_nanos=key_cap(snapshot, now),
        expires_at=key["expires_at"],
        **rates,
        organization_admin_of=snapshot.organization_admin_of,
        gateway=access.gateway_of(key["permissions"]),
    )


def _abbreviated(credential: str) -> str:
    return f"{credential[:4]}****{credential[-4:]}" if len(credential) > 8 else "****"  # noqa: PLR2004
