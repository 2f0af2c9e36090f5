"""Every list of the service: its orders and its filters, as they are asked for of a population."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.scale import populations


@dataclass(frozen=True)
class List:
    """One list: its path, its orders, its filters and how its pages are asked for."""

    path: str
    orders: tuple[str, ...] = ()
    filters: tuple[dict[str, Any], ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Every order in both directions, and every filter."""
        yield self.asked
        for order in self.orders:
            for direction in ("asc", "desc"):
                yield {**self.asked, "sort_by": order, "sort_order": direction}
        for narrowed in self.filters:
            yield {**self.asked, **narrowed}


LISTS = (
    List(
        "/key/list",
        (
            "spend", "max_budget", "created_at", "updated_at", "token", "key_alias", "expires", "last_active",
            "budget_reset_at", "total_spend", "tpm_limit", "rpm_limit", "user_id",
        ),
        (
            {"user_id": populations.USER},
            {"team_id": populations.TEAM},
            {"organization_id": populations.ORGANIZATION},
            {"key_alias": "Key 0007919"},
            {"key_hash": "f" * 57 + "0007919"},
            {"user_id": populations.USER, "include_created_by_keys": True},
        ),
        {"size": 100, "return_full_object": True},
    ),
    List("/key/aliases", asked={"size": 100}),
    List(
        "/team/list",
        filters=(
            {"user_id": populations.USER},
            {"organization_id": populations.ORGANIZATION},
            {"organization_id": "default_organization"},
        ),
    ),
    List(
        "/v2/team/list",
        ("team_id", "team_alias", "created_at", "updated_at", "max_budget", "spend", "total_spend"),
        (
            {"user_id": populations.USER},
            {"team_id": populations.TEAM},
            {"organization_id": populations.ORGANIZATION},
            {"organization_id": "default_organization"},
        ),
        {"page_size": 100},
    ),
    List(
        "/user/list",
        (
            "user_id", "user_email", "created_at", "spend", "user_alias", "user_role", "max_budget", "updated_at",
            "sso_user_id",
        ),
        (
            {"role": "internal_user_viewer"},
            {"user_ids": f"{populations.USER},user-0000007"},
            {"sso_user_ids": "sso-1,sso-2"},
            {"team": populations.TEAM},
            {"organization_ids": populations.ORGANIZATION},
        ),
        {"page_size": 100},
    ),
    List("/budget/list", asked={"page_size": 100}),
    List("/organization/list", filters=({"org_id": populations.ORGANIZATION},)),
    List(
        "/audit",
        filters=(
            {"sort_order": "asc"},
            {"entity": "team"},
            {"entity_id": "key-0000001"},
            {"actor_user_id": populations.USER},
            {"actor_key_id": "key-0000001"},
            {"changed_by": populations.USER},
            {"action": "delete"},
            {"request_id": "request-0000007"},
            {"start_date": "2026-11-18T20:00:00Z", "end_date": "2026-11-18T21:00:00Z"},
            {"entity": "key", "end_date": "2026-11-18T21:00:00Z"},
        ),
        asked={"page_size": 100},
    ),
    List(
        "/events",
        filters=(
            {"sort_order": "asc"},
            {"kind": "key_updated"},
            {"entity": "team"},
            {"entity_id": "key-0000001"},
            {"state": "waiting"},
            {"state": "parked"},
            {"state": "delivered"},
            {"start_date": "2026-11-18T20:00:00Z", "end_date": "2026-11-18T21:00:00Z"},
        ),
        asked={"page_size": 100},
    ),
)  # fmt: skip
