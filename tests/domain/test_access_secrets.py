"""Whose keys a caller may rotate: only those that may no more than the key which asks for it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.access import Caller, Gateway, Kind, Owner, Role, may_learn_secret
from tests.clocks import START

ADMIN = Caller(Role.PROXY_ADMIN, "admin", has_owner=True)
USER = Caller(Role.INTERNAL_USER, "ann", key_id="k-ann", has_owner=True)
CAPPED = replace(USER, models=("a", "b"), max_budget_nanos=10, tpm_limit=3, rpm_limit=2)
LEAVING = replace(USER, expires_at=START, max_parallel_requests=2)
BOUND = replace(USER, allowed_routes=("/key/regenerate", "llm_api_routes"))
ORG_ADMIN = replace(USER, organization_admin_of=frozenset({"org"}))
GATEWAY = replace(USER, gateway=Gateway(frozenset({"t"})))

OPEN: dict[str, Any] = {
    "key_id": "k",
    "user_id": None,
    "models": [],
    "max_budget_nanos": None,
    "tpm_limit": None,
    "rpm_limit": None,
    "max_parallel_requests": None,
    "expires_at": None,
    "allowed_routes": [],
    "permissions": {},
}
NARROW = {**OPEN, "models": ["a"], "max_budget_nanos": 10, "tpm_limit": 3, "rpm_limit": 2}


@pytest.mark.parametrize(
    ("caller", "key", "param"),
    [
        (USER, OPEN, None),
        (USER, NARROW, None),
        (CAPPED, NARROW, None),
        (CAPPED, {**NARROW, "models": ["a", "c"]}, "models"),
        (CAPPED, {**NARROW, "models": []}, "models"),
        (CAPPED, {**NARROW, "max_budget_nanos": 11}, "max_budget"),
        (CAPPED, {**NARROW, "max_budget_nanos": None}, "max_budget"),
        (CAPPED, {**NARROW, "tpm_limit": 4}, "tpm_limit"),
        (CAPPED, {**NARROW, "rpm_limit": None}, "rpm_limit"),
        (LEAVING, {**OPEN, "expires_at": START, "max_parallel_requests": 2}, None),
        (LEAVING, {**OPEN, "expires_at": START, "max_parallel_requests": 3}, "max_parallel_requests"),
        (LEAVING, {**OPEN, "expires_at": START + timedelta(1), "max_parallel_requests": 2}, "duration"),
        (LEAVING, {**OPEN, "expires_at": None, "max_parallel_requests": 2}, "duration"),
        (BOUND, OPEN, "allowed_routes"),
        (BOUND, {**OPEN, "allowed_routes": ["llm_api_routes"]}, None),
        (BOUND, {**OPEN, "allowed_routes": ["llm_api_routes", "info_routes"]}, "allowed_routes"),
        (BOUND, {**OPEN, "allowed_routes": ["*"]}, "allowed_routes"),
        (replace(USER, allowed_routes=("/key",)), {**OPEN, "allowed_routes": ["/key/info"]}, None),
        (replace(USER, allowed_routes=("/*",)), OPEN, None),
        # What the caller's own role reaches is no more; what an administrator has listed beyond it is.
        (USER, {**OPEN, "allowed_routes": ["/key/generate", "llm_api_routes"]}, None),
        (USER, {**OPEN, "allowed_routes": ["management_routes"]}, "allowed_routes"),
        (USER, {**OPEN, "allowed_routes": ["/budget/new"]}, "allowed_routes"),
        (ORG_ADMIN, {**OPEN, "allowed_routes": ["/team/block"]}, None),
        (ORG_ADMIN, {**OPEN, "allowed_routes": ["/user/new"]}, "allowed_routes"),
        (ORG_ADMIN, {**OPEN, "allowed_routes": ["/user/new"], "user_id": "ann"}, None),
        (USER, {**OPEN, "permissions": {"gateway": True}}, "permissions"),
        (GATEWAY, {**OPEN, "permissions": {"gateway": True}}, "permissions"),
        (GATEWAY, {**OPEN, "permissions": {"gateway": True, "gateway_teams": ["t"]}}, None),
        (USER, {**OPEN, "permissions": {"anything": True}}, None),
    ],
)
def test_the_secret_of_a_key_that_may_more_is_not_told(caller: Caller, key: dict[str, Any], param: str | None):
    refusal = may_learn_secret(caller, key, None)

    assert (refusal and refusal.param) == param
    assert refusal is None or refusal.kind is Kind.FORBIDDEN
    assert may_learn_secret(ADMIN, key, None) is None
    assert may_learn_secret(replace(caller, key_id="k"), key, None) is None


@pytest.mark.parametrize(
    ("caller", "owner", "allowed"),
    [
        (USER, Owner(Role.INTERNAL_USER), True),
        (USER, Owner(Role.PROXY_ADMIN), False),
        (USER, Owner(Role.PROXY_ADMIN_VIEWER), False),
        (USER, Owner(Role.INTERNAL_USER, frozenset({"org"})), False),
        (ORG_ADMIN, Owner(Role.INTERNAL_USER, frozenset({"org"})), True),
        (ORG_ADMIN, Owner(Role.INTERNAL_USER, frozenset({"org", "other"})), False),
        (ORG_ADMIN, Owner(Role.INTERNAL_USER, leads_elsewhere=True), False),
        (ADMIN, Owner(Role.PROXY_ADMIN), True),
    ],
)
def test_the_secret_of_one_who_stands_higher_is_not_told(caller: Caller, owner: Owner, allowed: bool):
    refusal = may_learn_secret(caller, {**OPEN, "user_id": "bob"}, owner)

    assert (refusal is None) is allowed
    assert refusal is None or refusal.param == "user_id"
