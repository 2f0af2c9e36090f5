"""A gateway in front of two web processes, and the books that it must not be able to upset."""

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier
from typing import Any, Self

from sqlalchemy import func, select

from app.clock import Clock
from app.config import Settings
from app.container import Services, build
from app.domain import minting
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from app.models import budget_state, ledger
from app.services.accounts import spends
from app.services.decisions import rebasing
from app.store import balance_names
from tests.clients import MASTER_KEY
from tests.environment import ENVIRONMENT
from tests.faults.web import Away, Caller, Pair, Reply, all_at_once
from tests.servers import eventually

MODEL = "gpt-4o"
NANOS = 1_000_000_000
# How long a gateway goes on asking.
PATIENCE_SECONDS = 60.0


class Gateway:
    """One connection to each process, the next one asked where one is away; not for two threads at once."""

    def __init__(self, pair: Pair, *, key: str = MASTER_KEY, first: int = 0) -> None:
        self._callers = [Caller(web, key=key) for web in pair.webs]
        self._turn = first
        self.repeated = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.close()

    def once(self, path: str, **body: Any) -> Reply:
        """Ask the process whose turn it is; raises Away."""
        return self._callers[self._turn % len(self._callers)].post(path, **body)

    def post(self, path: str, **body: Any) -> Any:
        """Ask until there is an answer, which must be a 200: one process is away, or tells of an outage."""
        return eventually(lambda: self._answer(path, body), PATIENCE_SECONDS).body

    def _answer(self, path: str, body: dict[str, Any]) -> Reply | None:
        try:
            reply = self.once(path, **body)
        except Away:
            reply = None
        if reply is None or reply.status == 503:
            self.repeated += 1
            self._turn += 1
            return None
        assert reply.status == 200, reply
        return reply

    def get(self, path: str) -> Any:
        reply = self._callers[self._turn % len(self._callers)].get(path)
        assert reply.status == 200, reply
        return reply.body

    def verify(self, key: str, cost: float, request_id: str, **more: Any) -> Any:
        return self.post(
            "/key/verify",
            key=key,
            model=MODEL,
            estimate={"cost": cost},
            request_id=request_id,
            **more,
        )

    def settle(self, reservation_id: str, cost: float, **more: Any) -> Any:
        return self.post("/key/settle", reservation_id=reservation_id, cost=cost, **more)


def at_once(pair: Pair, works: Sequence[Any]) -> list[Any]:
    """Let each work have a gateway of its own, at both processes by turns, all of them in the same moment."""
    barrier = Barrier(len(works))

    def run(index: int, work: Any) -> Any:
        with Gateway(pair, first=index) as gateway:
            gateway.post("/key/explain", key="sk-of-nobody-0123456789")  # the connection is made
            barrier.wait(60)
            return work(gateway)

    return all_at_once([partial(run, index, work) for index, work in enumerate(works)])


@dataclass
class World:
    """Keys of one owner in one team of one organization, every level with a budget of its own."""

    keys: list[str]
    scope_ids: list[str] = field(default_factory=list)


LEVELS = (
    ScopeKind.KEY,
    ScopeKind.KEY_MODEL,
    ScopeKind.TEAM,
    ScopeKind.TEAM_MODEL,
    ScopeKind.TEAM_WINDOW,
    ScopeKind.MEMBER,
    ScopeKind.USER,
    ScopeKind.USER_MODEL,
    ScopeKind.ORGANIZATION,
)


def make_world(pair: Pair, caps: dict[ScopeKind, float], number_of_keys: int = 1) -> World:
    """Make everything that a call can count in, each level with its cap in dollars.

    A team may not have more than its organization: it then has no cap of its own.
    """

    def of_model(level: ScopeKind) -> dict[str, Any]:
        return {MODEL: {"budget_limit": caps[level], "time_period": "1y"}}

    name = uuid.uuid4().hex
    organization, team, user = f"organization-{name}", f"team-{name}", f"user-{name}"
    with Gateway(pair) as gateway:
        gateway.post(
            "/organization/new",
            organization_id=organization,
            organization_alias=organization,
            max_budget=caps[ScopeKind.ORGANIZATION],
        )
        gateway.post(
            "/user/new",
            user_id=user,
            max_budget=caps[ScopeKind.USER],
            model_max_budget=of_model(ScopeKind.USER_MODEL),
            auto_create_key=False,
        )
        gateway.post(
            "/team/new",
            team_id=team,
            organization_id=organization,
            max_budget=caps[ScopeKind.TEAM] if caps[ScopeKind.TEAM] <= caps[ScopeKind.ORGANIZATION] else None,
            budget_duration="1y",
            model_max_budget=of_model(ScopeKind.TEAM_MODEL),
            budget_limits=[{"budget_duration": "1mo", "max_budget": caps[ScopeKind.TEAM_WINDOW]}],
        )
        gateway.post(
            "/team/member_add",
            team_id=team,
            member={"user_id": user, "role": "user"},
            max_budget_in_team=caps[ScopeKind.MEMBER],
        )
        made = [
            gateway.post(
                "/key/generate",
                team_id=team,
                user_id=user,
                max_budget=caps[ScopeKind.KEY],
                budget_duration="1y",
                model_max_budget=of_model(ScopeKind.KEY_MODEL),
            )
            for _ in range(number_of_keys)
        ]
    ids = [*(key["key_id"] for key in made), team, user, organization, member_id(team, user)]
    return World([key["key"] for key in made], ids)


@dataclass(frozen=True)
class Balance:
    """What the ledger says was spent in the present window, and what Redis has: in nano-dollars."""

    spent: int
    used: int
    held: int


@contextmanager
def beside(pair: Pair, clock: Clock | None = None) -> Iterator[Services]:
    """The services in this process, on the stores of the pair: to run jobs and to read the books."""
    services = build(
        Settings.parse(
            {
                "DATABASE_URL": pair.database_url,
                "REDIS_URL": pair.redis.url,
                **ENVIRONMENT,
            }
        ),
        clock,
    )
    try:
        yield services
    finally:
        services.close()


def books(services: Services, scope_ids: Iterable[str]) -> dict[Scope, Balance]:
    """The balance of every account of these that has a counter in Redis."""
    with services.database.read() as connection:
        rows = connection.execute(select(budget_state).where(budget_state.c.scope_id.in_(list(scope_ids))))
        accounts = [rebasing._account(row) for row in rows.mappings()]
        spent = spends.current(connection, accounts, services.calendars.installation)
    with services.redis.lease() as lease:
        names = [balance_names.counter(lease, account) for account in accounts]
        used, held = lease.fields(names, "used"), lease.fields(names, "held")
    return {
        account.scope: Balance(known or 0, int(u), int(h or 0))
        for account, known, u, h in zip(accounts, spent, used, held, strict=True)
        if u is not None
    }


def charges(services: Services, key_ids: Iterable[str]) -> tuple[int, int]:
    """How many charges the ledger has of these keys, and their sum."""
    with services.database.read() as connection:
        found = connection.execute(
            select(func.count(), func.coalesce(func.sum(ledger.c.amount_nanos), 0)).where(
                ledger.c.key_id.in_(list(key_ids)), ledger.c.kind == "charge"
            )
        ).one()
    return int(found[0]), int(found[1])


def open_holds(services: Services) -> int:
    """How many holds Redis thinks are open."""
    with services.redis.lease() as lease:
        return int(lease._call("ZCARD", lease.name("holds")))


def drifts(services: Services, scope_ids: Iterable[str]) -> list[Any]:
    """Accounts of these whose stored numbers are not what the ledger adds up to."""
    wanted = set(scope_ids)
    return [drift for drift in services.ledger_check.check(1_000).drifts if drift.scope_id in wanted]


def spend_shown(pair: Pair, key: str) -> float:
    """What /key/info says that a key has spent."""
    with Caller(pair.webs[0]) as caller:
        return float(caller.get(f"/key/info?key={minting.digest(key)}").body["info"]["spend"])


def numbers() -> Iterator[str]:
    """Request ids that nobody has used."""
    name = uuid.uuid4().hex
    return (f"{name}-{number}" for number in itertools.count())
