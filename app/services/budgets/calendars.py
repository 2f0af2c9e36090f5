"""When a budget resets: of a spelling that somebody thinks of, or of something that has one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import budgets, spellings
from app.domain.further_usage import FurtherUsage
from app.domain.windows import Calendar, Window
from app.errors import InvalidRequest
from app.services.access.refusals import rules
from app.services.audit.audit import Act
from app.services.budgets.budgets import Budgets
from app.services.keys.key_reads import KeyReads
from app.services.organizations.organizations import Organizations
from app.services.teams.member_changes import not_in_team
from app.services.teams.teams import Teams
from app.services.users.user_reads import UserReads

# What can be asked for by name, and the field that names it; a member by two of them.
NAMES = ("key", "budget_id", "team_id", "user_id", "organization_id")
MEMBER = ["team_id", "user_id"]


@dataclass(frozen=True, slots=True)
class _Read:
    """A spelling, since when it runs, in which window, and the budgets beside it."""

    spelling: str | None
    armed_at: datetime | None
    window: Window | None = None
    limits: Sequence[Mapping[str, Any]] | None = None
    further: Sequence[FurtherUsage] = ()


@dataclass(frozen=True, slots=True)
class Resets:
    """The window of now and the next resets; no window and no resets for what never resets."""

    spelling: str | None
    window: Window | None
    resets: list[datetime]


@dataclass(frozen=True, slots=True)
class Preview(Resets):
    """Those of a spelling, or of something; `limits` are those of its `budget_limits`, `models` by model.

    `armed_at` is the moment that windows of odd lengths are counted from.
    """

    armed_at: datetime | None
    limits: tuple[Resets, ...]
    models: Mapping[str, Resets]


class Calendars:
    def __init__(
        self,
        calendar: Calendar,
        key_reads: KeyReads,
        budgets: Budgets,
        teams: Teams,
        user_reads: UserReads,
        organizations: Organizations,
    ) -> None:
        self.installation = calendar
        self._key_reads = key_reads
        self._budgets = budgets
        self._teams = teams
        self._user_reads = user_reads
        self._organizations = organizations

    def preview(self, act: Act, sent: Mapping[str, Any], count: int) -> Preview:
        """The next `count` resets of the spelling that is sent, or of the one thing that is named instead.

        Changes nothing. Raises InvalidRequest, NotFound (for what may not be seen, too) and Forbidden.
        """
        named = [name for name in NAMES if sent.get(name) is not None]
        spells = [name for name in (*spellings.FIELDS, "armed_at") if sent.get(name) is not None]
        if len(named) + bool(spells) != 1 and (spells or named != MEMBER):
            raise InvalidRequest(
                f"Send a budget_duration, one of {', '.join(NAMES)}, or team_id and user_id of a member.",
                "budget_duration",
            )
        if named == MEMBER:
            read = self._of_member(act, *(sent[name] for name in MEMBER))
        elif named:
            read = self._readers[named[0]](act, sent[named[0]])
        else:
            with rules():
                spelling = budgets.spelling_of(sent, None)
            if spelling is None:
                raise InvalidRequest("armed_at needs a budget_duration.", "budget_duration")
            read = _Read(spelling, sent.get("armed_at") or act.at)
        resets = self._resets(read.spelling, read.armed_at, read.window, act.at, count)
        return Preview(
            resets.spelling,
            resets.window,
            resets.resets,
            armed_at=None if resets.window is None else read.armed_at,
            limits=tuple(self._of_limit(limit, act.at, count) for limit in budgets.windows_among(read.limits)),
            models={
                each.scope.sub: self._resets(
                    each.terms.spelling, each.spend.armed_at, each.spend.window, act.at, count
                )
                for each in read.further
                if each.is_of_model
            },
        )

    def _resets(
        self, spelling: str | None, armed_at: datetime | None, stored: Window | None, now: datetime, count: int
    ) -> Resets:
        window = self.installation.running(spelling, armed_at, now, stored)
        if spelling is None or armed_at is None or window is None:
            return Resets(spelling, None, [])
        later = self.installation.resets(spelling, armed_at, window.end, count - 1)
        return Resets(spelling, window, [window.end, *later])

    def _of_limit(self, limit: Mapping[str, Any], now: datetime, count: int) -> Resets:
        spelling, armed_at = limit["budget_duration"], budgets.armed_at(limit)
        window = self.installation.running(spelling, armed_at, now)
        if armed_at is None or window is None:
            return Resets(spelling, None, [])
        return Resets(spelling, window, [*self.installation.resets(spelling, armed_at, now, count)])

    @property
    def _readers(self) -> Mapping[str, Callable[[Act, str], _Read]]:
        return {
            "key": self._of_key,
            "budget_id": self._of_budget,
            "team_id": self._of_team,
            "user_id": self._of_user,
            "organization_id": self._of_organization,
        }

    def _of_key(self, act: Act, reference: str) -> _Read:
        view = self._key_reads.info(act, reference)
        spelling = _own_or_tier(view.columns["budget_duration"], view.tier)
        return _Read(spelling, view.spend.armed_at, view.spend.window, view.columns["budget_limits"], view.further)

    def _of_budget(self, act: Act, budget_id: str) -> _Read:
        """A tier is a template: windows are counted from its making, as everywhere where it is shown."""
        columns = self._budgets.settings(act, budget_id).columns
        return _Read(columns["budget_duration"], columns["created_at"])

    def _of_team(self, act: Act, team_id: str) -> _Read:
        view = self._teams.info(act, team_id, key_limit=1).team
        columns, spend = view.columns, view.spend
        return _Read(
            columns["budget_duration"], spend.armed_at, spend.window, columns["budget_limits"], view.further
        )

    def _of_member(self, act: Act, team_id: str, user_id: str) -> _Read:
        """Whoever may read the team reads its memberships."""
        members = self._teams.info(act, team_id, key_limit=1).team.members
        view = next((member for member in members if member.user_id == user_id), None)
        if view is None:
            raise not_in_team("user_id", user_id)
        return _Read(_own_or_tier(None, view.tier), view.spend.armed_at, view.spend.window)

    def _of_user(self, act: Act, user_id: str) -> _Read:
        view = self._user_reads.info(act, user_id).view
        if view is None:
            return _Read(None, None)
        spend = view.spend
        return _Read(view.columns["budget_duration"], spend.armed_at, spend.window, further=view.further)

    def _of_organization(self, act: Act, organization_id: str) -> _Read:
        view = self._organizations.info(act, organization_id).organization
        return _Read(_own_or_tier(None, view.tier), view.spend.armed_at, view.spend.window)


def _own_or_tier(own: str | None, tier: Mapping[str, Any] | None) -> str | None:
    """The spelling of something's window; a tier comes as it is shown, in parts."""
    if own is not None or tier is None:
        return own
    return spellings.spelled(*(tier[name] for name in spellings.FIELDS))
