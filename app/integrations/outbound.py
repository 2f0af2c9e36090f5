"""The one way out to an address that a key's owner has set.

A host is resolved once; every address found is judged, and the connection goes to one of those very addresses,
so that a second answer of the name server decides nothing. No redirect is followed, no proxy used, and one
deadline bounds all requests of a delivery together, however slowly the other end drips. What goes wrong is a
short reason, never an exception, and never holds what was sent or received.
"""

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import orjson

from app.clock import Clock, SystemClock
from app.domain.outbound import Address, Allowance, UnusableUrl, parse, refusal

# Headers that decide what a request is and where it ends: nobody else sets these.
OUR_HEADERS = frozenset(
    {"host", "user-agent", "accept-encoding", "connection", "content-length", "transfer-encoding", "te", "trailer"}
    | {"upgrade", "expect", "keep-alive", "proxy-authorization", "proxy-connection"}
)
_SUCCESS = range(200, 300)
_REDIRECTS = range(300, 400)
# Too slow, too early, too often, and whatever went wrong at the other end: what another attempt may cure.
_RETRYABLE = frozenset({408, 425, 429, *range(500, 600)})

Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request: the other end's answer, or the reason why there is none that counts.

    `unsendable` says that the request is never sent as it is; `retry_after_seconds` is the wait that the other
    end asked for.
    """

    status: int | None = None
    reason: str | None = None
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    retry_after_seconds: float | None = None
    unsendable: bool = False

    @property
    def fault(self) -> str | None:
        """Why the request did not succeed; None for an answer from 200 to 299."""
        if self.reason is not None or self.status is None:
            return self.reason
        if self.status in _SUCCESS:
            return None
        return f"HTTP {self.status}" + (": redirects are not followed" if self.status in _REDIRECTS else "")

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later: by the status, or else whether it could be sent at all."""
        return not self.unsendable if self.status is None else self.status in _RETRYABLE

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object that the answer holds; empty where it holds something else."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


class TimeUp(Exception):
    """The deadline has passed."""


class Deadline:
    """Runs from its making."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    def left(self) -> float:
        """Seconds until the end; raises TimeUp past it."""
        left = self._began + self._seconds - time.monotonic()
        if left <= 0:
            raise TimeUp
        return left

    @property
    def is_over(self) -> bool:
        """Whether the end has come."""
        return time.monotonic() >= self._began + self._seconds

    @property
    def milliseconds(self) -> int:
        """How long it has run."""
        return round((time.monotonic() - self._began) * 1000)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address that the machine's resolver finds; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Fence:
    """The rules of the way out, for all deliveries of a process.

    `seconds` bounds a delivery as a whole; `tls` stands for the usual certificate authorities where it is None.
    """

    allowance: Allowance
    seconds: float
    resolve: Resolver = system_resolver
    tls: ssl.SSLContext | None = None
    clock: Clock = field(default_factory=SystemClock)

    def open(self) -> "Outbound":
        """Begin a delivery: its time runs from now."""
        return Outbound(self)


class Outbound:
    """The requests of one delivery."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._deadline = Deadline(fence.seconds)

    @property
    def milliseconds(self) -> int:
        """How long the delivery has taken so far."""
        return self._deadline.milliseconds

    def now(self) -> datetime:
        """The present instant."""
        return self._fence.clock.now()

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        return self._request("GET", url, headers, None)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return self._request("POST", url, headers, body)

    def put(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return self._request("PUT", url, headers, body)

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        from app.integrations.exchange import exchange  # noqa: PLC0415 - most processes never send anything

        try:
            target = parse(url)
            if target.address is not None:
                addresses = [target.address]
            else:
                addresses = resolved(self._fence.resolve, target.host, target.port, self._deadline)
            if reason := refusal(target, addresses, self._fence.allowance):
                return Reply(reason=f"refused: {reason}", unsendable=True)
            given = {name: value for name, value in headers.items() if name.lower() not in OUR_HEADERS}
            return exchange(target, addresses, method, given, body, self._deadline, self._fence.tls, self.now())
        except UnusableUrl as fault:
            return Reply(reason=f"refused: {fault}", unsendable=True)
        except Unresolved:
            return Reply(reason="the host name cannot be resolved")
        except TimeUp:
            return Reply(reason=f"no answer within {self._fence.seconds:g} s")


class Unresolved(Exception):
    """The name leads nowhere."""


def resolved(resolve: Resolver, host: str, port: int, deadline: Deadline) -> list[Address]:
    """Ask the resolver once, in a thread of its own: it knows no time limit. Raises Unresolved and TimeUp."""
    answers: SimpleQueue[Sequence[str]] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError):
            answers.put(())

    Thread(target=ask, daemon=True, name="resolver").start()
    try:
        found = answers.get(timeout=deadline.left())
    except Empty:
        raise TimeUp from None
    if not found:
        raise Unresolved
    # A zone names one of our own interfaces: such an address is link-local, and judged as that.
    return [ip_address(text.partition("%")[0]) for text in found]


def connect_reason(error: BaseException) -> str:
    """What lies at the bottom of a failed connection, in a few words."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection could be made"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused by the other end"
    return "no connection could be made"
