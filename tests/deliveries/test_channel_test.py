"""`keyledger events test`: every channel is tried at once, and says what came of it."""

from pathlib import Path

from click.testing import CliRunner, Result

from app.commands.events import events
from tests.environment import ENVIRONMENT
from tests.integrations.mailboxes import mail_server
from tests.integrations.receivers import Receiver, answer


def run(tmp_path: Path, **channels: str) -> Result:
    required = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/never-opened.db",
        "REDIS_URL": "redis://127.0.0.1:1",
        **ENVIRONMENT,
    }
    return CliRunner().invoke(events, ["test"], env=required | channels)


def test_each_channel_gets_a_test_message_and_tells_what_it_answered(tmp_path: Path):
    with mail_server() as mailbox, Receiver() as slack, Receiver(answer(410)) as webhook:
        ended = run(
            tmp_path,
            SLACK_WEBHOOK_URL=slack.url,
            WEBHOOK_URL=webhook.url,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(mailbox.port),
            SMTP_TLS="False",
            SMTP_SENDER_EMAIL="keys@keyledger.example",
            TEST_EMAIL_ADDRESS="ops@example.com",
        )

    lines = [line.partition(" (")[0] for line in ended.output.splitlines()]
    assert lines == ["slack:0: delivered", "webhook:0: HTTP 410", "mail: delivered"]
    assert ended.exit_code == 1
    assert "Message: Test message: Keyledger." in slack.received[0].json["text"]
    assert webhook.received[0].json["event"] == "test_message"
    (mail,) = mailbox.mails
    assert (mail["To"], mail["Subject"]) == ("ops@example.com", "Keyledger: Test message: Keyledger")


def test_where_all_goes_well_it_ends_well(tmp_path: Path):
    with Receiver() as slack:
        assert run(tmp_path, SLACK_WEBHOOK_URL=slack.url).exit_code == 0


def test_without_a_channel_it_says_so(tmp_path: Path):
    ended = run(tmp_path)

    assert (ended.exit_code, ended.output) == (
        1,
        "keyledger: No channel is set that could be tested; mail needs TEST_EMAIL_ADDRESS.\n",
    )
