"""What a request may set on an organization, and what is stored for it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.domain import money
from app.domain.access import Role
from app.domain.budgets import LIMIT_FIELDS, MODEL_RATES, check_model_rates
from app.domain.increases import TEMPORARY_FIELDS
from app.domain.metadata import folded_into
from app.domain.values import InvalidValue

# Kept in `metadata` under their own names, as LiteLLM keeps them.
FOLDED_FIELDS = frozenset(MODEL_RATES)

# Stored and echoed, but not acted upon by any check of this service.
UNENFORCED_FIELDS = frozenset(
    {"allowed_models", "budget_reset_at", "max_budget_in_organization", "model_max_budget", "tpd_limit"}
)

# Who somebody can be in an organization.
ROLES = (Role.ORG_ADMIN.value, Role.INTERNAL_USER.value, Role.INTERNAL_USER_VIEWER.value)

# What describes the organization's own tier where no `budget_id` names one.
TIER_FIELDS = LIMIT_FIELDS | TEMPORARY_FIELDS | {"budget_reset_at", "allowed_models"}


def columns_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the fields of a new organization into its columns; raises InvalidValue.

    The tier and the object permission are not columns of an organization and not dealt with.
    """
    check_one_budget(sent)
    return {"models": [], **changes_of(sent, {})}


def changes_of(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an organization that the sent fields change; raises InvalidValue.

    Sent metadata is merged into the `stored`, as in LiteLLM; null empties it.
    """
    columns: dict[str, Any] = {}
    if "organization_alias" in sent:
        columns["organization_alias"] = sent["organization_alias"]
        if not (columns["organization_alias"] or "").strip():
            raise InvalidValue("organization_alias must not be empty", "organization_alias")
    if "models" in sent:
        columns["models"] = sent["models"] or []
    check_model_rates(sent.get("metadata"))
    merged = dict(sent)
    if sent.get("metadata") is not None:
        merged["metadata"] = {**stored, **sent["metadata"]}
    return {**columns, "metadata": folded_into(merged, FOLDED_FIELDS, stored)}


def member_tier(max_budget: Decimal | None) -> dict[str, Any] | None:
    """The columns of a member's own tier, None where it needs none; raises InvalidValue as the wire names it."""
    if max_budget is None:
        return None
    return {"max_budget_nanos": money.nanos(max_budget, "max_budget_in_organization")}


def check_one_budget(sent: Mapping[str, Any]) -> None:
    """Refuse a named tier beside the limits of one of its own; raises InvalidValue."""
    inline = sorted(TIER_FIELDS & sent.keys())
    if sent.get("budget_id") and inline:
        raise InvalidValue(
            f"Send either budget_id or the fields of a budget of its own, not both: {', '.join(inline)}",
            "budget_id",
        )
