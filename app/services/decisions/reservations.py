"""Reservations as callers hold them: signed, so that what comes back is what was promised."""

import hashlib
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from app.domain.minting import Secret
from app.domain.reservations import Reservation, unpacked
from app.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Subject:
    """Which call is meant: by its reservation, or by its request id and its key, as a plaintext or a hash."""

    reservation_id: str | None = None
    request_id: str | None = None
    key: str | None = None


class Reservations:
    """`previous_salt_key` is accepted as well, for calls that are under way while the salt key changes."""

    def __init__(self, salt_key: Secret, previous_salt_key: Secret | None) -> None:
        keys = [key.reveal() for key in (previous_salt_key, salt_key) if key is not None]
        self._serializer = URLSafeSerializer(
            keys, salt="keyledger.reservation", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def sign(self, reservation: Reservation) -> str:
        signed = self._serializer.dumps(reservation.packed())
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, reservation_id: str) -> Reservation:
        """The reservation behind an id; raises InvalidRequest unless this service has signed it."""
        try:
            return unpacked(self._serializer.loads(reservation_id))
        except (BadData, KeyError, TypeError, ValueError) as error:
            raise InvalidRequest(
                "reservation_id is none that this service has given.", "reservation_id"
            ) from error
