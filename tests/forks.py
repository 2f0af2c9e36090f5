"""Processes that fork from a server which has loaded everything: each takes moments, and inherits no connection.

A Python process has one such server, and loads what was said last, by whoever said it: so it is said here alone.
"""

from multiprocessing import get_context

forks = get_context("forkserver")
forks.set_forkserver_preload(
    ["tests.faults.bookkeepers", "tests.faults.mortal", "tests.services.settling_processes", "tests.loaded"]
)
