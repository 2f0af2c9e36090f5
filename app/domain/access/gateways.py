"""Which keys a gateway may ask about, and settle for."""

from collections.abc import Mapping
from typing import Any

from app.domain.access.callers import Caller, Gateway


def gateway_of(permissions: Mapping[str, Any]) -> Gateway | None:
    """The gateway that a key's `permissions` make of it: `gateway: true`, bound by `gateway_teams` and
    `gateway_organizations` where they list anything.

    What is no list of names binds to nothing at all, so that a mistake never opens more than was meant.
    """
    if permissions.get("gateway") is not True:
        return None
    return Gateway(_ids(permissions.get("gateway_teams")), _ids(permissions.get("gateway_organizations")))


def may_decide(caller: Caller, team_id: str | None, organization_id: str | None) -> bool:
    """Whether a key of this team and organization exists as far as the gateway is concerned."""
    gateway = caller.gateway
    if caller.is_admin:
        return True
    if gateway is None:
        return False
    if not gateway.team_ids and not gateway.organization_ids:
        return True
    return team_id in gateway.team_ids or organization_id in gateway.organization_ids


def _ids(listed: Any) -> frozenset[str]:
    if listed is None or listed == []:
        return frozenset()
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        return frozenset({""})
    return frozenset(listed)
