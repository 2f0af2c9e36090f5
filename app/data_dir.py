"""The data directory of one machine: its lock, its two secrets, its logs and sockets.

One `keyledger up` at a time holds a data directory. What is kept here is private to its owner from the first
instant of its existence: the directory is made 0700, every file is created 0600 and filled before it gets its
name, so that no crash leaves half a secret behind.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

# The kernel allows 107 bytes for the address of a Unix socket; servers add a suffix while they bind.
LONGEST_SOCKET_PATH = 90
LOG_LIMIT_BYTES = 10 * 1024 * 1024


class Unusable(Exception):
    """Something on this machine keeps the service from starting; the text says it in one plain line."""


class DataDir:
    """Paths and private files below one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._has_short = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The one that an environment names, else that of the present directory."""
        return cls(Path(environment.get("KEYLEDGER_DATA_DIR", ".keyledger").strip()))

    @property
    def database(self) -> Path:
        return self.path / "keyledger.sqlite3"

    @property
    def logs(self) -> Path:
        return self.path / "log"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def running(self) -> Path:
        return self.path / "run"

    def secret_path(self, name: str) -> Path:
        return self.path / name

    def open(self) -> None:
        """Make the directory and take its lock for the life of this process; raises Unusable."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.logs, self.redis, self.running):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unusable(f"The data directory {self.path} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            raise Unusable(
                f"Another `keyledger up` (pid {holder}) already runs on the data directory {self.path}."
            ) from error
        os.ftruncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())

    def secret(self, name: str, prefix: str = "") -> str:
        """Read the secret kept under `name`, made on the first call; raises Unusable."""
        path = self.secret_path(name)
        try:
            if not path.exists():
                _write_private(path, prefix + secrets.token_urlsafe(32) + "\n")
            kept = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{path} cannot be read or written: {error}.") from error
        if not kept:
            raise Unusable(f"{path} is empty: put the secret back, or remove the file to make a new one.")
        return kept

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self.logs / f"{name}.log"

    def rotate_logs(self) -> None:
        """Move what logs have grown past 10 MB aside as `.1`; raises OSError.

        Their writers keep the files open and go on at the end: a file stays where it is, and is emptied. What is
        written in that very moment may be lost.
        """
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > LOG_LIMIT_BYTES:
                former = os.open(path.with_suffix(".log.1"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with path.open("rb") as log, os.fdopen(former, "wb") as copy:
                    shutil.copyfileobj(log, copy)
                os.truncate(path, 0)

    def socket(self, name: str) -> Path:
        """Where a Unix socket goes: here, or in a short private directory when the path would be too long."""
        path = self.redis / f"{name}.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        folder = _private_directory(self._short)
        self._has_short = True
        return folder / path.name

    def close(self) -> None:
        """Take away what lies outside of the directory, once nothing uses it."""
        if self._has_short:
            for left in self._short.glob("*.sock"):  # by a server that was killed
                left.unlink()
            self._short.rmdir()
            self._has_short = False

    @property
    def _short(self) -> Path:
        tag = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"keyledger-{os.getuid()}-{tag}"


def _write_private(path: Path, text: str) -> None:
    """Create `path` whole or not at all; it is readable by its owner only at every instant."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _private_directory(path: Path) -> Path:
    """Others may write to the parent: the directory is used only when it is ours and closed to them."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004
        raise Unusable(f"{path} is needed for a socket, but is not a directory of our own with mode 0700.")
    return path
