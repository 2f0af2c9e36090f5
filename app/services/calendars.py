"""When a budget resets: of a spelling that somebody thinks of, or of something that has one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import budgets, spellings
from app.domain.windows import Calendar, Window
from app.errors import InvalidRequest
from app.services.audit import Act
from app.services.budgets import Budgets
from app.services.key_reads import KeyReads
from app.services.organizations import Organizations
from app.services.refusals import rules
from app.services.teams import Teams
from app.services.user_reads import UserReads

# What can be asked for by name, and the field that names it.
NAMES = ("key", "budget_id", "team_id", "user_id", "organization_id")


@dataclass(frozen=True, slots=True)
class Preview:
    """The window of now and the next resets; no window and no resets for what never resets.

    `armed_at` is the moment that windows of odd lengths are counted from.
    """

    spelling: str | None
    armed_at: datetime | None
    window: Window | None
    resets: list[datetime]


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
        if named:
            spelling, armed_at = self._readers[named[0]](act, sent[named[0]])
        else:
            with rules():
                spelling = budgets.spelling_of(sent, None)
            if spelling is None:
                raise InvalidRequest("armed_at needs a budget_duration.", "budget_duration")
            armed_at = sent.get("armed_at") or act.at
        window = self.installation.running(spelling, armed_at, act.at)
        if spelling is None or armed_at is None or window is None:
            return Preview(spelling, None, None, [])
        return Preview(spelling, armed_at, window, [*self.installation.resets(spelling, armed_at, act.at, count)])

    @property
    def _readers(self) -> Mapping[str, Callable[[Act, str], tuple[str | None, datetime | None]]]:
        return {
            "key": self._of_key,
            "budget_id": self._of_budget,
            "team_id": self._of_team,
            "user_id": self._of_user,
            "organization_id": self._of_organization,
        }

    def _of_key(self, act: Act, reference: str) -> tuple[str | None, datetime | None]:
        view = self._key_reads.info(act, reference)
        return _own_or_tier(view.columns["budget_duration"], view.tier), view.spend.armed_at

    def _of_budget(self, act: Act, budget_id: str) -> tuple[str | None, datetime | None]:
        """A tier is a template: windows are counted from its making, as everywhere where it is shown."""
        columns = self._budgets.settings(act, budget_id).columns
        return columns["budget_duration"], columns["created_at"]

    def _of_team(self, act: Act, team_id: str) -> tuple[str | None, datetime | None]:
        view = self._teams.info(act, team_id, key_limit=1).team
        return view.columns["budget_duration"], view.spend.armed_at

    def _of_user(self, act: Act, user_id: str) -> tuple[str | None, datetime | None]:
        view = self._user_reads.info(act, user_id).view
        return (None, None) if view is None else (view.columns["budget_duration"], view.spend.armed_at)

    def _of_organization(self, act: Act, organization_id: str) -> tuple[str | None, datetime | None]:
        view = self._organizations.info(act, organization_id).organization
        return _own_or_tier(None, view.tier), view.spend.armed_at


def _own_or_tier(own: str | None, tier: Mapping[str, Any] | None) -> str | None:
    """The spelling of something's window; a tier comes as it is shown, in parts."""
    if own is not None or tier is None:
        return own
    return spellings.spelled(*(tier[name] for name in spellings.FIELDS))
