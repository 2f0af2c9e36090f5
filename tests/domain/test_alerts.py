"""Alerts: the text that LiteLLM's users know, equal ones as one, and nothing in it that Slack would act on."""

from dataclasses import replace
from datetime import timedelta

from app.domain.alerts import plain_text, slack_text, squashed
from tests.domain.happenings import NOW, claimed, event

TEXT = """\
Alert type: `budget_alerts`
Level: `High`
Timestamp: `13:47:33`

Message: Soft Budget Crossed: ci: $8.60 of $8.00 spent.
*spend:* `8.6`
*max_budget:* `10.0`
*soft_budget:* `8.0`
*user_id:* `bob`
*team_id:* `search`
*key_alias:* `ci`
*key_name:* `sk-...cdef`
*event_group:* `key`

Proxy URL: `https://llm.example.com`"""


def test_the_text_is_litellms_line_by_line_without_the_token():
    (alert,) = squashed(claimed(event("soft_budget_crossed")))

    assert slack_text(alert, "https://llm.example.com") == TEXT
    assert slack_text(alert, None) == TEXT.rpartition("\n\n")[0]
    assert event().payload["token"] not in slack_text(alert, None)


def test_those_that_differ_in_their_time_alone_are_one_with_their_number_and_every_id():
    events = [event(event_id=f"id-{number}") for number in range(3)]
    events[1] = replace(events[1], created_at=NOW + timedelta(seconds=90))

    (alert,) = squashed(claimed(*events))

    assert slack_text(alert, None).startswith("[Num Alerts: 3]\n\nAlert type: `budget_alerts`\n")
    assert "Timestamp: `13:47:33`" in slack_text(alert, None)
    assert (alert.delivery_ids, alert.event_ids) == ((1, 2, 3), ("id-0", "id-1", "id-2"))


def test_those_that_differ_in_anything_else_stay_apart_in_their_order():
    alerts = squashed(claimed(event(spend=1), event(spend=2), event("key_expiring", spend=1), event(spend=1)))

    assert [alert.delivery_ids for alert in alerts] == [(1, 4), (2,), (3,)]
    assert not any("Num Alerts" in slack_text(alert, None) for alert in alerts[1:])


def test_a_name_is_never_markup():
    alias = "<!channel> <https://evil.example|your bank> & `code`\n*Level:* `Low`"
    (alert,) = squashed(claimed(event(key_alias=alias)))

    text = slack_text(alert, None)

    named = "&lt;!channel&gt; &lt;https://evil.example|your bank&gt; &amp; 'code' *Level:* 'Low'"
    assert f"*key_alias:* `{named}`" in text.splitlines()
    assert "<" not in text
    assert ">" not in text


def test_addresses_by_percentage_are_shown_as_text():
    (alert,) = squashed(
        claimed(event("max_budget_alert", max_budget_alert_emails={"50": ["a@x.example", "b@x.example"]}))
    )

    assert "*max_budget_alert_emails:* `50: a@x.example, b@x.example`" in slack_text(alert, None)


def test_a_text_without_markup_holds_the_ids_themselves():
    (alert,) = squashed(claimed(event(event_id="id-1"), event(event_id="id-2")))

    text = plain_text(alert, "https://llm.example.com")

    assert "`" not in text
    assert text.endswith("\n\nProxy URL: https://llm.example.com\n\nEvents: id-1, id-2")


def test_a_delivery_without_its_event_is_no_alert():
    assert squashed(claimed(None)) == []
