"""Work that several requests of a process need at once is done by one of them."""

from collections.abc import Callable, Hashable
from threading import Lock

# Two things that share a place only wait for each other now and then.
_PLACES = 256


class Flights:
    def __init__(self) -> None:
        self._locks = [Lock() for _ in range(_PLACES)]
        self._done = [0] * _PLACES

    def share(self, what: Hashable, work: Callable[[], object], *, seconds: float) -> None:
        """Do the work, or wait for whoever is doing it just now; whoever has waited must look for itself again.

        Waits no longer than `seconds`; nothing tells whether that was long enough.
        """
        place = hash(what) % _PLACES
        seen = self._done[place]
        if not self._locks[place].acquire(timeout=max(0.0, seconds)):
            return
        try:
            if self._done[place] == seen:
                work()
                self._done[place] += 1
        finally:
            self._locks[place].release()
