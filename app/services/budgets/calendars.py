"""When a budget resets: of a spelling that somebody thinks of, or of something that has one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import budgets, spellings
from app.domain.windows import Calendar, Window
from app.errors import InvalidRequest
from app.services.access.refusals import rules
from app.services.audit.audit import Act
from app.services.budgets.budgets import Budgets
from app.services.keys.key_reads import KeyReads
from app.services.organizations.organizations import Organizations
from app.services.teams.teams import Teams
from app.services.users.user_reads import UserReads

# What can be asked for by name, and the field that names it.
NAMES = ("key", "budget_id", "team_id", "user_id", "organization_id")


# A spelling, since when it runs, in which window, and the several windows beside it.
_Read = tuple[str | None, datetime | None, Window | None, Sequence[Mapping[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class Resets:
    """The window of now and the next resets; no window and no resets for what never resets."""

    spelling: str | None
    window: Window | None
    resets: list[datetime]


@dataclass(frozen=True, slots=True)
class Preview(Resets):
    """Those of a spelling, or of something; `further` are those of its `budget_limits`.

    `armed_at` is the moment that windows of odd lengths are counted from.
    """

    armed_at: datetime | None
    further: tuple[Resets, ...]


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
        if len(named) + bool(spells) != 1:
            raise InvalidRequest(f"Send a budget_duration, or one of {', '.join(NAMES)}.", "budget_duration")
        limits = running = None
        if named:
            spelling, armed_at, running, limits = self._readers[named[0]](act, sent[named[0]])
        else:
            with rules():
                spelling = budgets.spelling_of(sent, None)
            if spelling is None:
                raise InvalidRequest("armed_at needs a budget_duration.", "budget_duration")
            armed_at = sent.get("armed_at") or act.at
        further = tuple(self._further(limit, act.at, count) for limit in limits or ())
        window = self.installation.running(spelling, armed_at, act.at, running)
        if spelling is None or armed_at is None or window is None:
            return Preview(spelling, None, [], None, further)
        resets = [window.end, *self.installation.resets(spelling, armed_at, window.end, count - 1)]
        return Preview(spelling, window, resets, armed_at, further)

    def _further(self, limit: Mapping[str, Any], now: datetime, count: int) -> Resets:
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
        return spelling, view.spend.armed_at, view.spend.window, view.columns["budget_limits"]

    def _of_budget(self, act: Act, budget_id: str) -> _Read:
        """A tier is a template: windows are counted from its making, as everywhere where it is shown."""
        columns = self._budgets.settings(act, budget_id).columns
        return columns["budget_duration"], columns["created_at"], None, None

    def _of_team(self, act: Act, team_id: str) -> _Read:
        view = self._teams.info(act, team_id, key_limit=1).team
        columns, spend = view.columns, view.spend
        return columns["budget_duration"], spend.armed_at, spend.window, columns["budget_limits"]

    def _of_user(self, act: Act, user_id: str) -> _Read:
        view = self._user_reads.info(act, user_id).view
        if view is None:
            return None, None, None, None
        return view.columns["budget_duration"], view.spend.armed_at, view.spend.window, None

    def _of_organization(self, act: Act, organization_id: str) -> _Read:
        view = self._organizations.info(act, organization_id).organization
        return _own_or_tier(None, view.tier), view.spend.armed_at, view.spend.window, None


def _own_or_tier(own: str | None, tier: Mapping[str, Any] | None) -> str | None:
    """The spelling of something's window; a tier comes as it is shown, in parts."""
    if own is not None or tier is None:
        return own
    return spellings.spelled(*(tier[name] for name in spellings.FIELDS))
