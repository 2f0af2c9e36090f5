"""What a budget may say: its caps, its windows and its rates, read in one way for tiers, keys, teams and users."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from datetime import datetime
from typing import Any, TypeGuard

from app.domain import money, spellings, windows
from app.domain.durations import InvalidDuration
from app.domain.increases import TEMPORARY_FIELDS
from app.domain.instants import iso, stored_instant
from app.domain.values import InvalidValue
from app.domain.windows import Calendar

RATE_FIELDS = frozenset({"max_parallel_requests", "tpm_limit", "rpm_limit", "tpd_limit"})
MONEY_FIELDS = frozenset({"max_budget", "soft_budget"})
# Stored and echoed, but not acted upon by any check of this service.
UNENFORCED_FIELDS = frozenset({"budget_reset_at", "tpd_limit"})
LIMIT_FIELDS = RATE_FIELDS | MONEY_FIELDS | {*spellings.FIELDS, "model_max_budget"}

# Of one holder: each that counts in a call is an account which the call is decided by. What is stored may be more.
MOST_WINDOWS = 20
MOST_MODELS = 500

# A team's and an organization's models may be these instead of names of models.
ALL_MODELS = frozenset({"*", "all-proxy-models"})

# The names of what a budget for a model says, the first that says something decides.
MODEL_LIMIT_NAMES = ("budget_limit", "max_budget")
MODEL_PERIOD_NAMES = ("time_period", "budget_duration")
# Metadata entries that hold a rate for each of some models.
MODEL_RATES = ("model_rpm_limit", "model_tpm_limit")

_LIMITING = (
    *sorted(RATE_FIELDS),
    "max_budget_nanos",
    "soft_budget_nanos",
    "budget_duration",
    "model_max_budget",
    "allowed_models",
    "temp_budget_increase_nanos",
)


def limits_of(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the sent limits into the columns that tiers, keys, teams and users share; raises InvalidValue.

    What was not sent is left out; null clears. `stored` holds the present columns, nothing where there are none.
    """
    columns = {field: sent[field] for field in RATE_FIELDS if field in sent}
    for field in MONEY_FIELDS & sent.keys():
        columns[f"{field}_nanos"] = None if sent[field] is None else money.nanos(sent[field], field)
    if "model_max_budget" in sent:
        columns["model_max_budget"] = sent["model_max_budget"] or {}
        check_model_budgets(columns["model_max_budget"])
    if not sent.keys().isdisjoint(spellings.FIELDS):
        columns["budget_duration"] = spelling_of(sent, stored.get("budget_duration"))
    return columns


def spelling_of(sent: Mapping[str, Any], stored: str | None) -> str | None:
    """The spelling of the window that the sent fields leave behind; raises InvalidValue naming a wrong one."""
    for name, check in (("budget_timezone", spellings.zone_of), ("budget_start_time", spellings.start_of)):
        if sent.get(name):
            _check_part(sent[name], name, check)
    if sent.get("budget_duration") is not None:
        check_window(sent["budget_duration"], "budget_duration")
    try:
        return spellings.changed(sent, stored)
    except InvalidDuration as error:
        raise InvalidValue(str(error), "budget_duration") from error


def _check_part(text: str, param: str, check: Callable[[str], object]) -> None:
    try:
        check(text)
    except InvalidDuration as error:
        raise InvalidValue(f"Invalid {param} '{text[:64]}'. {error}", param) from error


def tier_of(sent: Mapping[str, Any], calendar: Calendar, now: datetime) -> dict[str, Any]:
    """The columns of a new tier; raises InvalidValue.

    Where no reset is given, that of a window armed now is the tier's.
    """
    return {"allowed_models": [], "budget_reset_at": None, **tier_changes(sent, {}, calendar, now)}


def tier_changes(
    sent: Mapping[str, Any], stored: Mapping[str, Any], calendar: Calendar, now: datetime
) -> dict[str, Any]:
    """The columns of a stored tier that the sent fields change; raises InvalidValue.

    Another duration brings its own next reset, unless one is sent; the same one again leaves it where it is.
    """
    columns = limits_of(sent, stored)
    if "allowed_models" in sent:
        columns["allowed_models"] = sent["allowed_models"] or []
    return {**columns, **_reset(sent, columns, stored, calendar, now), **_increase(sent, now)}


def _reset(
    sent: Mapping[str, Any],
    columns: Mapping[str, Any],
    stored: Mapping[str, Any],
    calendar: Calendar,
    now: datetime,
) -> dict[str, Any]:
    if sent.get("budget_reset_at") is not None:
        return {"budget_reset_at": sent["budget_reset_at"]}
    before = stored.get("budget_duration")
    duration = columns.get("budget_duration", before)
    if duration == before and "budget_reset_at" not in sent:
        return {}
    return {"budget_reset_at": None if duration is None else calendar.window(duration, now, now).end}


def limits_nothing(tier: Mapping[str, Any]) -> bool:
    """Whether a tier with these columns says nothing at all; zero is a limit."""
    return all(tier.get(column) in (None, [], {}) for column in _LIMITING)


def present_reset(row: Mapping[str, Any], calendar: Calendar, now: datetime) -> datetime | None:
    """When a tier resets next: the stored moment, or, once that has passed, the end of the window of `now`.

    None where that cannot be computed, which must not stop whoever reads many tiers.
    """
    stored: datetime | None = row["budget_reset_at"]
    if stored is None or stored > now or row["budget_duration"] is None:
        return stored
    try:
        return calendar.window(row["budget_duration"], row["created_at"], now).end
    except InvalidDuration:
        return None


def check_soft_below_hard(columns: Mapping[str, Any]) -> None:
    """Refuse a warning that would come no sooner than the refusal; raises InvalidValue."""
    soft, hard = columns.get("soft_budget_nanos"), columns.get("max_budget_nanos")
    if soft is not None and hard is not None and soft >= hard:
        raise InvalidValue(
            f"soft_budget ({money.dollars(soft)}) must be strictly lower than max_budget ({money.dollars(hard)})",
            "soft_budget",
        )


def check_within(columns: Mapping[str, Any], models: Iterable[str], caps: Mapping[str, Any], whose: str) -> None:
    """Refuse limits that go beyond `models` and `caps`, which are those of `whose`; raises InvalidValue."""
    for column, field in (("max_budget_nanos", "max_budget"), ("tpm_limit",) * 2, ("rpm_limit",) * 2):
        wanted, cap = columns.get(column), caps[column]
        if wanted is not None and cap is not None and wanted > cap:
            raise InvalidValue(f"{field} is above that of {whose}.", field)
    allowed = set(models)
    if allowed and not allowed & ALL_MODELS and not set(columns.get("models", ())) <= allowed:
        raise InvalidValue(f"models must be among those of {whose}.", "models")


def check_window(spelling: str, param: str) -> None:
    """Refuse a window that cannot be computed; raises InvalidValue naming `param`."""
    try:
        windows.check(spelling)
    except InvalidDuration as error:
        raise InvalidValue(
            f"Invalid {param} '{spelling[:64]}'. Use a format like '1h', '24h', '7d', or '30d'. {error}", param
        ) from error


def budget_limits(
    limits: Iterable[Mapping[str, Any]],
    stored: Sequence[Mapping[str, Any]],
    calendar: Calendar,
    now: datetime,
) -> list[dict[str, Any]]:
    """Several windows on one thing, as they are stored; those among `stored` keep running. Raises InvalidValue.

    A window is told from the others by its whole spelling: one length may stand in several zones.
    """
    wanted = list(limits)
    _check_number(wanted, MOST_WINDOWS, "budget_limits")
    running = {limit["budget_duration"]: limit for limit in windows_among(stored)}
    found = [_budget_limit(limit, running, calendar, now) for limit in wanted]
    if len({limit["budget_duration"] for limit in found}) < len(found):
        raise InvalidValue("Every one of budget_limits needs a window of its own", "budget_limits")
    return found


def _budget_limit(
    limit: Mapping[str, Any], running: Mapping[str, Any], calendar: Calendar, now: datetime
) -> dict[str, Any]:
    try:
        spelling = spelling_of(limit, None)
    except InvalidValue as error:
        raise InvalidValue(f"budget_limits: {error}", "budget_limits") from error
    if spelling is None or limit["max_budget"] is None:
        raise InvalidValue("Every one of budget_limits needs a budget_duration and a max_budget", "budget_limits")
    cap = money.dollars(money.nanos(limit["max_budget"], "budget_limits"))
    if spelling in running:
        return {**running[spelling], "max_budget": cap}
    return armed_limit({"budget_duration": spelling, "max_budget": cap}, calendar, now)


def armed_limit(limit: Mapping[str, Any], calendar: Calendar, now: datetime) -> dict[str, Any]:
    """One of several windows, armed at this instant; raises InvalidDuration."""
    window = calendar.window(limit["budget_duration"], now, now)
    return {**limit, "armed_at": iso(now), "reset_at": iso(window.end)}


def running_limits(limits: Any, calendar: Calendar, now: datetime) -> Any:
    """Several windows as they are at `now`: the stored ends are those of the windows in which they were armed.

    What cannot be read stays as it is stored.
    """
    return [_running_limit(limit, calendar, now) for limit in limits] if isinstance(limits, list) else limits


def says_length(limit: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether one of several windows is one at all; what is stored otherwise than by the API may be anything."""
    return isinstance(limit, Mapping) and isinstance(limit.get("budget_duration"), str)


def windows_among(limits: Any) -> list[Mapping[str, Any]]:
    """Those of what is stored as `budget_limits` that are windows."""
    return [limit for limit in limits if says_length(limit)] if isinstance(limits, list | tuple) else []


def can_run(limit: Mapping[str, Any], calendar: Calendar, now: datetime) -> bool:
    """Whether one of several windows can be computed."""
    return says_length(limit) and calendar.running(limit["budget_duration"], now, now) is not None


def _running_limit(limit: Any, calendar: Calendar, now: datetime) -> Any:
    if not says_length(limit):
        return limit
    window = calendar.running(limit["budget_duration"], armed_at(limit), now)
    return {**limit, "reset_at": None if window is None else iso(window.end)}


def armed_at(limit: Mapping[str, Any]) -> datetime | None:
    """When one of several windows was armed; None where nothing is stored of that, or nothing that can be read."""
    # Without a record of its arming, the stored end is still a boundary of the right windows.
    return stored_instant(limit.get("armed_at") or limit.get("reset_at"))


def shown_limits(limits: Any) -> list[dict[str, Any]] | None:
    """Several windows as they were sent, each with its end; what they do not say is left out.

    One that says no length is shown as it is stored, unless it is no object at all.
    """
    if not isinstance(limits, list):
        return None
    return [_shown_limit(limit) for limit in limits if isinstance(limit, Mapping)]


def _shown_limit(limit: Mapping[str, Any]) -> dict[str, Any]:
    if not says_length(limit):
        return dict(limit)
    said = {name: part for name, part in spellings.shown(limit["budget_duration"]).items() if part is not None}
    return {name: value for name, value in limit.items() if name != "armed_at"} | said


def check_model_budgets(budgets: Mapping[str, Any]) -> None:
    """Refuse a per-model budget that could not be enforced; what passes is stored as it was sent."""
    param = "model_max_budget"
    _check_number(budgets, MOST_MODELS, param)
    for model, budget in budgets.items():
        if not isinstance(budget, Mapping):
            raise InvalidValue(f"{param}: the budget of '{model}' must be an object", param)
        for limit in (budget[name] for name in MODEL_LIMIT_NAMES if budget.get(name) is not None):
            money.nanos(money.decimal(limit, param), param)
        for period in (budget[name] for name in MODEL_PERIOD_NAMES if budget.get(name) is not None):
            _check_period(period, model)
        for name in ("tpm_limit", "rpm_limit"):
            if budget.get(name) is not None:
                _check_rate(budget[name], f"{param}: {name} of '{model}'", param)


def check_model_rates(metadata: Mapping[str, Any] | None) -> None:
    """Refuse sent metadata with rates per model that would limit nothing, or everything; raises InvalidValue."""
    for name in MODEL_RATES:
        rates = (metadata or {}).get(name)
        if rates is None:
            continue
        if not isinstance(rates, Mapping):
            raise InvalidValue(f"metadata: {name} must be an object", "metadata")
        for model, rate in rates.items():
            _check_rate(rate, f"metadata: {name} of '{model}'", "metadata")


def _check_rate(rate: object, what: str, param: str) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 0:
        raise InvalidValue(f"{what} must be a whole number from 0", param)


def _check_number(entries: Sized, most: int, param: str) -> None:
    if len(entries) > most:
        raise InvalidValue(f"{param} may have at most {most} entries, not {len(entries)}", param)


def _check_period(period: object, model: str) -> None:
    if not isinstance(period, str):
        raise InvalidValue(f"model_max_budget: the time_period of '{model}' must be text", "model_max_budget")
    check_window(period, "model_max_budget")


def increase_until(sent: Mapping[str, Any], now: datetime) -> tuple[int, datetime] | None:
    """The temporary increase that a request asks for, in nano-dollars, and its end; raises InvalidValue."""
    amount, until = sent.get("temp_budget_increase"), sent.get("temp_budget_expiry")
    if amount is None or until is None:
        return None
    increase = money.nanos(amount, "temp_budget_increase")
    if increase == 0:
        raise InvalidValue("temp_budget_increase must be above 0", "temp_budget_increase")
    if until <= now:
        raise InvalidValue("temp_budget_expiry must be in the future", "temp_budget_expiry")
    return increase, until


def _increase(sent: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if not TEMPORARY_FIELDS & sent.keys():
        return {}
    # Half an increase is none: the null of either takes off both.
    increase, until = increase_until(sent, now) or (None, None)
    return {"temp_budget_increase_nanos": increase, "temp_budget_expiry": until}
