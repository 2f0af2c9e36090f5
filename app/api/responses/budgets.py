"""The bodies of the budget endpoints that are not simply the fields of a view."""

from typing import Any

from app.clock import iso
from app.domain import spellings
from app.domain.windows import Calendar
from app.services.budgets.budget_views import BudgetView
from app.services.budgets.calendars import Preview, Resets


def settings(view: BudgetView) -> list[dict[str, Any]]:
    """Each setting with what it is at present; null is the default of every one."""
    fields = view.fields()
    return [
        {
            "field_name": name,
            "field_type": kind,
            "field_description": description,
            "field_value": fields[name],
            "stored_in_db": True,
            "field_default_value": None,
        }
        for name, kind, description in _SETTINGS
    ]


def calendar(found: Preview, installation: Calendar) -> dict[str, Any]:
    """The resets, with the zone and start of day that they follow: the budget's own, else the installation's.

    So does whether what is spent beyond the cap is carried on.
    """
    return {
        **_resets(found, installation),
        "armed_at": iso(found.armed_at),
        "budget_limits": [_resets(each, installation) for each in found.limits],
        "model_max_budget": {model: _resets(each, installation) for model, each in found.models.items()},
    }


def _resets(found: Resets, installation: Calendar) -> dict[str, Any]:
    own = spellings.shown(found.spelling)
    rollover = own["budget_rollover"]
    window = found.window
    return {
        "budget_duration": own["budget_duration"],
        "budget_start_time": own["budget_start_time"] or installation.day_start.isoformat("auto"),
        "budget_timezone": own["budget_timezone"] or installation.zone.key,
        "budget_rollover": installation.rollover if rollover is None else rollover,
        "window": None if window is None else {"start": iso(window.start), "end": iso(window.end)},
        "resets": [iso(at) for at in found.resets],
    }


_SETTINGS = (
    ("max_budget", "Float", "US dollars that may be spent within one window; beyond that calls are refused"),
    ("soft_budget", "Float", "US dollars from which on a warning is sent; no call is refused for it"),
    ("max_parallel_requests", "Integer", "Calls that may be under way at once"),
    ("tpm_limit", "Integer", "Tokens per minute"),
    ("rpm_limit", "Integer", "Requests per minute"),
    ("tpd_limit", "Integer", "Tokens per day"),
    ("budget_duration", "String", "After which time the spend starts at zero again, such as 1h, 7d or 30d"),
    ("budget_start_time", "String", "The start of its days, where that is not the installation's"),
    ("budget_timezone", "String", "The zone of its calendar, where that is not the installation's"),
    (
        "budget_rollover",
        "Boolean",
        "Whether what is spent beyond the budget is the first spend of the next window",
    ),
    ("model_max_budget", "Object", "Budgets and rates for single models"),
)
