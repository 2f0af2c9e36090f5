"""Keys that a mail is to hold: sealed with the invitation, until the mail is sent or its day is over.

Like the new secret of a scheduled rotation, such a key can be read again for a while, and only where a setting
allows that.
"""

from collections.abc import Mapping
from typing import Any

from app.domain.minting import Secret
from app.services.events.delivery import SEALED
from app.services.sealing.sealing import Sealer


class MailedKeys:
    """`allowed` says whether a mail may hold a key at all."""

    def __init__(self, sealer: Sealer, *, allowed: bool) -> None:
        self._sealer = sealer
        self._allowed = allowed

    def sealed(self, secret: Secret, sent: Mapping[str, Any]) -> str | None:
        """What goes along with the request's events: None unless it asks for a mail that may hold the key."""
        if not self._allowed or not sent.get("send_invite_email"):
            return None
        return self._sealer.seal(SEALED, secret.reveal())
