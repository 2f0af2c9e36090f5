"""What a process knows of a key and everything that bears on its verdict, kept only while it is true.

A snapshot is cached under the policy versions read before it. It is read in one statement, so it never mixes two
states, and it decides only while `Policies.check` says FRESH. With Redis away it is read from SQL every time and
never kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from cachetools import TTLCache

from app.db import Database
from app.domain.snapshots import Snapshot
from app.errors import StoreUnavailable
from app.services.decisions import snapshot_rows
from app.store.policies import Freshness, Policies, Versions, together

# Snapshots are a few kB each: this many hold the busy keys of an installation in well under 100 MB.
CACHE_SIZE = 10_000
# The ids of a key can move between two reads; more often than this is no longer an accident.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key as it was seen, and the versions under which that may decide.

    Without versions it was read from SQL while a change was under way: it decides the request that has read it and
    no other. One that is `remembered` decides nothing before its versions were checked.
    """

    token: str
    snapshot: Snapshot | None
    versions: Versions | None
    remembered: bool = False


class Snapshots:
    def __init__(self, database: Database, policy_store: Policies, *, seconds: float) -> None:
        self._database = database
        self._policies = policy_store
        # The age limit bounds what is left of a writer killed between commit and publication whose mark was
        # lost with Redis: versions alone cannot tell that.
        self._cache: TTLCache[str, tuple[Snapshot | None, Versions]] = TTLCache(CACHE_SIZE, seconds)
        self._lock = Lock()

    def of(self, token: str, now: datetime) -> Snapshot | None:
        """The key that this digest opens at `now`, or None; raises StoreUnavailable when SQL is away."""
        try:
            found = self.sight(token, now)
            if found.remembered and not self.is_fresh([found]):
                found = self.look_again(token, now)
        except StoreUnavailable:
            return self._read(token, now)
        return found.snapshot

    def sight(self, token: str, now: datetime) -> Sighting:
        """The key as it was last seen, or else as it is.

        Raises StoreUnavailable when SQL or Redis is away.
        """
        with self._lock:
            cached = self._cache.get(token)
        if cached is not None and _still_opens(cached[0], now):
            return Sighting(token, *cached, remembered=True)
        return self.look_again(token, now)

    def look_again(self, token: str, now: datetime) -> Sighting:
        """Ids, then their versions, then the snapshot; kept unless a change is under way.

        Raises StoreUnavailable when SQL or Redis is away.
        """
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                entities = snapshot_rows.entities(connection, token, now)
                versions = self._policies.adopt(entities)
                snapshot = snapshot_rows.load(connection, token, now)
            if snapshot_rows.entities_of(snapshot, token) != entities:
                continue
            with self._lock:
                if versions.dirty:
                    self._cache.pop(token, None)
                else:
                    self._cache[token] = (snapshot, versions)
            return Sighting(token, snapshot, None if versions.dirty else versions)
        return Sighting(token, self._read(token, now), None)

    def forget(self, sightings: Sequence[Sighting]) -> None:
        """Remember these no longer: they were found to be old."""
        with self._lock:
            for sighting in sightings:
                self._cache.pop(sighting.token, None)

    def is_fresh(self, sightings: Sequence[Sighting]) -> bool:
        """Whether all of these may decide; one round trip, none where nothing hangs on versions."""
        versions = [sighting.versions for sighting in sightings if sighting.versions is not None]
        return not versions or self._policies.check(together(versions)) is Freshness.FRESH

    def all_of(self, tokens: Sequence[str], now: datetime) -> dict[str, Snapshot]:
        """The keys that these digests open at `now`, by digest: one as `of` knows it, several by one statement.

        Raises StoreUnavailable when SQL is away.
        """
        if len(tokens) == 1:
            found = self.of(tokens[0], now)
            return {} if found is None else {tokens[0]: found}
        with self._database.read() as connection:
            return snapshot_rows.load_all(connection, tokens, now)

    def archived(self, tokens: Sequence[str]) -> dict[str, Snapshot]:
        """Deleted keys as they were, by digest, with team, owner and organization as they are now."""
        with self._database.read() as connection:
            return snapshot_rows.load_archived(connection, tokens)

    def _read(self, token: str, now: datetime) -> Snapshot | None:
        with self._database.read() as connection:
            return snapshot_rows.load(connection, token, now)


def _still_opens(snapshot: Snapshot | None, now: datetime) -> bool:
    """A secret in grace closes by the clock, without any change that would show in a version."""
    if snapshot is None:
        return True
    revoke_at = snapshot.key["revoke_at"]
    return revoke_at is None or revoke_at > now
