"""A mail server of the tests, on loopback: aiosmtpd, as strict or as broken as a test wants it."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Thread
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests import leaks

USER, PASSWORD = "keyledger", "distinctive-smtp-password"


@dataclass
class Mailbox:
    """What has arrived, and what the server says at each step: 250 unless a test says else."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[bool] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)  # by recipient
    of_sender: str = "250 OK"
    of_data: str = "250 OK"
    cut_at: str = ""
    port: int = 0

    async def handle_MAIL(  # noqa: N802 - the names are aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.cut_at == "MAIL":
            server.transport.abort()
        envelope.mail_from = address
        return self.of_sender

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.cut_at == "RCPT":
            server.transport.abort()
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.cut_at == "DATA":
            server.transport.abort()
        elif self.of_data.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.envelopes.append((envelope.mail_from, tuple(envelope.rcpt_tos)))
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
            self.logins.append(bool(session.authenticated))
        return self.of_data


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(
    tls: ssl.SSLContext | None = None,
    *,
    implicit: bool = False,
    login: bool = False,
    keys_allowed: bool = False,
    **settings: Any,
) -> Iterator[Mailbox]:
    """A server that speaks STARTTLS, or TLS from the start, where it has a context; `login` asks for one.

    When it ends no mail may hold a key, unless `keys_allowed`.
    """
    mailbox = Mailbox(**settings)
    loop = asyncio.new_event_loop()

    spoken: list[SMTP] = []

    def speak() -> SMTP:
        spoken.append(_server())
        return spoken[-1]

    def _server() -> SMTP:
        return SMTP(
            mailbox,
            hostname="mail.example",
            tls_context=None if implicit else tls,
            authenticator=_authenticate if login else None,
            auth_required=login,
            # Over TLS from the start it does not see that it is encrypted; where it asks for TLS it offers no login
            # before that.
            auth_require_tls=not login or (tls is not None and not implicit),
            loop=loop,
        )

    async def listen() -> asyncio.Server:
        return await loop.create_server(speak, "127.0.0.1", 0, ssl=tls if implicit else None)

    async def end(server: asyncio.Server) -> None:
        server.close()
        for each in spoken:
            if each.transport is not None:
                each.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what is aborted is closed in the next round

    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
    assert keys_allowed or not any(map(leaks.in_mail, mailbox.mails)), "a plaintext key was mailed"
