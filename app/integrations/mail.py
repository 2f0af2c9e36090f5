"""Mail, by the operator's SMTP server: one recipient a mail, text and HTML.

The host is a setting of the operator, so the rules for URLs of key owners do not apply to it. Certificates are
verified, and where STARTTLS is asked for nothing is sent without it. A mail that is sent again has the Message-ID
of the first time: it comes from the event and the recipient.
"""

from collections.abc import Callable, Mapping, Sequence
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from hashlib import sha256

from app.domain.deliveries import Claimed, StoredEvent
from app.domain.event_kinds import NEW_SECRET
from app.domain.letters import PRODUCT, Letterhead, letter_of, plain
from app.domain.mail_address import is_mail_address
from app.domain.minting import Secret
from app.integrations.destinations import DeliveryResult
from app.integrations.letter_page import page
from app.integrations.outbound import Deadline
from app.integrations.posting import EVENT_IDS, without_event, without_secret
from app.integrations.smtp import Fault, Server, Session


class Mail:
    """Sends letters; `open_key` opens a sealed key that a letter may hold, None where it cannot be opened."""

    most = 20

    def __init__(self, server: Server, letterhead: Letterhead, open_key: Callable[[str], Secret | None]) -> None:
        self._server = server
        self._letterhead = letterhead
        self._open_key = open_key

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:  # noqa: ARG002
        """One connection for all; what keeps it from opening is told of the first and leaves the others untouched.

        A recipient that is refused, for good or for now, does not keep the others from theirs.
        """
        results = without_event(claimed)
        told = []
        for each in claimed:
            key = self._open_key(each.sealed) if each.sealed else None
            if each.event is not None and each.event.kind == NEW_SECRET and key is None:
                results[each.delivery_id] = without_secret(each)
            elif each.event is not None:
                told.append((each, each.event, key))
        if not told:
            return results
        deadline = Deadline(self._server.seconds)
        with Session(self._server) as session:
            if session.fault is not None:
                return results | {told[0][0].delivery_id: _result(session.fault, deadline)}
            for each, event, key in told:
                if deadline.is_over or not session.is_open:
                    break
                began = Deadline(self._server.seconds)
                results[each.delivery_id] = _result(self._deliver(session, each, event, key), began)
        return results

    def _deliver(self, session: Session, claimed: Claimed, event: StoredEvent, key: Secret | None) -> Fault | None:
        if not is_mail_address(claimed.recipient):
            return Fault("the recipient is no mail address", retryable=False)
        return session.send(self._message(claimed, event, key), claimed.recipient)

    def _message(self, claimed: Claimed, event: StoredEvent, key: Secret | None) -> EmailMessage:
        letter = letter_of(event, self._letterhead, key)
        sender = _address(self._server.sender, PRODUCT)
        once = sha256(f"{event.event_id} {claimed.recipient}".encode()).hexdigest()[:32]
        message = EmailMessage(policy=policy.SMTP)
        message["From"] = sender
        message["To"] = _address(claimed.recipient)
        message["Subject"] = letter.subject
        message["Date"] = event.created_at
        message["Message-ID"] = f"<{once}@{sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message[EVENT_IDS] = event.event_id
        message.set_content(plain(letter))
        message.add_alternative(page(letter), subtype="html")
        return message


def _address(text: str, name: str = "") -> Address:
    user, _, domain = text.rpartition("@")
    return Address(name, user, domain)


def _result(fault: Fault | None, began: Deadline) -> DeliveryResult:
    return DeliveryResult(
        ok=fault is None,
        http_status=None,
        milliseconds=began.milliseconds,
        reason=None if fault is None else fault.reason,
        retryable=fault is not None and fault.retryable,
    )
