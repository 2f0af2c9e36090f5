"""What a request may set on an organization, and what is stored for it."""

from collections.abc import Mapping
from typing import Any

from app.domain.budgets import LIMIT_FIELDS
from app.domain.values import InvalidValue

# Kept in `metadata` under their own names, as LiteLLM keeps them.
FOLDED_FIELDS = frozenset({"model_rpm_limit", "model_tpm_limit"})

# What describes the organization's own tier where no `budget_id` names one.
TIER_FIELDS = LIMIT_FIELDS | {"budget_reset_at", "allowed_models", "temp_budget_increase", "temp_budget_expiry"}


def columns_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the fields of a new organization into its columns; raises InvalidValue.

    The tier and the object permission are not columns of an organization and not dealt with.
    """
    if not sent["organization_alias"].strip():
        raise InvalidValue("organization_alias must not be empty", "organization_alias")
    inline = sorted(TIER_FIELDS & sent.keys())
    if sent.get("budget_id") and inline:
        raise InvalidValue(
            f"Send either budget_id or the fields of a budget of its own, not both: {', '.join(inline)}",
            "budget_id",
        )
    folded = {field: sent[field] for field in FOLDED_FIELDS & sent.keys()}
    return {
        "organization_alias": sent["organization_alias"],
        "models": sent.get("models", []),
        "metadata": {**sent.get("metadata", {}), **folded},
    }
