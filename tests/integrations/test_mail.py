"""Mail: what arrives at a real SMTP server, and what its refusals make of a delivery."""

import base64
import socket
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from app.domain.letters import Letterhead
from app.domain.minting import Secret
from app.integrations.mail import Mail
from app.integrations.smtp import Server
from tests.domain.happenings import EVENT_ID, KEY, claimed, event
from tests.integrations.certificates import server_and_client
from tests.integrations.mailboxes import PASSWORD, USER, mail_server
from tests.integrations.receivers import closed_port

# What the server of the tests says of itself where it asks for a login without TLS.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

SENDER = "keys@keyledger.example"
BOB, AL = "bob@example.com", "al@example.com"
HEAD = Letterhead("https://llm.example.com", "https://llm.example.com/logo.png", "help@example.com")
MAILED = "sk-a-key-for-a-mail-0123456"


def mail(port: int, open_key: Any = lambda sealed: None, head: Letterhead = HEAD, **settings: Any) -> Mail:
    server = {"host": "127.0.0.1", "starttls": False, "seconds": 5.0} | settings
    return Mail(Server(port=port, sender=SENDER, **server), head, open_key)


def sent(
    sender: Mail, *recipients: str, sealed: str | None = None, **changed: Any
) -> list[tuple[bool, str | None, bool]]:
    """Of each delivery that was tried: was it taken, why not, and may it be later."""
    deliveries = [
        each
        for number, recipient in enumerate(recipients, 1)
        for each in claimed(*[None] * (number - 1), event(**changed), recipient=recipient, sealed=sealed)
        if each.event is not None
    ]
    results = sender.send("mail", deliveries)
    return [
        (results[number].ok, results[number].reason, results[number].retryable)
        for number in range(1, len(recipients) + 1)
        if number in results
    ]


TAKEN = (True, None, False)

# --- what arrives -------------------------------------------------------------------------------------------------


def test_a_mail_arrives_with_both_parts_and_headers_that_a_repeat_has_again():
    with mail_server() as mailbox:
        sender = mail(mailbox.port)
        assert sent(sender, BOB) == [TAKEN]
        assert sent(sender, BOB, AL) == [TAKEN, TAKEN]

    first, again, to_al = mailbox.mails
    assert mailbox.envelopes == [(SENDER, (BOB,)), (SENDER, (BOB,)), (SENDER, (AL,))]
    assert (first["From"], first["To"]) == (f"Keyledger <{SENDER}>", BOB)
    assert first["Subject"] == "Keyledger: Budget used up: ci"
    assert first["Date"] == "Wed, 18 Nov 2026 13:47:33 +0000"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["X-Keyledger-Event-Ids"] == EVENT_ID
    assert first["Message-ID"].endswith("@keyledger.example>")
    assert first["Message-ID"] == again["Message-ID"] != to_al["Message-ID"]
    assert first.get_content_type() == "multipart/alternative"
    text, page = (part.get_content() for part in first.iter_parts())
    for said in ("The budget of the API key ci is used up", "$8.60", "$10.00", "https://llm.example.com", "help@"):
        assert said in " ".join(text.split())
        assert said in " ".join(page.split())
    assert '<img src="https://llm.example.com/logo.png" alt="Keyledger"' in page


def test_letters_beyond_ascii_arrive_as_they_are():
    with mail_server() as mailbox:
        assert sent(mail(mailbox.port), BOB, key_alias="Büro 漢 🔑") == [TAKEN]

    (got,) = mailbox.mails
    assert got["Subject"] == "Keyledger: Budget used up: Büro 漢 🔑"
    assert all("Büro 漢 🔑" in part.get_content() for part in got.iter_parts())


@pytest.mark.parametrize("alias", ["x\r\nBcc: all@example.com", "x\nX-Evil: 1", "x\r\n.\r\nMAIL FROM:<a@b>"])
def test_no_name_becomes_a_header_or_a_command(alias: str):
    with mail_server() as mailbox:
        assert sent(mail(mailbox.port), BOB, key_alias=alias) == [TAKEN]

    (got,) = mailbox.mails
    assert mailbox.envelopes == [(SENDER, (BOB,))]
    assert {"Bcc", "X-Evil"} & set(got.keys()) == set()


def test_no_name_becomes_markup_in_the_page():
    with mail_server() as mailbox:
        sent(mail(mailbox.port), BOB, key_alias="<script>alert(1)</script>")

    (got,) = mailbox.mails
    page = got.get_body(("html",)).get_content()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_sealed_key_is_opened_for_its_mail_and_without_one_none_is_in_it():
    with mail_server() as mailbox:
        sender = mail(mailbox.port, open_key={"sealed": Secret(MAILED)}.get)
        for sealed in ("sealed", None, "cannot be opened"):
            assert sent(sender, BOB, sealed=sealed, kind="invite_mail", about="key_created") == [TAKEN]

    with_key, without, unopened = mailbox.mails
    assert all(MAILED in part.get_content() for part in with_key.iter_parts())
    assert with_key["Subject"] == "Keyledger: Your new API key: ci"
    for got in (without, unopened):
        assert all("Keys are not sent by mail here" in part.get_content() for part in got.iter_parts())
        assert MAILED.encode() not in got.as_bytes()


def test_nothing_secret_is_in_a_mail():
    with mail_server() as mailbox:
        sent(mail(mailbox.port), BOB)

    (got,) = mailbox.mails
    assert all(KEY["token"] not in part.get_content() for part in got.iter_parts())


# --- how the server is spoken to ----------------------------------------------------------------------------------


@pytest.mark.parametrize("implicit", [False, True])
def test_the_way_is_encrypted_and_the_login_made(tmp_path: Path, implicit: bool):
    server, client = server_and_client("mail.example", tmp_path)
    with mail_server(server, implicit=implicit, login=True) as mailbox:
        sender = mail(
            mailbox.port,
            host="mail.example",
            resolve=lambda host, port: ["127.0.0.1"],
            username=USER,
            password=Secret(PASSWORD),
            starttls=True,
            implicit_tls=implicit,
            tls=client,
        )
        assert sent(sender, BOB) == [TAKEN]

    assert mailbox.encrypted == [True]
    assert mailbox.logins == [True]


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("fault", ["name", "authority"])
def test_a_certificate_that_is_not_the_hosts_is_not_accepted(tmp_path: Path, implicit: bool, fault: str):
    server, client = server_and_client("other.example" if fault == "name" else "mail.example", tmp_path)
    trust = {"tls": client} if fault == "name" else {}
    with mail_server(server, implicit=implicit) as mailbox:
        sender = mail(
            mailbox.port,
            host="mail.example",
            resolve=lambda host, port: ["127.0.0.1"],
            starttls=True,
            implicit_tls=implicit,
            **trust,
        )
        ((ok, reason, retryable),) = sent(sender, BOB)

    assert (ok, retryable) == (False, True)
    assert reason.startswith("the certificate was not accepted: ")
    assert mailbox.mails == []


def test_nothing_is_sent_where_starttls_is_asked_for_and_not_offered():
    with mail_server() as mailbox:
        assert sent(mail(mailbox.port, starttls=True), BOB, AL) == [(False, "the server offers no STARTTLS", True)]

    assert mailbox.mails == []


def test_a_wrong_password_is_the_operators_to_mend_and_no_mail_is_lost_for_it():
    with mail_server(login=True) as mailbox:
        sender = mail(mailbox.port, username=USER, password=Secret("wrong"))
        assert sent(sender, BOB, AL) == [(False, "the server refused the user name or the password (535)", True)]


@pytest.mark.parametrize("missing", ["username", "password"])
def test_a_login_needs_both(missing: str):
    login = {"username": USER, "password": Secret(PASSWORD), missing: None}
    with mail_server(login=True) as mailbox:
        ((ok, reason, retryable),) = sent(mail(mailbox.port, **login), BOB)

    assert (ok, reason, retryable) == (False, "the server refused the sender (530)", True)


def test_a_login_that_the_server_does_not_offer_is_told():
    with mail_server() as mailbox:
        sender = mail(mailbox.port, username=USER, password=Secret(PASSWORD))
        assert sent(sender, BOB) == [(False, "the server offers no login", True)]


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_recipient_that_is_refused_for_good_keeps_nobody_else_from_theirs():
    with mail_server(refusals={AL: "550 no such mailbox"}) as mailbox:
        found = sent(mail(mailbox.port), AL, BOB)

    assert found == [(False, "the server refused the recipient (550)", False), TAKEN]
    assert mailbox.envelopes == [(SENDER, (BOB,))]


def test_a_recipient_that_is_put_off_may_be_tried_again():
    with mail_server(refusals={AL: "450 greylisted"}) as mailbox:
        found = sent(mail(mailbox.port), AL, BOB)

    assert found == [(False, "the server refused the recipient (450)", True), TAKEN]


@pytest.mark.parametrize(
    ("settings", "reason", "retryable"),
    [
        ({"of_sender": "553 not yours"}, "the server refused the sender (553)", True),
        ({"of_sender": "451 later"}, "the server refused the sender (451)", True),
        ({"of_data": "554 looks like spam"}, "the server refused the mail (554)", False),
        ({"of_data": "452 no room"}, "the server refused the mail (452)", True),
        ({"cut_at": "MAIL"}, "the connection was cut", True),
        ({"cut_at": "RCPT"}, "the connection was cut", True),
        ({"cut_at": "DATA"}, "the connection was cut", True),
    ],
)
def test_what_the_server_says_makes_a_mail_wait_or_park(settings: dict[str, str], reason: str, retryable: bool):
    with mail_server(**settings) as mailbox:
        assert sent(mail(mailbox.port), BOB) == [(False, reason, retryable)]

    assert mailbox.mails == []


def test_a_connection_that_is_cut_leaves_the_others_untouched():
    with mail_server(cut_at="DATA") as mailbox:
        assert sent(mail(mailbox.port), BOB, AL) == [(False, "the connection was cut", True)]


@pytest.mark.parametrize(
    "recipient", ["", "nobody", "a@b.example, c@d.example", "a@b.example\r\nRCPT TO:<c@d.example>"]
)
def test_what_is_no_address_is_not_tried_again(recipient: str):
    with mail_server() as mailbox:
        found = sent(mail(mailbox.port), recipient, BOB)

    assert found == [(False, "the recipient is no mail address", False), TAKEN]


def test_an_address_that_the_server_cannot_take_is_told():
    with mail_server() as mailbox:
        found = sent(mail(mailbox.port), "josé@example.com", BOB)

    assert found == [(False, "the server takes no address in such letters", False), TAKEN]


def test_a_delivery_whose_event_is_gone_is_told_and_asks_nobody():
    results = mail(closed_port()).send("mail", claimed(None, recipient=BOB))

    assert [(result.ok, result.reason, result.retryable) for result in results.values()] == [
        (False, "the event is kept no longer", False)
    ]


def test_a_server_that_is_away_is_told_of_the_first_alone():
    assert sent(mail(closed_port()), BOB, AL) == [(False, "the connection was refused by the other end", True)]


def test_a_host_without_an_address_is_told():
    sender = mail(25, host="mail.example", resolve=lambda host, port: [])

    assert sent(sender, BOB) == [(False, "the host name cannot be resolved", True)]


@pytest.mark.parametrize("said", [b"", b"220 mail.example\r\n", b"2"])
def test_a_server_that_falls_silent_is_left_after_its_time(said: bytes):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_drip, args=(listener, said))
        thread.start()
        found = sent(mail(listener.getsockname()[1], seconds=0.4), BOB, AL)
        thread.join(60)

    assert found == [(False, "no answer within 0.4 s", True)]
    assert not thread.is_alive()


def _drip(listener: socket.socket, said: bytes) -> None:
    """Greet with this, then a byte at a time and never a whole line, until the other end hangs up."""
    connection, _ = listener.accept()
    connection.settimeout(0.05)
    with connection:
        try:
            connection.sendall(said)
            while True:
                connection.sendall(b"2")
                try:
                    if not connection.recv(4096):
                        return
                except TimeoutError:
                    continue
        except OSError:
            return


def test_a_server_that_will_not_talk_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_refuse, args=(listener,))
        thread.start()
        found = sent(mail(listener.getsockname()[1]), BOB)
        thread.join(60)

    assert found == [(False, "the server will not talk now (554)", True)]


def _refuse(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"554 not you: distinctive words of the server\r\n")
        connection.recv(4096)


def test_no_reason_and_no_printed_form_holds_the_password_or_what_the_server_said():
    password = Secret(PASSWORD)
    with mail_server(login=True, of_sender=f"553 {PASSWORD}") as mailbox:
        sender = mail(mailbox.port, username=USER, password=password)
        ((_, reason, _),) = sent(sender, BOB)

    encoded = base64.b64encode(PASSWORD.encode()).decode()
    assert PASSWORD not in reason
    assert PASSWORD not in repr(Server("h", 25, SENDER, USER, password))
    assert encoded not in reason
