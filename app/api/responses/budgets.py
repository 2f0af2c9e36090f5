"""The bodies of the budget endpoints that are not simply the fields of a view."""

from typing import Any

from app.services.budget_views import BudgetView


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


_SETTINGS = (
    ("max_budget", "Float", "US dollars that may be spent within one window; beyond that calls are refused"),
    ("soft_budget", "Float", "US dollars from which on a warning is sent; no call is refused for it"),
    ("max_parallel_requests", "Integer", "Calls that may be under way at once"),
    ("tpm_limit", "Integer", "Tokens per minute"),
    ("rpm_limit", "Integer", "Requests per minute"),
    ("tpd_limit", "Integer", "Tokens per day"),
    ("budget_duration", "String", "After which time the spend starts at zero again, such as 1h, 7d or 30d"),
    ("model_max_budget", "Object", "Budgets and rates for single models"),
)
