"""Sealing: secrets that must be used again later are stored encrypted under a key that SQL never sees.

The key is derived from the salt key. A sealed text says by which key it was sealed, so that values of the old
and of the new salt key can stand side by side while a rotation is under way. It is bound to the name of what it
is (a copied row still opens, but a secret moved under another name does not), never to the row.
"""

import base64
import secrets
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.domain.callbacks import SEALED_PREFIX
from app.domain.masking import is_secret_name
from app.domain.minting import Secret

_VERSION = "1"
_KEY_BYTES = 32
_ID_BYTES = 6
_NONCE_BYTES = 12
_INFO = b"keyledger sealing 1"


class CannotOpen(Exception):
    """A sealed text that no key at hand opens; says why, never what."""


class Sealer:
    """Seals with the salt key; opens what that or the previous one has sealed."""

    def __init__(self, salt_key: Secret, previous: Secret | None = None) -> None:
        self._current = _Key(salt_key)
        self._keys = {key.id: key for key in (self._current, *([_Key(previous)] if previous else []))}

    @property
    def key_id(self) -> str:
        """Which key seals: it tells two keys apart and nothing else about them."""
        return self._current.id

    def seal(self, name: str, plaintext: str) -> str:
        """The text to store for the secret of this name; sealed again, it is another text."""
        return f"{SEALED_PREFIX}{_VERSION}:{self._current.id}:{self._current.seal(name, plaintext)}"

    def open(self, name: str, sealed: str) -> str:
        """The secret in a stored text; a text that was never sealed is itself. Raises CannotOpen."""
        if not is_sealed(sealed):
            return sealed
        version, _, rest = sealed.removeprefix(SEALED_PREFIX).partition(":")
        key_id, _, payload = rest.partition(":")
        if version != _VERSION:
            raise CannotOpen("it was sealed by a newer version of this service")
        if key_id not in self._keys:
            raise CannotOpen("it was sealed with another salt key")
        return self._keys[key_id].open(name, payload)

    def opened(self, variables: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a callback as its destination needs them; raises CannotOpen.

        A row that was written elsewhere may hold what is no text: that is left out.
        """
        return {
            name: self.open(name, value) if is_secret_name(name) else value
            for name, value in variables.items()
            if isinstance(value, str)
        }

    def holds(self, name: str, sealed: str, plaintext: str) -> bool:
        """Whether a stored text is this very secret, sealed."""
        try:
            return is_sealed(sealed) and secrets.compare_digest(
                self.open(name, sealed).encode(), plaintext.encode()
            )
        except CannotOpen:
            return False

    def reseal(self, name: str, stored: str) -> str:
        """The stored text under the present salt key; what is so already, stays. Raises CannotOpen."""
        if stored.startswith(f"{SEALED_PREFIX}{_VERSION}:{self._current.id}:"):
            return stored
        return self.seal(name, self.open(name, stored))


def is_sealed(text: str) -> bool:
    return text.startswith(SEALED_PREFIX)


class _Key:
    def __init__(self, salt_key: Secret) -> None:
        derived = HKDF(hashes.SHA256(), _KEY_BYTES + _ID_BYTES, salt=None, info=_INFO).derive(
            salt_key.reveal().encode()
        )
        self._cipher = AESGCM(derived[:_KEY_BYTES])
        self.id = derived[_KEY_BYTES:].hex()

    def seal(self, name: str, plaintext: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plaintext.encode(), name.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, name: str, payload: str) -> str:
        try:
            data = base64.urlsafe_b64decode(payload)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], name.encode()).decode()
        except (NotBase64, InvalidTag, ValueError) as error:
            raise CannotOpen("it is damaged, or belongs to another name") from error
