"""What the kernel is asked about processes: whose child dies with whom, and who is who.

A child dies with its parent even when the parent is killed -9: on Linux the kernel sees to it, and on every
system a noted identity lets the next start end what was left over, and nothing else.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that they can be collected."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def dying_with_parent() -> Callable[[], None]:
    """Prepare what a new process calls in itself to be killed when the process that prepared it is gone.

    Killed, not asked: nobody is left who could wait for a slow end, and every part survives a kill -9 unharmed.
    All is looked up here, before the fork: between fork and exec nothing may be imported or locked.
    """
    if sys.platform != "linux":
        return lambda: None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return ask_the_kernel


def die_with_parent() -> None:
    """Let the kernel kill this process as soon as its parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def end_strays(folder: Path, patience_seconds: float = 3.0) -> list[str]:
    """End the processes that an earlier run has noted in pid files and left behind, and name them.

    A pid alone proves nothing: it counts only when the process also has the start that was noted.
    """
    ended = []
    for pid_file in sorted(folder.glob("*.pid")):
        pid_text, _, noted = pid_file.read_text().partition(" ")
        if pid_text.isdecimal() and noted and identity(int(pid_text)) == noted:
            _end(int(pid_text), patience_seconds)
            ended.append(f"{pid_file.stem} (pid {pid_text})")
        pid_file.unlink()
    return ended


def _end(leader: int, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)
    while identity(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_group(leader)


def kill_group(leader: int) -> None:
    """Kill every process of a group; one that is gone already is no fault."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(leader, signal.SIGKILL)


def group_exists(leader: int) -> bool:
    """Whether anything, dead but uncollected processes included, is left of a group."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def identity(pid: int) -> str | None:
    """Tell a process from every other that ever has its pid; None when it is gone or dead."""
    if sys.platform != "linux":
        command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        return started.stdout.strip() or None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, started_at = fields[0], fields[19]
    return None if state == "Z" else f"{boot}/{started_at}"
