"""Looking for plaintext keys where none may be: stores, logs, process arguments, answers.

Every key that a test makes is remembered for the whole run. What looks like a key in some bytes (as it is, percent-
encoded, or inside base64 at any alignment) is compared with those; nothing is searched for key by key.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from redis import Redis

_PREFIX = b"sk-"
_SHORTEST = 16
_KEY = re.compile(rb"sk-[A-Za-z0-9_-]{13,}")
_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9_.~-]){16,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
# A request may carry a key here; anywhere else it is data that the caller wants stored and shown.
_CREDENTIALS = frozenset({"key", "keys", "new_key"})


class Secrets:
    """The plaintext keys of this run."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._lengths: set[int] = set()
        self._stored_by_wish: set[bytes] = set()

    def remember(self, plaintext: object) -> None:
        if isinstance(plaintext, str) and plaintext.isascii() and len(plaintext) >= _SHORTEST:
            key = plaintext.encode()
            if key.startswith(_PREFIX):
                self._keys.add(key)
                self._lengths.add(len(key))

    def remember_request(self, body: object) -> None:
        """Take the keys out of a request; one that is also sent as plain data may be found in the stores."""
        if not isinstance(body, dict):
            return
        for name, value in body.items():
            if name in _CREDENTIALS:
                for plaintext in value if isinstance(value, list) else [value]:
                    self.remember(plaintext)
        data = {name: value for name, value in body.items() if name not in _CREDENTIALS}
        self._stored_by_wish |= self.inside(json.dumps(data, default=str).encode())

    def inside(self, data: bytes) -> set[bytes]:
        """The remembered keys that these bytes hold, in any of their forms."""
        found = set(self._plain(data))
        if b"%" in data:
            for match in _PERCENT.finditer(data):
                if b"%" in match.group():
                    found.update(self._plain(unquote_to_bytes(match.group())))
        for match in _BASE64.finditer(data):
            for decoded in _decoded(match.group()):
                if _PREFIX in decoded:
                    found.update(self._plain(decoded))
        return found

    def stored(self, data: bytes) -> set[bytes]:
        """Those that no request asked to store."""
        return self.inside(data) - self._stored_by_wish

    def _plain(self, data: bytes) -> Iterator[bytes]:
        for match in _KEY.finditer(data):
            text = match.group()
            for length in self._lengths:
                if text[:length] in self._keys:
                    yield text[:length]


def _decoded(text: bytes) -> Iterator[bytes]:
    """A run of base64 letters read from each of its four possible beginnings."""
    plain = text.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    for start in range(4):
        part = plain[start:]
        if len(part) % 4 == 1:
            part = part[:-1]  # no byte needs it
        try:
            yield base64.b64decode(part + b"=" * (-len(part) % 4))
        except binascii.Error:
            continue


SECRETS = Secrets()


# --- places to look -------------------------------------------------------------------------------------------


def in_files(paths: Iterable[Path], secrets: Secrets = SECRETS) -> set[bytes]:
    """Files as they lie on the disk: a store with its WAL, a log, an append-only file."""
    found: set[bytes] = set()
    for path in paths:
        if path.is_file():
            found |= secrets.stored(path.read_bytes())
    return found


def in_sqlite(database: Path, secrets: Secrets = SECRETS) -> set[bytes]:
    return in_files(database.parent.glob(database.name + "*"), secrets)


def in_folder(folder: Path, secrets: Secrets = SECRETS) -> set[bytes]:
    return in_files(folder.rglob("*"), secrets)


def in_redis(url: str, secrets: Secrets = SECRETS) -> set[bytes]:
    """Every name and value, whatever its type."""
    found: set[bytes] = set()
    with Redis.from_url(url) as client:
        for name in client.scan_iter(count=1000):
            found |= secrets.stored(name) | secrets.stored(_value(client, name))
    return found


def _value(client: Any, name: bytes) -> bytes:
    readers = {
        b"string": lambda: client.get(name),
        b"hash": lambda: client.hgetall(name),
        b"list": lambda: client.lrange(name, 0, -1),
        b"set": lambda: client.smembers(name),
        b"zset": lambda: client.zrange(name, 0, -1),
    }
    value = readers[client.type(name)]()
    return value if isinstance(value, bytes) else repr(value).encode()


def in_arguments(secrets: Secrets = SECRETS) -> set[bytes]:
    """The command lines of every process of this machine."""
    found: set[bytes] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found |= secrets.inside(path.read_bytes())
        except OSError:
            continue  # it has ended
    return found


def in_answer(request: bytes, revealed: object, answer: bytes, secrets: Secrets = SECRETS) -> set[bytes]:
    """What an answer tells beyond the key that it reveals and what the request itself held."""
    own = {revealed.encode()} if isinstance(revealed, str) else set()
    return secrets.inside(answer) - secrets.inside(request) - own
