"""The settings of messages: LiteLLM's names with LiteLLM's meanings, and ours; no secret is ever shown."""

from typing import Any

import pytest

from app.config import BadSettings, Settings
from app.domain.event_kinds import ALERT_KINDS, KINDS, MAIL_KINDS, WEBHOOK_KINDS
from app.message_settings import MessageSettings
from tests.contracts.test_config import REQUIRED, faults_of

SECRET = "whsec_" + "Ab0+" * 8
PREVIOUS = "whsec_" + "Cd1/" * 8
SMTP = {"SMTP_HOST": "smtp.example.com", "SMTP_SENDER_EMAIL": "keys@example.com"}


def parsed(**environment: str) -> MessageSettings:
    return Settings.parse({**REQUIRED, **environment}).messages


def test_without_settings_there_is_no_channel():
    messages = parsed()

    assert messages == MessageSettings()
    assert not messages.slack_urls + messages.ms_teams_urls + messages.webhook_urls + messages.apprise_urls
    assert (messages.smtp_host, messages.mail_keys) == (None, False)
    assert messages.alert_events == ALERT_KINDS
    assert messages.webhook_events == WEBHOOK_KINDS
    assert messages.mail_events == MAIL_KINDS


@pytest.mark.parametrize(
    ("environment", "attribute", "value"),
    [
        ({"SLACK_WEBHOOK_URL": "https://s.example/a"}, "slack_urls", ("https://s.example/a",)),
        ({"ALERTING_WEBHOOK_URL": "https://s.example/b"}, "slack_urls", ("https://s.example/b",)),
        (
            {"SLACK_WEBHOOK_URL": "https://s.example/a", "ALERTING_WEBHOOK_URL": "https://s.example/b"},
            "slack_urls",
            ("https://s.example/a",),
        ),
        (
            {"WEBHOOK_URL": "https://a.example/1, http://10.0.0.7:8080/2"},
            "webhook_urls",
            ("https://a.example/1", "http://10.0.0.7:8080/2"),
        ),
        ({"MS_TEAMS_WEBHOOK_URL": "https://t.example/"}, "ms_teams_urls", ("https://t.example/",)),
        (
            {"KEYLEDGER_APPRISE_URLS": "tgram://a/b,c  mailto://x"},
            "apprise_urls",
            ("tgram://a/b,c", "mailto://x"),
        ),
        ({"KEYLEDGER_ALERT_EVENTS": "key_created, job_silent"}, "alert_events", {"key_created", "job_silent"}),
        ({"KEYLEDGER_WEBHOOK_EVENTS": "none"}, "webhook_events", frozenset()),
        ({"KEYLEDGER_MAIL_EVENTS": "all"}, "mail_events", set(KINDS)),
        ({**SMTP, "KEYLEDGER_MAIL_KEYS": "true"}, "mail_keys", True),
        ({**SMTP}, "smtp_port", 587),
        ({**SMTP}, "smtp_starttls", True),
        ({**SMTP, "SMTP_TLS": "False"}, "smtp_starttls", False),
        ({**SMTP, "SMTP_TLS": "false"}, "smtp_starttls", True),
        ({**SMTP, "SMTP_TLS": "0"}, "smtp_starttls", True),
        ({**SMTP}, "tls_from_the_start", False),
        ({**SMTP, "SMTP_USE_SSL": "True"}, "tls_from_the_start", True),
        ({**SMTP, "SMTP_PORT": "465"}, "tls_from_the_start", True),
        ({**SMTP}, "smtp_seconds", 30.0),
        ({**SMTP, "SMTP_TIMEOUT": "10"}, "smtp_seconds", 10.0),
        ({"EMAIL_LOGO_URL": "https://l.example/x.png"}, "mail_logo_url", "https://l.example/x.png"),
        ({"SMTP_SENDER_LOGO": "https://l.example/y.png"}, "mail_logo_url", "https://l.example/y.png"),
        ({"EMAIL_SUPPORT_CONTACT": "the help desk"}, "mail_contact", "the help desk"),
        ({"PROXY_BASE_URL": "https://llm.example.com"}, "base_url", "https://llm.example.com"),
    ],
)
def test_a_good_value_is_read(environment: dict[str, str], attribute: str, value: Any):
    assert getattr(parsed(**environment), attribute) == value


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        ({"SLACK_WEBHOOK_URL": "hooks.example"}, "SLACK_WEBHOOK_URL is wrong: it is not a URL."),
        (
            {"WEBHOOK_URL": "https://user:distinctive@a.example/"},
            "WEBHOOK_URL is wrong: a URL must not hold a user",
        ),
        ({"KEYLEDGER_APPRISE_URLS": "distinctive"}, "KEYLEDGER_APPRISE_URLS is wrong: URLs separated by spaces"),
        (
            {"KEYLEDGER_ALERT_EVENTS": "key_made"},
            "KEYLEDGER_ALERT_EVENTS is wrong: there is no kind of event 'key_made'",
        ),
        (
            {"KEYLEDGER_WEBHOOK_SECRET": "distinctive"},
            "KEYLEDGER_WEBHOOK_SECRET is wrong: 'whsec_' and 24 to 64 bytes",
        ),
        (
            {"KEYLEDGER_WEBHOOK_SECRET": "whsec_c2hvcnQ="},
            "KEYLEDGER_WEBHOOK_SECRET is wrong: 'whsec_' and 24 to 64",
        ),
        ({"KEYLEDGER_WEBHOOK_SECRET": "x" + SECRET}, "KEYLEDGER_WEBHOOK_SECRET is wrong: 'whsec_' and 24 to 64"),
        (
            {"KEYLEDGER_WEBHOOK_SECRET": "whsec_!!" + "A" * 40},
            "KEYLEDGER_WEBHOOK_SECRET is wrong: 'whsec_' and 24",
        ),
        (
            {"KEYLEDGER_WEBHOOK_PREVIOUS_SECRET": PREVIOUS},
            "KEYLEDGER_WEBHOOK_PREVIOUS_SECRET needs KEYLEDGER_WEBHOOK_SECRET.",
        ),
        ({"SMTP_HOST": "smtp.example.com"}, "SMTP_SENDER_EMAIL is missing: SMTP_HOST needs it."),
        ({**SMTP, "SMTP_SENDER_EMAIL": "keys"}, "SMTP_SENDER_EMAIL is wrong: a mail address is needed"),
        ({**SMTP, "SMTP_PORT": "0"}, "SMTP_PORT is wrong: a whole number from 1 to 65535"),
        ({**SMTP, "SMTP_TIMEOUT": "0"}, "SMTP_TIMEOUT is wrong: a number of seconds from 1 to 300"),
        ({"KEYLEDGER_MAIL_KEYS": "true"}, "KEYLEDGER_MAIL_KEYS needs SMTP_HOST."),
        ({"EMAIL_LOGO_URL": "javascript:alert(1)"}, "EMAIL_LOGO_URL is wrong: it is not a URL."),
    ],
)
def test_a_bad_value_is_named_and_nothing_of_it_shown_that_may_be_secret(environment: dict[str, str], fault: str):
    (found,) = faults_of({**REQUIRED, **environment})

    assert found.startswith(fault)
    assert "distinctive" not in found


def test_both_secrets_sign_the_present_one_first():
    messages = parsed(KEYLEDGER_WEBHOOK_SECRET=SECRET, KEYLEDGER_WEBHOOK_PREVIOUS_SECRET=PREVIOUS)

    assert [secret.reveal() for secret in messages.webhook_secrets] == [SECRET, PREVIOUS]


def test_no_printed_form_holds_a_secret():
    secret = "distinctive0123456789"
    messages = parsed(
        **SMTP,
        SMTP_PASSWORD=secret,
        SLACK_WEBHOOK_URL=f"https://s.example/{secret}",
        MS_TEAMS_WEBHOOK_URL=f"https://t.example/{secret}",
        WEBHOOK_URL=f"https://w.example/{secret}",
        KEYLEDGER_APPRISE_URLS=f"tgram://{secret}/x",
        KEYLEDGER_WEBHOOK_SECRET=SECRET,
        KEYLEDGER_WEBHOOK_PREVIOUS_SECRET=PREVIOUS,
    )

    assert not any(hidden in repr(messages) for hidden in (secret, SECRET, PREVIOUS))


def test_faults_of_messages_are_named_together_with_the_others():
    with pytest.raises(BadSettings) as refused:
        Settings.parse({**REQUIRED, "PORT": "x", "SMTP_HOST": "h", "WEBHOOK_URL": "x"})

    assert len(refused.value.faults) == 3
