"""One at a time among the processes of a worker's pool, whatever becomes of the one whose turn it is.

The lock is the kernel's: it goes with the process that holds it, however that ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Turn:
    """A lock on a file without a name, which the pool's processes inherit from the worker."""

    def __init__(self) -> None:
        self._file: int | None = None

    def open(self, **_: Any) -> None:
        """Make the file; to be called before the pool forks."""
        with tempfile.TemporaryFile() as file:
            self._file = os.dup(file.fileno())  # it lives as long as the worker

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Whether it is this process's turn, which then lasts until the block ends; waits for nobody.

        Where no pool was forked there is nobody else.
        """
        if self._file is None:
            yield True
            return
        try:
            # Of POSIX's kind: the file is shared through the fork, the lock belongs to one process.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
