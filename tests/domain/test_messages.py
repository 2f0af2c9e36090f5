"""What an event says to programs, and in one line."""

import pytest

from app.domain.event_kinds import ALERT_KINDS, BUDGET_KINDS, KINDS, MAIL_KINDS, WEBHOOK_KINDS, kind_of
from app.domain.messages import body_of, message_of, name_of, often, one_line, usd
from tests.domain.happenings import EVENT_ID, KEY, event

# LiteLLM's webhook event, all of it.
LITELLM_FIELDS = {
    *("spend", "max_budget", "soft_budget", "token", "customer_id", "user_id", "team_id", "team_alias"),
    *("organization_id", "user_email", "key_alias", "projected_exceeded_date", "projected_spend", "event_group"),
    *("alert_emails", "max_budget_alert_emails", "event", "event_message"),
}


def test_a_body_has_every_field_of_litellms_event_and_our_own_beside_them():
    body = body_of(event("soft_budget_crossed", window_start="2026-11-01T00:00:00.000000Z"))

    assert set(body) >= LITELLM_FIELDS
    assert {name: body[name] for name in KEY} == KEY
    assert body["event"] == "soft_budget_crossed"
    assert body["event_group"] == "key"
    assert body["event_message"] == "Soft Budget Crossed: ci: $8.60 of $8.00 spent."
    assert body["event_id"] == EVENT_ID
    assert body["created_at"] == "2026-11-18T13:47:33.123456Z"
    assert body["window_start"] == "2026-11-01T00:00:00.000000Z"
    assert body["projected_spend"] is None


def test_a_body_is_the_same_at_every_attempt():
    assert body_of(event()) == body_of(event())


def test_a_payload_never_passes_for_another_event():
    body = body_of(event(event="key_created", event_id="7c9e6679-7425-40de-944b-e07fc1f90ae7", entity_id="other"))

    assert (body["event"], body["entity_id"]) == ("budget_crossed", "id-of-key")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "entity", ["key", "team", "member", "team_member", "user", "organization", "budget", "job"]
)
def test_every_kind_says_something_of_every_entity_even_where_nothing_is_known(kind: str, entity: str):
    message = message_of(event(kind, entity, **dict.fromkeys(KEY)))

    assert message
    assert "None" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("happened", "message"),
    [
        (event("budget_crossed", spend=10.25), "Key Budget: ci: the budget is used up, $10.25 of $10.00 spent."),
        (
            event("threshold_crossed", percentage=85),
            "Key Budget: ci: 85 % of the budget is used, $8.60 of $10.00 spent.",
        ),
        (
            event("max_budget_alert", "team", percentage=50, team_alias="Search", spend=5.0, max_budget=10.0),
            "Team Budget: Search: 50 % of the budget is used, $5.00 of $10.00 spent.",
        ),
        (
            event("budget_crossed", "member", user_id="bob", team_alias="Search", spend=2, max_budget=2),
            "Team Member Budget: bob in Search: the budget is used up, $2.00 of $2.00 spent.",
        ),
        (
            event("budget_crossed", "user", user_email="bob@example.com", spend=2, max_budget=2),
            "User Budget: bob@example.com: the budget is used up, $2.00 of $2.00 spent.",
        ),
        (
            event("budget_crossed", "organization", spend=2, max_budget=2),
            "Organization Budget: id-of-organization: the budget is used up, $2.00 of $2.00 spent.",
        ),
        (
            event(
                "projected_limit_exceeded",
                spend=3.2,
                projected_spend=12.4,
                projected_exceeded_date="2026-11-24T03:00:00.000000Z",
            ),
            "Key Budget: ci: at this rate the soft budget will not last beyond 2026-11-24, $12.40 projected, $3.20 of $8.00 spent.",
        ),
        (event("key_created"), "API key created: ci."),
        (event("key_rotated", key_alias=None), "API key rotated: sk-...cdef."),
        (
            event("key_expiring", expires="2026-12-01T00:00:00.000000Z"),
            "API key expires soon: ci, on 2026-12-01 00:00 UTC.",
        ),
        (
            event("budget_reset", "budget", scopes={"key": 120, "key_model": 2, "team": 1, "of_tomorrow": 9}),
            "Budgets reset: a new window has begun for 120 keys, 2 models of keys, 1 team.",
        ),
        (event("rotation_cancelled"), "Rotation of an API key cancelled: ci."),
        (
            event("rotation_cancelled", reason="HTTP 410\nsk-"),
            "Rotation of an API key cancelled: ci: HTTP 410 sk-.",
        ),
        (event("budget_reset", "budget"), "Budgets reset."),
        (event("job_silent", "job"), "Job silent: id-of-job: it has never succeeded."),
        (
            event("job_silent", "job", last_success_at="2026-11-18T13:00:00.000000Z"),
            "Job silent: id-of-job: no success since 2026-11-18 13:00 UTC.",
        ),
        (event("of_tomorrow"), "Of tomorrow: ci."),
    ],
)
def test_an_event_in_one_line(happened, message: str):
    assert message_of(happened) == message


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("ci\r\nBcc: everybody@example.com", "ci Bcc: everybody@example.com"),
        ("a\x00b\u2028c\u202ed", "a b c d"),
        ("x" * 500, "x" * 119 + "…"),
        ("  spaced   out ", "spaced out"),
        ("", "sk-...cdef"),
    ],
)
def test_a_name_stays_one_short_line(alias: str, name: str):
    assert name_of(event(key_alias=alias)) == name


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "$0.00"), (12.5, "$12.50"), (1234567.891, "$1,234,567.89"), (0.004, "$0.004"), (1e-9, "$0.000000001")],
)
def test_amounts_are_written_as_people_do(amount: float, shown: str):
    assert usd(amount) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        ("30d", "every month"),
        ("31d", "every 31 days"),
        ("1mo", "every month"),
        ("12mo", "every 12 months"),
        ("weekly", "weekly"),
    ],
)
def test_lengths_are_written_as_people_do(length: str, shown: str):
    assert often(length) == shown


def test_a_value_of_any_kind_is_one_line():
    assert one_line({"a": "b\nc"}) == "{'a': 'b\\nc'}"


def test_channels_tell_kinds_that_there_are_and_never_an_order_to_write_a_mail():
    assert KINDS.keys() >= ALERT_KINDS | MAIL_KINDS | WEBHOOK_KINDS | BUDGET_KINDS
    assert "invite_mail" in MAIL_KINDS
    assert "invite_mail" not in ALERT_KINDS | WEBHOOK_KINDS
    assert kind_of("of_tomorrow").title == "Of tomorrow"
