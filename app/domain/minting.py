"""Secrets: how a key is made, recognised, stored and shown.

Only the digest of a key and its masked name ever leave this process, apart from the one answer that reveals
it. The format (`sk-`, SHA-256 hex, `sk-...abcd`) is LiteLLM's, so that imported tables and clients keep working.
"""

import hashlib
import hmac
import re
import secrets

PREFIX = "sk-"
MINIMUM_CUSTOM_LENGTH = 16
MAXIMUM_CUSTOM_LENGTH = 256
# 16 random bytes: 128 bits, out of reach of guessing, so a fast digest is enough at rest.
RANDOM_BYTES = 16

_KEY = re.compile(r"sk-[A-Za-z0-9_-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Secret:
    """A plaintext that cannot be printed, logged or serialised by accident; `reveal()` is the only way out."""

    __slots__ = ("_plaintext",)

    def __init__(self, plaintext: str) -> None:
        self._plaintext = plaintext

    def reveal(self) -> str:
        return self._plaintext

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not serialised")


def mint() -> Secret:
    """Make a new random key: `sk-` and 22 URL-safe characters."""
    return Secret(PREFIX + secrets.token_urlsafe(RANDOM_BYTES))


def digest(plaintext: str) -> str:
    """The SHA-256 hex under which a key is stored."""
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).hexdigest()


def token_of(reference: str) -> str:
    """The stored token that a request's key reference means: a plaintext is hashed, a hash is itself."""
    return digest(reference) if reference.startswith(PREFIX) else reference


def is_reference(reference: str) -> bool:
    """Whether the text can name a key at all: a well-formed plaintext or a digest."""
    return bool(_KEY.fullmatch(reference) or _DIGEST.fullmatch(reference))


def fault_of_custom_key(plaintext: str) -> str | None:
    """Why a caller's own choice of key is refused, or None when it is acceptable."""
    if not plaintext.startswith(PREFIX):
        return f"Invalid key format. A custom key must start with '{PREFIX}'."
    if not MINIMUM_CUSTOM_LENGTH <= len(plaintext) <= MAXIMUM_CUSTOM_LENGTH:
        return (
            f"Invalid key format. A custom key must have {MINIMUM_CUSTOM_LENGTH} "
            f"to {MAXIMUM_CUSTOM_LENGTH} characters."
        )
    if not _KEY.fullmatch(plaintext):
        return "Invalid key format. A custom key may hold letters, digits, '-' and '_' only."
    return None


def key_name(plaintext: str) -> str:
    """The masked name that is stored and shown: the last four characters of a key that is long enough."""
    return f"{PREFIX}...{plaintext[-4:]}" if len(plaintext) >= MINIMUM_CUSTOM_LENGTH else f"{PREFIX}..."


def same(one: str, other: str) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(one, other)
