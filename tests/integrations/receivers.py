"""The other end of an outgoing call: a small HTTP server over a real socket, which answers as a test tells it to."""

import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Self

from tests import leaks

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# What is sent back: whole bytes, or whatever a function does with the connection.
Answer = bytes | Callable[[socket.socket], None]


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """A whole HTTP answer; a body that is no bytes is JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    fields = {"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + content


def silence(connection: socket.socket) -> None:
    """Say nothing until the other end has had enough."""
    connection.settimeout(PATIENCE_SECONDS)
    with suppress(OSError):
        while connection.recv(4096):
            pass


def cut(connection: socket.socket) -> None:
    """Begin an answer and hang up in its middle."""
    connection.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 1000\r\n\r\nfew")


def reset(connection: socket.socket) -> None:
    """Begin an answer and drop the connection without a word."""
    connection.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 1000\r\n\r\nfew")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def endless(connection: socket.socket) -> None:
    """An answer that never ends, for as long as it is listened to."""
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")


def dripping(connection: socket.socket) -> None:
    """Headers, a byte at a time: never silent for long, never done."""
    waiter = Event()
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 Said\r\n")
        while True:
            connection.sendall(b"x")
            waiter.wait(0.05)


@dataclass
class Receiver:
    """Listens on loopback and answers each request with `reply`, or by what `routes` says of its path."""

    reply: Answer = field(default_factory=lambda: answer(200))
    routes: dict[str, Answer | Callable[[Received], Answer]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._lock = Lock()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self._threads: list[Thread] = []
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.received]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a receiver does not end"
        told = [leaks.in_request(each.path, each.headers, each.body) for each in self.received]
        assert not any(told), "a plaintext key was sent out"

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        with suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                request = _read(connection)
                if request is None:
                    return
                with self._lock:
                    self.received.append(request)
                chosen: Any = self.routes.get(request.path.partition("?")[0], self.reply)
                if callable(chosen) and chosen not in _ENDS:
                    chosen = chosen(request)
                if callable(chosen):
                    chosen(connection)
                else:
                    connection.sendall(chosen)


_ENDS = (silence, cut, reset, endless, dripping)


def _read(connection: socket.socket) -> Received | None:
    """One request with a Content-Length; None for anything else, and where the other end hangs up early."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk or not (data + chunk)[:1].isalpha():
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    method, path, _ = first.split(" ")
    return Received(method, path, headers, body)


def closed_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
