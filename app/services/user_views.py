"""A user as the rest of the service sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.clock import iso
from app.domain.money import dollars


@dataclass(frozen=True, slots=True)
class UserView:
    user_id: str
    columns: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON; never a password."""
        columns = self.columns
        cap = columns["max_budget_nanos"]
        return {
            **{name: columns[name] for name in _PLAIN},
            "max_budget": None if cap is None else dollars(cap),
            "created_at": iso(columns["created_at"]),
            "updated_at": iso(columns["updated_at"]),
        }


_PLAIN = (
    "user_id",
    "user_email",
    "user_alias",
    "user_role",
    "sso_user_id",
    "models",
    "metadata",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "budget_duration",
    "model_max_budget",
    "allowed_cache_controls",
    "policies",
    "object_permission_id",
)


def user_view(row: Mapping[Any, Any]) -> UserView:
    return UserView(row["user_id"], dict(row))
