"""Looking for plaintext keys where none may be: stores, logs, process arguments, answers.

Every key that a test makes is remembered for the whole run. What looks like a key in some bytes (as it is, percent-
encoded, JSON-escaped, or inside base64 at any alignment) is compared with those; nothing is searched for key by
key, and what cannot be a key is passed over at the speed of a search for three letters.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from redis import Redis

_PREFIX = b"sk-"
_SHORTEST = 16
# A custom key may have so many characters.
_LONGEST = 256
# A request may carry a key here; anywhere else it is data that the caller wants stored and shown.
_CREDENTIALS = frozenset({"key", "keys", "new_key"})
# The answers that reveal a key, in their field `key`.
_REVEALING = re.compile(r"/key/generate|/key/service-account/generate|/key/(.+/)?regenerate|/user/new")

_KEY = re.compile(rb"sk-(?=[A-Za-z0-9_-])")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"\\+u00([0-9A-Fa-f]{2})")
# "sk-" in base64, by how many bytes stand before it in its group of three; and the letters, of no meaning, that
# complete the group before what is matched.
_BASE64 = (
    (re.compile(rb"c2st[A-Za-z0-9+/_-]+"), b"", 0),
    (re.compile(rb"NrL[S-X][A-Za-z0-9+/_-]+"), b"AH", 1),
    (re.compile(rb"zay[01][A-Za-z0-9+/_-]+"), b"AAB", 2),
)
_LONGEST_BASE64 = (_LONGEST + 2) * 4 // 3 + 8
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Secrets:
    """The plaintext keys of this run."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._lengths: set[int] = set()
        self._stored_by_wish: set[bytes] = set()

    def remember(self, plaintext: object) -> None:
        if isinstance(plaintext, str) and plaintext.isascii() and _SHORTEST <= len(plaintext) <= _LONGEST:
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
        found: set[bytes] = set()
        for form in _forms(data):
            for match in _KEY.finditer(form):
                found.update(self._beginning(form[match.start() : match.start() + _LONGEST]))
            for pattern, completion, skipped in _BASE64:
                for match in pattern.finditer(form):
                    found.update(self._beginning(_decoded(completion + match.group())[skipped:]))
        return found

    def stored(self, data: bytes) -> set[bytes]:
        """Those that no request asked to store."""
        return self.inside(data) - self._stored_by_wish

    def _beginning(self, text: bytes) -> Iterator[bytes]:
        """What follows a key, in a page of a database say, may look like more of it: every length is tried."""
        for length in self._lengths:
            if text[:length] in self._keys:
                yield text[:length]


def _forms(data: bytes) -> Iterator[bytes]:
    yield data
    for mark, pattern in ((b"%", _PERCENT), (b"\\u00", _ESCAPED)):
        if mark in data:
            plain = pattern.sub(lambda match: bytes([int(match.group(1), 16)]), data)
            if plain != data:
                yield plain


def _decoded(text: bytes) -> bytes:
    text = text[:_LONGEST_BASE64].translate(_URL_SAFE)
    whole = text[: len(text) - (len(text) % 4 == 1)]  # a single letter holds no byte
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


SECRETS = Secrets()


# --- places to look -------------------------------------------------------------------------------------------


def in_files(paths: Iterable[Path], secrets: Secrets = SECRETS) -> set[bytes]:
    """Files as they lie on the disk: a store with its WAL, a log, an append-only file."""
    found: set[bytes] = set()
    for path in paths:
        with suppress(OSError):  # a file of a running server that is gone again
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
            found |= secrets.stored(name)
            for text in _texts(_value(client, name)):
                found |= secrets.stored(text)
    return found


def _value(client: Any, name: bytes) -> Any:
    readers: dict[bytes, Callable[[], Any]] = {
        b"string": lambda: client.get(name),
        b"hash": lambda: client.hgetall(name),
        b"list": lambda: client.lrange(name, 0, -1),
        b"set": lambda: client.smembers(name),
        b"zset": lambda: client.zrange(name, 0, -1),
        b"stream": lambda: client.xrange(name),
        b"none": lambda: None,  # it has ended meanwhile
    }
    return readers[client.type(name)]()


def _texts(value: Any) -> Iterator[bytes]:
    """Every piece of text in a value, however deep."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Iterable):
        for part in (*value, *value.values()) if isinstance(value, Mapping) else value:
            yield from _texts(part)


def in_arguments(secrets: Secrets = SECRETS) -> set[bytes]:
    """The command lines of every process of this machine."""
    found: set[bytes] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found |= secrets.inside(path.read_bytes())
    return found


def in_request(path: str, headers: Mapping[str, str], body: bytes, secrets: Secrets = SECRETS) -> set[bytes]:
    """What was sent to an address outside; no request out there may hold a key, whoever asked for it."""
    return secrets.inside(path.encode()) | secrets.inside(repr(headers).encode()) | secrets.inside(body)


def in_mail(mail: EmailMessage, secrets: Secrets = SECRETS) -> set[bytes]:
    """Headers and parts as they are read, whatever they were encoded in on the way."""
    texts = [*(f"{name}: {value}" for name, value in mail.items())]
    texts += [part.get_content() for part in mail.walk() if not part.is_multipart()]
    return secrets.inside("\n".join(texts).encode())


def in_answer(
    path: str, asked: bytes, status: int, headers: str, body: bytes, secrets: Secrets = SECRETS
) -> set[bytes]:
    """What an answer tells against the rules; the key that it reveals by them is remembered.

    A success may repeat what was `asked`: path, query and body, but not the caller's own credential. An error
    and a header may repeat nothing.
    """
    if status == 200 and _REVEALING.fullmatch(path.partition("?")[0]):
        body = _without_the_revealed(body, secrets)
    repeated = secrets.inside(path.encode()) | secrets.inside(asked) if status < 400 else set()
    return (secrets.inside(body) - repeated) | secrets.inside(headers.encode())


def _without_the_revealed(body: bytes, secrets: Secrets) -> bytes:
    answer = json.loads(body)
    secrets.remember(answer.pop("key", None))
    return json.dumps(answer).encode()
