"""The texts of refusals that limits give, as LiteLLM's clients know them."""

import re
from datetime import timedelta

import pytest

from app.domain import refusals
from app.domain.refusals import Code
from tests.domain.snapshots import NOW, snapshot_of

TOKEN = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
SNAPSHOT = snapshot_of(key_alias="ci", team={"organization_id": "o1"}, user={})


@pytest.mark.parametrize(
    ("kind", "sub", "message"),
    [
        ("key", "", "Budget has been exceeded! Key=ci (sk-...abcd) Current cost: 10.5, Max budget: 10.0"),
        ("key_model", "gpt-4o", f"LiteLLM Virtual Key: {TOKEN}, key_alias: ci, exceeded budget for model=gpt-4o"),
        ("key_window", "1d", "ExceededBudget: Key over 1d budget. Spend=$10.5, Limit=$10.0"),
        ("team", "", "Budget has been exceeded! Team=t1 Current cost: 10.5, Max budget: 10.0"),
        ("team_model", "gpt-4o", "LiteLLM Team: t1, exceeded budget for model=gpt-4o"),
        ("team_window", "1d", "ExceededBudget: Team=t1 over 1d budget. Spend=$10.5, Limit=$10.0"),
        ("member", "", "Budget has been exceeded! TeamMember=u1:t1 Current cost: 10.5, Max budget: 10.0"),
        ("user_model", "gpt-4o", "LiteLLM User: u1, exceeded budget for model=gpt-4o"),
        ("user", "", "ExceededBudget: User=u1 over budget. Spend=10.5, Budget=10.0"),
        ("organization", "", "Budget has been exceeded! Organization=o1 Current cost: 10.5, Max budget: 10.0"),
    ],
)
@pytest.mark.parametrize("status", [422, 429])
def test_a_budget_refuses_in_the_words_of_its_scope(kind, sub, message, status):
    refused = refusals.budget_refused(
        kind, SNAPSHOT, spent_nanos=10_500_000_000, cap_nanos=10_000_000_000, status=status, sub=sub
    )
    assert (refused.code, refused.status, refused.type) == (Code.BUDGET_EXCEEDED, status, "budget_exceeded")
    assert (refused.message, refused.param, refused.detail, refused.headers) == (message, None, None, ())


def test_a_key_without_an_alias_is_called_key():
    refused = refusals.budget_refused("key", snapshot_of(), spent_nanos=1, cap_nanos=0, status=422)
    assert refused.message == (
        "Budget has been exceeded! Key=key (sk-...abcd) Current cost: 1e-09, Max budget: 0.0"
    )


def test_the_organization_of_a_personal_key_is_its_own():
    refused = refusals.budget_refused(
        "organization", snapshot_of(organization_id="o2"), spent_nanos=0, cap_nanos=0, status=422
    )
    assert "Organization=o2 " in refused.message


@pytest.mark.parametrize(
    ("kind", "sub", "counted"),
    [
        ("key", "", f"api_key: {TOKEN}"),
        ("key_model", "gpt-4o", f"model_per_key: {TOKEN}:gpt-4o"),
        ("team", "", "team: t1"),
        ("team_model", "gpt-4o", "model_per_team: t1:gpt-4o"),
        ("member", "", "team_member: t1:u1"),
        ("user", "", "user: u1"),
        ("user_model", "gpt-4o", "model_per_user: u1:gpt-4o"),
        ("organization", "", "organization: o1"),
        ("organization_model", "gpt-4o", "model_per_organization: o1:gpt-4o"),
    ],
)
@pytest.mark.parametrize("unit", ["requests", "tokens"])
def test_a_rate_refuses_in_the_words_of_its_scope(kind, sub, counted, unit):
    refused = refusals.rate_refused(
        kind, SNAPSHOT, unit=unit, limit=60, remaining=3, sub=sub, reset_at=NOW + timedelta(seconds=50.2), now=NOW
    )
    assert (refused.code, refused.status, refused.type) == (Code.RATE_LIMITED, 429, "throttling_error")
    assert refused.message == (
        f"Rate limit exceeded for {counted}. Limit type: {unit}. Current limit: 60, Remaining: 3. "
        "Limit resets at: 2026-05-06 07:08:59 UTC"
    )
    assert dict(refused.headers) == {
        "retry-after": "51",
        "rate_limit_type": unit,
        "reset_at": "2026-05-06 07:08:59 UTC",
    }


def test_parallel_requests_refuse_as_a_rate_does():
    refused = refusals.concurrency_refused("key", SNAPSHOT, limit=2, reset_at=NOW, now=NOW)
    assert (refused.code, refused.status, refused.type) == (Code.CONCURRENCY_EXCEEDED, 429, "throttling_error")
    assert refused.message == (
        f"Rate limit exceeded for api_key: {TOKEN}. Limit type: max_parallel_requests. Current limit: 2, "
        "Remaining: 0. Limit resets at: 2026-05-06 07:08:09 UTC"
    )
    assert dict(refused.headers)["retry-after"] == "1"


def test_a_missing_estimate_names_its_field():
    refused = refusals.estimate_required("estimated_cost")
    assert (refused.code, refused.status, refused.param) == (Code.ESTIMATE_REQUIRED, 400, "estimated_cost")
    assert "estimated_cost" in refused.message


def test_every_code_is_explained_in_one_row():
    rows = re.findall(r"^\| ([a-z_]+) \| ", refusals.__doc__ or "", re.MULTILINE)
    assert sorted(row for row in rows if row != "code") == sorted(Code)
