"""A conversation with an SMTP server that ends in time, however slowly the server speaks.

What goes wrong is a short reason: the server's code at most, never its words or ours.
"""

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from ipaddress import ip_address
from threading import Timer
from types import TracebackType
from typing import Self

from app.domain.minting import Secret
from app.integrations.outbound import (
    Deadline,
    Resolver,
    TimeUp,
    Unresolved,
    connect_reason,
    resolved,
    system_resolver,
)

_READY = 220
_FOR_GOOD = range(500, 600)


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over. `seconds` bounds the way in and each mail; login needs user and password both."""

    host: str
    port: int
    sender: str
    username: str | None = None
    password: Secret | None = None
    starttls: bool = True
    implicit_tls: bool = False
    seconds: float = 30.0
    tls: ssl.SSLContext | None = None
    resolve: Resolver = system_resolver


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a mail could not be handed over, and whether it may be later."""

    reason: str
    retryable: bool = True


class Session:
    """A connection that is open, encrypted and logged in, or has a `fault`; one thread's."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._smtp = _Smtp(self._line, server)
        # A second handle on the connection: what cuts it while another thread reads, TLS or not.
        self._handle: socket.socket | None = None
        self._is_late = False
        self.fault: Fault | None = None

    def __enter__(self) -> Self:
        self.fault = self._attempt(self._enter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_open and self.fault is None:
            with suppress(OSError):
                self._smtp.putcmd("quit")  # what the server has to say to that is not waited for
        self._smtp.close()
        if self._handle is not None:
            self._handle.close()

    @property
    def is_open(self) -> bool:
        """Whether the server can still be spoken to."""
        return self._smtp.sock is not None

    def send(self, message: EmailMessage, recipient: str) -> Fault | None:
        """Hand one mail over; None where the server took it. A repeat hands it over again."""
        return self._attempt(lambda: self._smtp.send_message(message, self._server.sender, [recipient]))

    def _enter(self) -> None:
        server, smtp = self._server, self._smtp
        code, said = smtp.connect(server.host, server.port)
        if code != _READY:
            raise smtplib.SMTPConnectError(code, said)
        smtp.ehlo_or_helo_if_needed()
        if server.starttls and not server.implicit_tls:
            if not smtp.has_extn("starttls"):
                raise _Unfit("the server offers no STARTTLS")
            smtp.starttls(context=server.tls or _usual_tls())
        if server.username and server.password:
            smtp.ehlo_or_helo_if_needed()
            if not smtp.has_extn("auth"):
                raise _Unfit("the server offers no login")
            smtp.login(server.username, server.password.reveal())

    def _line(self) -> socket.socket:
        """Connect to the first address of the host that takes it; each gets its share of the time."""
        server, deadline = self._server, Deadline(self._server.seconds)
        try:
            addresses = [ip_address(server.host)]
        except ValueError:
            addresses = resolved(server.resolve, server.host, server.port, deadline)
        failure: OSError = ConnectionError()
        for position, address in enumerate(addresses):
            share = deadline.left() / (len(addresses) - position)
            try:
                line = socket.create_connection((str(address), server.port), share)
            except OSError as error:
                failure = error
                continue
            line.settimeout(server.seconds)
            self._handle = line.dup()
            if server.implicit_tls:
                return (server.tls or _usual_tls()).wrap_socket(line, server_hostname=server.host)
            return line
        raise failure

    def _attempt(self, step: Callable[[], object]) -> Fault | None:
        """Take a step, and cut the connection should it take too long."""
        self._is_late = False
        timer = Timer(self._server.seconds, self._cut)
        timer.daemon = True
        timer.start()
        fault = None
        try:
            step()
        except (TimeoutError, TimeUp):
            self._is_late = True
        except (OSError, smtplib.SMTPException, _Unfit, Unresolved, UnicodeError) as error:
            fault = _fault(error)
        finally:
            timer.cancel()
        if self._is_late:  # even without an error: half a line, at which it was cut, can pass for an answer
            self._smtp.close()
            return Fault(f"no answer within {self._server.seconds:g} s")
        return fault

    def _cut(self) -> None:
        self._is_late = True
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


class _Smtp(smtplib.SMTP):
    """SMTP over a line that somebody else lays; says that it comes from the sender's domain."""

    def __init__(self, lay: Callable[[], socket.socket], server: Server) -> None:
        super().__init__(local_hostname=server.sender.rpartition("@")[2], timeout=server.seconds)
        self._host = server.host  # what the certificate must name
        self._lay = lay

    def _get_socket(self, *_: object) -> socket.socket:
        return self._lay()


class _Unfit(Exception):
    """The server cannot do what the settings ask for."""


def _fault(error: Exception) -> Fault:
    match error:
        case _Unfit():
            return Fault(str(error))
        case smtplib.SMTPRecipientsRefused():
            (code, _), *_ = error.recipients.values()
            return Fault(f"the server refused the recipient ({code})", retryable=code not in _FOR_GOOD)
        case smtplib.SMTPDataError():
            code = error.smtp_code
            return Fault(f"the server refused the mail ({code})", retryable=code not in _FOR_GOOD)
        case smtplib.SMTPNotSupportedError():
            return Fault("the server takes no address in such letters", retryable=False)
    # A setting is wrong, or something is out of order: no mail shall be lost for that.
    shown = f" ({error.smtp_code})" if isinstance(error, smtplib.SMTPResponseException) else ""
    reasons = (reason + shown for kind, reason in _REASONS if isinstance(error, kind))
    return Fault(next(reasons, None) or connect_reason(error))


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "the server refused the user name or the password"),
    (smtplib.SMTPSenderRefused, "the server refused the sender"),
    (smtplib.SMTPServerDisconnected, "the connection was cut"),
    (smtplib.SMTPResponseException, "the server will not talk now"),
    (smtplib.SMTPException, "the server offers no login that is known here"),
    (Unresolved, "the host name cannot be resolved"),
    (UnicodeError, "the user name and the password must be ASCII"),
)


@cache
def _usual_tls() -> ssl.SSLContext:
    return ssl.create_default_context()
