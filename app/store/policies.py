"""Policy versions: how a change of a key, team, user or tier reaches every process at once.

Redis holds a random token per entity; a process may decide from its cached snapshot only while the tokens it
was cached under are the present ones. A writer marks the entities before its transaction, commits, and then
publishes: new tokens, own mark off. While a mark stands everybody decides from SQL; a mark whose writer died
lapses at its deadline and makes cached copies stale. So a request sent after a change was answered never
meets the old state, and no process can bring an old token back: every call brings a fresh random one.

Deadlines are read from Redis's clock, which all writers and readers share; a writer counts its own time on a
monotonic clock from before the mark was set, so it gives up before anybody else sees the mark lapse.

A mark may be lost with Redis before the commit, and somebody may keep the old state after that: only publication
ends it. So no writer answers a success, nor that there was nothing to do, before it has published.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from app.domain.teams import member_id
from app.errors import StoreUnavailable, WriteStands
from app.store.connection import HotRedis, Lease, Script

_ADOPT = Script("policies_adopt")
_CHECK = Script("policies", "policies_check")
_MARK = Script("policies_mark")
_PUBLISH = Script("policies_publish")

# An entity nobody asked about for a day is forgotten; an absent token only costs a look into SQL.
_LIFETIME_MS = 24 * 3600 * 1000


class EntityKind(StrEnum):
    DIGEST = "digest"
    KEY = "key"
    TEAM = "team"
    USER = "user"
    MEMBER = "member"
    ORGANIZATION = "organization"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Entity:
    """Something whose change may change a verdict."""

    kind: EntityKind
    id: str


def digest(token: str) -> Entity:
    return Entity(EntityKind.DIGEST, token)


def key(key_id: str) -> Entity:
    return Entity(EntityKind.KEY, key_id)


def team(team_id: str) -> Entity:
    return Entity(EntityKind.TEAM, team_id)


def user(user_id: str) -> Entity:
    return Entity(EntityKind.USER, user_id)


def member(team_id: str, user_id: str) -> Entity:
    return Entity(EntityKind.MEMBER, member_id(team_id, user_id))


def organization(organization_id: str) -> Entity:
    return Entity(EntityKind.ORGANIZATION, organization_id)


def tier(budget_id: str) -> Entity:
    return Entity(EntityKind.TIER, budget_id)


class Freshness(StrEnum):
    FRESH = "FRESH"
    STALE = "STALE"
    DIRTY = "DIRTY"


@dataclass(frozen=True, slots=True)
class Versions:
    """The tokens of some entities at one moment; `dirty` while a change of one of them is under way."""

    entities: tuple[Entity, ...]
    tokens: tuple[str, ...]
    run_id: str
    dirty: bool


def together(versions: Iterable[Versions]) -> Versions:
    """Versions of several snapshots that are to decide at once; of different lives of Redis, they are stale."""
    found = list(versions)
    run_ids = {each.run_id for each in found}
    return Versions(
        entities=tuple(entity for each in found for entity in each.entities),
        tokens=tuple(token for each in found for token in each.tokens),
        run_id=run_ids.pop() if len(run_ids) == 1 else "",
        dirty=any(each.dirty for each in found),
    )


class Announcement:
    """A change that stands announced: `before_commit` is the last thing in its transaction.

    `renew` lets the mark stand for as long again, where half of the time to change anything is over: for a change
    that takes as long as it has much to do. Both raise StoreUnavailable where the mark may have lapsed too soon.
    """

    def __init__(
        self, mark: Callable[[], None], *, seconds: float, commit_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._mark = mark
        self._seconds = seconds
        self._commit_seconds = commit_seconds
        self._monotonic = monotonic
        self._set()

    def before_commit(self) -> None:
        if self._left() <= self._commit_seconds:
            raise _too_long()

    def renew(self) -> None:
        left = self._left()
        if left <= 0:
            raise _too_long()
        if left <= (self._seconds + self._commit_seconds) / 2:
            self._set()

    def _left(self) -> float:
        return self._deadline - self._monotonic()

    def _set(self) -> None:
        # Taken before the call: our own deadline is never later than the one in Redis.
        deadline = self._monotonic() + self._seconds
        self._mark()
        self._deadline = deadline


class Policies:
    """The version tokens in Redis.

    `change_seconds` is how long a mark stands; `commit_seconds` how long a commit may take at the most.
    """

    def __init__(
        self,
        redis: HotRedis,
        *,
        change_seconds: float,
        commit_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._change_seconds = change_seconds
        self._commit_seconds = commit_seconds
        self._monotonic = monotonic

    def adopt(self, entities: Sequence[Entity]) -> Versions:
        """The present tokens, made where there are none; one round trip; raises StoreUnavailable."""
        with self._redis.lease() as lease:
            names = policy_names(lease, entities)
            dirty, *tokens = lease.run(_ADOPT, names, [fresh_token(), _LIFETIME_MS])
            return Versions(tuple(entities), tuple(tokens), lease.run_id, dirty=bool(dirty))

    def check(self, versions: Versions) -> Freshness:
        """Whether a snapshot cached under these versions may still decide; one round trip."""
        with self._redis.lease() as lease:
            if lease.run_id != versions.run_id:
                return Freshness.STALE
            names = policy_names(lease, versions.entities)
            return Freshness(lease.run(_CHECK, names, [fresh_token(), *versions.tokens]))

    @contextmanager
    def change(self, entities: Sequence[Entity]) -> Iterator[Callable[[], None]]:
        """Announce a change of the entities around a write transaction, and publish it afterwards.

        Yields a check that the body calls as the last thing in its transaction: it raises StoreUnavailable
        rather than let a commit come so late that the mark may lapse first. Raises StoreUnavailable before
        anything is written when the change cannot be announced. Publishing happens whether the body succeeded
        or not. Where it fails, raises WriteStands after a success; after an error StoreUnavailable in its place,
        because "it is not there" or "it is so already" is the answer to one who asks again after a WriteStands.
        """
        with self.long_change(entities) as announcement:
            yield announcement.before_commit

    @contextmanager
    def long_change(self, entities: Sequence[Entity]) -> Iterator[Announcement]:
        """As `change`, for one that may take longer than a mark stands: the body renews it as it goes."""
        entities = tuple(dict.fromkeys(entities))
        mark = f"mark:{secrets.token_hex(8)}"
        announcement = Announcement(
            partial(self._mark, entities, mark),
            seconds=self._change_seconds,
            commit_seconds=self._commit_seconds,
            monotonic=self._monotonic,
        )
        try:
            yield announcement
        except Exception:
            self._publish(entities, mark)
            raise
        try:
            self._publish(entities, mark)
        except StoreUnavailable as error:
            raise WriteStands from error

    def publish(self, entities: Sequence[Entity]) -> None:
        """Make cached copies of the entities, if any, stale, without a mark; raises StoreUnavailable."""
        if entities:
            self._publish(tuple(entities), "mark:none")

    def _mark(self, entities: Sequence[Entity], mark: str) -> None:
        with self._redis.lease() as lease:
            names = policy_names(lease, entities)
            lease.run(_MARK, names, [mark, int(self._change_seconds * 1000), _LIFETIME_MS])

    def _publish(self, entities: Sequence[Entity], mark: str) -> None:
        with self._redis.lease() as lease:
            names = policy_names(lease, entities)
            lease.run(_PUBLISH, names, [mark, fresh_token(), _LIFETIME_MS])


def _too_long() -> StoreUnavailable:
    return StoreUnavailable("The change took too long and was given up; nothing was written.")


def policy_names(lease: Lease, entities: Sequence[Entity]) -> list[str]:
    """Where the versions of these entities stand."""
    return [lease.name("policy", entity.kind, entity.id) for entity in entities]


def fresh_token() -> str:
    """A token that no process has ever seen."""
    return secrets.token_hex(16)
