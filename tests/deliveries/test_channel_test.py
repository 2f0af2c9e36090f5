"""`keyledger events test`: every channel is tried at once, and says what came of it."""

import hashlib
from pathlib import Path

from click.testing import CliRunner, Result

from app.commands.events import events
from app.models import targets
from tests.environment import ENVIRONMENT
from tests.factories import rows
from tests.integrations.mailboxes import mail_server
from tests.integrations.receivers import Receiver, answer, closed_port
from tests.stores import opened


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


def test_what_a_mail_server_has_taken_confirms_it_for_the_secrets_of_rotations(tmp_path: Path, sqlite_url: str):
    with mail_server() as mailbox:
        ended = run(
            tmp_path,
            DATABASE_URL=sqlite_url,
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(mailbox.port),
            SMTP_TLS="False",
            SMTP_SENDER_EMAIL="keys@keyledger.example",
            TEST_EMAIL_ADDRESS="ops@example.com",
            KEYLEDGER_MAIL_KEYS="true",
        )

    assert (ended.exit_code, len(mailbox.mails)) == (0, 1)
    with opened(sqlite_url) as database:
        (target,) = rows(database, targets)
    assert target["target"] == "mail"
    assert target["last_delivered_at"] is not None
    assert target["next_attempt_at"] is None


def test_a_webhook_that_may_carry_secrets_is_tried_by_the_name_of_its_url_as_well(tmp_path: Path):
    gone = closed_port()
    ended = run(
        tmp_path,
        WEBHOOK_URL=f"https://127.0.0.1:{gone}/,http://127.0.0.1:{gone}/",
        KEYLEDGER_WEBHOOK_SECRET="whsec_" + "Ab0+" * 8,
    )

    names = [line.partition(": ")[0] for line in ended.output.splitlines()]
    of_url = hashlib.sha256(f"https://127.0.0.1:{gone}/".encode()).hexdigest()[:12]
    assert (names, ended.exit_code) == (["webhook:0", "webhook:1", f"webhook:{of_url}"], 1)


def test_without_a_channel_it_says_so(tmp_path: Path):
    ended = run(tmp_path)

    assert (ended.exit_code, ended.output) == (
        1,
        "keyledger: No channel is set that could be tested; mail needs TEST_EMAIL_ADDRESS.\n",
    )
