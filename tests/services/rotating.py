"""Keys that rotate, over a real mail server: who holds which secret, and what each opens in which process."""

import re
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

from redis import Redis
from sqlalchemy import select

from app.container import Services
from app.dispatch import TaskName
from app.domain import minting
from app.message_settings import MessageSettings
from app.models import events, key_secrets
from app.services.events import delivery
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_user, rows
from tests.integrations.mailboxes import Mailbox
from tests.leaks import SECRETS

OLD = "sk-that-rotates-0123456789"
BOB = "bob@example.com"
EVERY = timedelta(days=30)
GRACE = timedelta(hours=24)
# Longer than a lease, and than any rest of a target that failed.
REST = timedelta(minutes=10)

_KEY = re.compile(r"sk-[A-Za-z0-9_-]{22}")


def mailing(mailbox: Mailbox) -> MessageSettings:
    """Settings by which mails may hold keys."""
    return MessageSettings(
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_sender="keys@keyledger.example",
        smtp_starttls=False,
        mail_keys=True,
        mail_events=frozenset(),
    )


def secret_in(mail: EmailMessage) -> str:
    """The key that a mail holds; from now on it may be found nowhere else."""
    (text, _page) = (part.get_content() for part in mail.iter_parts())
    (found,) = set(_KEY.findall(text))
    SECRETS.remember(found)
    return str(found)


@dataclass
class Rotating:
    """A service with one key of Bob's that is to rotate, and his mailbox."""

    services: Services
    api: Api
    clock: MovableClock
    mailbox: Mailbox

    def begin(self, **fields: Any) -> str:
        """Make the key and let its rotation be due; its id."""
        self.confirm("mail")
        add_user(self.services.database, "bob", user_email=BOB)
        made = self.api.generate(
            **{"key": OLD, "key_alias": "ci", "user_id": "bob", "auto_rotate": True, "rotation_interval": "30d"}
            | fields
        )
        self.clock.advance(EVERY)
        return str(made["key_id"])

    def confirm(self, *targets: str) -> None:
        with self.services.database.transaction() as transaction:
            delivery.confirm(transaction, targets, self.clock.now())

    def rotate(self) -> int:
        return self.services.jobs.run(TaskName.ROTATE_KEYS, lambda: True)

    def deliver(self) -> None:
        self.services.jobs.run(TaskName.DELIVER, lambda: True)

    def settle(self) -> None:
        """What the jobs do until nothing is left to be done, whatever state they find."""
        for _ in range(2):
            self.clock.advance(REST)
            self.rotate()
            self.deliver()
        self.rotate()

    def opens(self, key: str, *apis: Api) -> bool:
        """Whether the key is let in; every process must say the same."""
        codes = {code_of(api, key) for api in (self.api, *apis)}
        assert codes <= {"allowed"} or codes <= {"unknown"}, codes
        return codes == {"allowed"}

    def info(self) -> dict[str, Any]:
        (view,) = self.api.get("/key/list", return_full_object=True).body["keys"]
        return dict(view)

    def secrets(self) -> dict[str, str]:
        """Which secrets the key has: what each is, by its digest."""
        with self.services.database.read() as connection:
            found = connection.execute(select(key_secrets)).all()
        kinds = {
            row.token: "current" if row.revoke_at is None else "on its way" if row.event_id else "in grace"
            for row in found
        }
        assert sorted(kinds.values()).count("current") == 1, kinds
        return kinds

    def kinds(self) -> list[str]:
        """What of rotation was told, in its order."""
        told = sorted(rows(self.services.database, events), key=lambda row: row["created_at"])
        return [row["kind"] for row in told if row["kind"] in {"new_secret", "key_rotated", "rotation_cancelled"}]

    def mailed(self) -> list[str]:
        return [secret_in(mail) for mail in self.mailbox.mails]


def code_of(api: Api, key: str) -> str:
    answer = api.post("/key/verify", {"key": key, "model": "gpt-4o"})
    assert answer.status == 200, answer
    return str(answer.body["code"])


def other(services: Services) -> Api:
    """Another process of the service."""
    return Api(app_over(services))


def digest(key: str) -> str:
    return minting.digest(key)


def forget_all(redis_url: str) -> None:
    """What Redis knows is gone, and no process goes on by its memory: the store was set back."""
    with Redis.from_url(redis_url) as client:
        client.flushdb()
