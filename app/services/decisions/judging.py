"""A call as it is about to be decided: what it counts in, what it may cost, or why it is refused out of hand."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain import access, limits, refusals, verdicts
from app.domain.access import Caller
from app.domain.estimates import Estimate
from app.domain.limits import Plan
from app.domain.model_access import resolved_model
from app.domain.refusals import Refused
from app.domain.reservations import Reservation
from app.domain.snapshots import Snapshot
from app.domain.verdicts import Call
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.services.decisions.estimating import Estimating


@dataclass(frozen=True, slots=True)
class Asked:
    """What a gateway asks."""

    key: str
    call: Call
    estimate: Estimate
    request_id: str
    lease_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A call that is refused whatever its limits are; no snapshot, where the gateway may know of no key."""

    snapshot: Snapshot | None
    model: str | None
    at: datetime
    refused: Refused


@dataclass(frozen=True, slots=True)
class Case:
    """A call that only its limits can refuse."""

    snapshot: Snapshot
    model: str | None
    at: datetime
    plan: Plan
    reservation: Reservation
    deadline: datetime


def request_id() -> str:
    """For a call to which its gateway gave none."""
    return str(uuid.uuid4())


class Judging:
    """`lease_seconds` is how long a hold stands, `longest_lease_seconds` the most that may be asked for.

    `user_budget_on_team_keys` holds an owner's budget against the keys of teams too.
    """

    def __init__(
        self,
        estimating: Estimating,
        calendar: Calendar,
        *,
        lease_seconds: float,
        longest_lease_seconds: float,
        user_budget_on_team_keys: bool,
    ) -> None:
        self._estimating = estimating
        self._calendar = calendar
        self._lease_seconds = lease_seconds
        self._longest_lease_seconds = longest_lease_seconds
        self._user_budget_on_team_keys = user_budget_on_team_keys

    def judge(self, gateway: Caller, snapshot: Snapshot | None, asked: Asked, now: datetime) -> Case | Dismissed:
        """Judge a call by everything but its limits; raises InvalidRequest for a lease or a cost too large."""
        if snapshot is not None and not access.may_decide(
            gateway, snapshot.key["team_id"], snapshot.organization_id
        ):
            snapshot = None
        refused = verdicts.refusal(snapshot, asked.call, now)
        if snapshot is None or refused is not None:
            return Dismissed(snapshot, asked.call.model, now, refused or refusals.unknown_key())
        model = self.model(snapshot, asked.call)
        amount = self._estimating.amount(snapshot, model, asked.estimate, now)
        if isinstance(amount, Refused):
            return Dismissed(snapshot, model, now, amount)
        plan = self.plan(snapshot, model, now)
        reservation = Reservation(
            key_id=snapshot.key["key_id"],
            request_id=asked.request_id,
            held_at=now,
            amount_nanos=amount.nanos,
            tokens=amount.tokens,
            model=model,
            team_id=snapshot.key["team_id"],
            user_id=snapshot.key["user_id"],
            organization_id=snapshot.organization_id,
            end_user=asked.call.user,
            tags=tags_of(snapshot, asked.call.tags),
            accounts=plan.accounts,
        )
        return Case(snapshot, model, now, plan, reservation, self.deadline(asked.lease_seconds, now))

    def model(self, snapshot: Snapshot, call: Call) -> str | None:
        """The model that is called in truth, behind every alias."""
        return None if call.model is None else resolved_model(snapshot, call.model)

    def plan(self, snapshot: Snapshot, model: str | None, at: datetime) -> Plan:
        return limits.plan(snapshot, model, self._calendar, at, user_budget_always=self._user_budget_on_team_keys)

    def deadline(self, lease_seconds: float | None, now: datetime) -> datetime:
        """When a hold ends that is asked for now; raises InvalidRequest for a lease that is too long."""
        seconds = self._lease_seconds if lease_seconds is None else lease_seconds
        if seconds > self._longest_lease_seconds:
            raise InvalidRequest(
                f"lease_seconds must not be above {self._longest_lease_seconds:g}.", "lease_seconds"
            )
        return now + timedelta(seconds=seconds)


def tags_of(snapshot: Snapshot, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags that a call is counted under: those of its key, and its own."""
    own = snapshot.key["metadata"].get("tags")
    of_key = [tag for tag in own if isinstance(tag, str)] if isinstance(own, list) else []
    return tuple(dict.fromkeys([*of_key, *tags]))
