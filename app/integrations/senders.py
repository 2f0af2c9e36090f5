"""How the engine of deliveries sees a channel: one sender for each kind of target."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.domain.deliveries import Claimed
from app.integrations.destinations import DeliveryResult


class Sender(Protocol):
    """Sends to the targets of one kind; `most` deliveries of a target are claimed for it at a time."""

    @property
    def most(self) -> int: ...

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        """Send to one target (`slack:0`, `mail` …); the results by delivery id, never raises.

        A delivery without a result is untouched and claimed again at once: after the fence's seconds nothing new
        is begun. Called from several threads at once, each with another target. A repeat sends again.
        """
