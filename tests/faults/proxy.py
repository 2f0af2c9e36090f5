"""A TCP proxy in front of Redis: the place where a test decides what happens between two commands.

It knows where one command ends and the next begins, so a test can act at an exact point of a writer's work
(before its mark, between commit and publication) without touching the writer: let it wait, cut it off, or let
the command vanish while the process is killed.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Self

from app.store.connection import Script

CHUNK = 64 * 1024

Command = list[bytes]
# Called before a command goes on (`watch`) or before its answer goes back (`watch_answer`), in a thread of its
# connection: it may wait, act, or raise Cut.
Watch = Callable[[Command], None]


class Cut(Exception):
    """The command does not reach the server; its connection ends."""


def runs(command: Command, script: Script) -> bool:
    """Whether a command runs this script, by its digest or in full."""
    return command[1:2] in ([script.digest.encode()], [script.source.encode()])


class RedisProxy:
    """Between one process (or several) and the Redis at `port`; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._away = Event()
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[Thread] = []
        self.watch: Watch | None = None
        self.watch_answer: Watch | None = None
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), "a thread of the proxy does not end"

    def cut(self) -> None:
        """End every connection and, until `join`, each new one as well."""
        self._away.set()
        with self._lock:
            for end in self._open:
                _hang_up(end)

    @contextmanager
    def holding(self, chosen: Callable[[Command], bool]) -> Iterator[None]:
        """Let the chosen commands wait until the end of the block."""
        passed = Event()

        def wait(command: Command) -> None:
            if chosen(command):
                passed.wait(10)

        self.watch = wait
        try:
            yield
        finally:
            self.watch = None
            passed.set()

    def join(self) -> None:
        """Pass everything on again."""
        self._away.clear()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            ends = {client, server}
            with self._lock:
                self._open |= ends
            if self._away.is_set():
                _hang_up(client)
            asked: list[Command] = [[]]
            back = Thread(target=self._answer, args=(server, client, asked), daemon=True)
            back.start()
            self._forward(client, server, asked)
            back.join()
            with self._lock:
                self._open -= ends

    def _forward(self, client: socket.socket, server: socket.socket, asked: list[Command]) -> None:
        with suppress(OSError, Cut):
            for raw, command in _commands(client):
                if self.watch is not None:
                    self.watch(command)
                asked[0] = command
                server.sendall(raw)
        _hang_up(client)
        _hang_up(server)

    def _answer(self, server: socket.socket, client: socket.socket, asked: list[Command]) -> None:
        """Our clients wait for each answer, so what comes back belongs to the last command."""
        with suppress(OSError, Cut):
            while data := server.recv(CHUNK):
                if self.watch_answer is not None:
                    self.watch_answer(asked[0])
                client.sendall(data)
        _hang_up(client)
        _hang_up(server)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _commands(client: socket.socket) -> Iterator[tuple[bytes, Command]]:
    """Each whole command that comes in, as sent and in its parts."""
    pending = b""
    while data := client.recv(CHUNK):
        pending += data
        while (parsed := _parse(pending)) is not None:
            command, length = parsed
            yield pending[:length], command
            pending = pending[length:]


def _parse(data: bytes) -> tuple[Command, int] | None:
    """The first command (`*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n`) and its length; None while it is not whole."""
    end = data.find(b"\r\n")
    if end < 0:
        return None
    position, command = end + 2, []
    for _ in range(int(data[1:end])):
        end = data.find(b"\r\n", position)
        if end < 0:
            return None
        start, length = end + 2, int(data[position + 1 : end])
        position = start + length + 2
        if position > len(data):
            return None
        command.append(data[start : start + length])
    return command, position
