"""Work that several requests of a process need at once is done by one of them."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar

_Done = TypeVar("_Done")

# Two things that share a place only wait for each other now and then.
_PLACES = 256


class Flights:
    def __init__(self) -> None:
        self._locks = [Lock() for _ in range(_PLACES)]
        self._done = [0] * _PLACES

    def share(self, what: Hashable, work: Callable[[], _Done], *, seconds: float) -> _Done | None:
        """Do the work, or wait for whoever is doing it just now: then it is None, and one must look again oneself.

        Waits no longer than `seconds`; nothing tells whether that was long enough.
        """
        place = hash(what) % _PLACES
        seen = self._done[place]
        if not self._locks[place].acquire(timeout=max(0.0, seconds)):
            return None
        try:
            if self._done[place] != seen:
                return None
            found = work()
            self._done[place] += 1
            return found
        finally:
            self._locks[place].release()
