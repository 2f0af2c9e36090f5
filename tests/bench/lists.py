"""Every list of the service: its orders and its filters, as they are asked for of a population."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.clock import iso
from tests.bench import populations
from tests.clocks import START


@dataclass(frozen=True)
class List:
    """One list: its path, its orders, its filters and how its pages are asked for."""

    path: str
    orders: tuple[str, ...] = ()
    filters: tuple[dict[str, Any], ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    # Filters whose pages are longer over a larger population, up to a bound.
    growing: tuple[dict[str, Any], ...] = ()

    def requests(self) -> Iterator[dict[str, Any]]:
        """Every order in both directions, and every filter; of each, populations of any size have alike pages."""
        yield self.asked
        for order in self.orders:
            for direction in ("asc", "desc"):
                yield {**self.asked, "sort_by": order, "sort_order": direction}
        for narrowed in self.filters:
            yield {**self.asked, **narrowed}


def _after(minutes: int) -> str | None:
    """A while after the first row: still among the first thousand."""
    return iso(START + timedelta(minutes=minutes))


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
            {"key_alias": f"Key {populations.STREWN}"},
            {"key_hash": "f" * 57 + populations.STREWN},
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
            {"sso_user_ids": "sso-0000001,sso-0000002"},
            {"team": populations.TEAM},
            {"team": populations.SMALL_TEAM},
            {"team": populations.TEAM, "sort_by": "spend"},
            {"team": populations.SMALL_TEAM, "sort_by": "spend"},
            {"organization_ids": populations.ORGANIZATION},
            {"organization_ids": populations.SMALL_ORGANIZATION},
        ),
        {"page_size": 100},
    ),
    List("/budget/list", asked={"page_size": 100}),
    List(
        "/organization/list",
        filters=({"org_id": populations.SMALL_ORGANIZATION},),
        # It shows a thousand members and teams, where there are as many.
        growing=({"org_id": populations.ORGANIZATION},),
    ),
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
            {"start_date": _after(5), "end_date": _after(15)},
            {"entity": "key", "end_date": _after(15)},
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
            {"state": "unaddressed"},
            {"state": "waiting", "sort_order": "asc"},
            {"state": "parked", "sort_order": "asc"},
            {"state": "waiting", "start_date": _after(5), "end_date": _after(15)},
            {"state": "parked", "entity": "team"},
            {"start_date": _after(5), "end_date": _after(15)},
        ),
        asked={"page_size": 100},
    ),
)  # fmt: skip
