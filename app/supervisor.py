"""`keyledger up`: every part of the service on one machine, started in order, restarted, stopped together.

It imports the standard library only, because it stays in memory beside what it starts. Whatever happens to it,
it leaves no process behind; whatever happens to a part, the part comes back; nothing that a start made
(secrets, store, logs) is touched by the next.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from app import local_redis
from app.children import Child, reap, wait_until_gone
from app.data_dir import DataDir, Unusable
from app.local_environment import of_up
from app.processes import adopt_orphans, end_strays
from app.web_address import WebAddress

READY_SECONDS = 60.0
# Who is asked to stop one after the other, and how long after the first request the last of them may be gone:
# what is left then is killed, so that all is over within five seconds.
STOP_ORDER = ((("migrate", "beat"), 1.0), (("web", "worker"), 3.6), (("redis",), 4.2))
KILL_SECONDS = 0.5
TICK_SECONDS = 0.1
# A process command that cannot start says why in lines with this beginning.
FAULT = "keyledger: "


class Interrupted(Exception):
    """The owner asked to stop before everything was up."""


def up() -> int:
    """Run until told to stop; the answer is the exit status. Every fault is one plain line on stderr."""
    os.umask(0o077)  # logs, sockets and the store are the owner's alone
    supervisor = Supervisor(dict(os.environ))  # noqa: TID251 - it passes the environment on, as it came
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # such as by nohup
            signal.signal(number, supervisor.on_signal)
    try:
        supervisor.start()
        supervisor.watch()
    except Interrupted:
        pass
    except Unusable as fault:
        supervisor.stop()
        for line in str(fault).splitlines():
            sys.stderr.write((line if line.startswith((FAULT, "  ")) else FAULT + line) + "\n")
        return 1
    except BaseException:
        supervisor.stop()
        raise
    supervisor.stop()
    return 0


class Supervisor:
    """The parts of one running service."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._given = {name: value for name, value in environment.items() if value.strip()}
        self._environment = dict(self._given)
        self._data = DataDir.of(self._given)
        self._children: list[Child] = []
        self._signals = 0
        self._began = time.monotonic()
        self._redis_is_ours = "REDIS_URL" not in self._given
        self._redis_is = "as REDIS_URL says"
        self._address = WebAddress("127.0.0.1", 0)

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    # --- start -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up; raises Unusable or Interrupted."""
        self._data.open()
        _say(f"data       {self._data.path}")
        adopt_orphans()
        for stray in end_strays(self._data.running):
            _say(f"ended      {stray}, left over from an earlier run")
        self._data.rotate_logs()
        self._settle_environment()
        self._address.check_free()
        if self._redis_is_ours:
            self._start_redis()
        self._migrate()
        if self._redis_is_ours:
            self._wait("redis", lambda: local_redis.answers(self._data))
        _say("starting   web, worker, beat")
        for name in ("web", "worker", "beat"):
            self._start(name, [sys.executable, "-m", "app.cli", name])
        self._wait_until_ready()
        self._introduce()

    def _settle_environment(self) -> None:
        """Fill in what was not given; the children parse and check the whole."""
        environment = self._environment = of_up(self._given, self._data)
        environment.setdefault("KEYLEDGER_HOST", "127.0.0.1")
        environment.setdefault("PORT", "4000")
        # Nothing balances load before this machine, so nothing needs time to notice that it stops.
        environment.setdefault("KEYLEDGER_DRAIN_SECONDS", "0")
        environment["PYTHONUNBUFFERED"] = "1"
        self._address = WebAddress.parse(environment["KEYLEDGER_HOST"], environment["PORT"])

    def _start_redis(self) -> None:
        server, origin = local_redis.find_server()
        self._redis_is = f"{origin}, {self._data.socket('redis')}"
        _say(f"redis      {origin}")
        # A server needs no secret of ours.
        kept = {name: value for name, value in self._given.items() if name in {"PATH", "LANG", "TMPDIR"}}
        self._start("redis", local_redis.command(server, self._data), kept)

    def _migrate(self) -> None:
        """Bring the schema up to date; as the first child to parse the settings it also reports their faults."""
        _say("migrating  the store")
        child = self._start("migrate", [sys.executable, "-m", "app.cli", "migrate"])
        while (status := child.exit_status()) is None:
            self._tick()
        self._children.remove(child)
        child.forget()
        if status != 0:
            raise _failed(child, status)

    def _start(self, name: str, argv: list[str], environment: dict[str, str] | None = None) -> Child:
        child = Child(
            name=name,
            argv=argv,
            environment=self._environment if environment is None else environment,
            log=lambda: self._data.log(name),
            pid_file=self._data.running / f"{name}.pid",
        )
        self._children.append(child)
        child.start()
        return child

    def _wait_until_ready(self) -> None:
        waiting = ["web", "worker", "beat"]

        def all_are_ready() -> bool:
            for name in self._address.ready_parts():
                if name in waiting:
                    waiting.remove(name)
                    _say(f"ready      {name}")
            return not waiting

        self._wait("web, worker and beat", all_are_ready)

    def _wait(self, what: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            self._tick()
            for child in self._children:
                if (status := child.exit_status()) is not None:
                    raise _failed(child, status)
            if time.monotonic() > deadline:
                raise Unusable(f"Not ready within {READY_SECONDS:.0f} s: {what}. See {self._data.logs}.")

    # --- while it runs ---------------------------------------------------------------------------------

    def watch(self) -> None:
        """Restart whatever dies, until told to stop (then raises Interrupted)."""
        while True:
            self._tick()
            with suppress(OSError):  # a full disk: it may pass
                self._data.rotate_logs()
            for child in self._children:
                if child.restart_at is None:
                    if (status := child.exit_status()) is not None:
                        _note(f"{child.name} {_ended(status)}; starting it again in {child.plan_restart():g} s")
                elif time.monotonic() >= child.restart_at:
                    self._restart(child)

    def _restart(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:  # a full disk, no more processes: it may pass
            delay = child.plan_restart()
            _note(f"{child.name} cannot be started ({error.strerror}); trying again in {delay:g} s")
        else:
            _note(f"{child.name} started again (pid {child.pid})")

    def _tick(self) -> None:
        if self._signals:
            raise Interrupted
        time.sleep(TICK_SECONDS)
        reap(self._children)

    # --- stop ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop every part, beat first and Redis last, and kill what does not follow in time.

        A second signal kills at once.
        """
        if not all(child.is_gone() for child in self._children):
            _say("stopping   (Ctrl-C again: at once)")
            self._stop_in_order()
            _say("stopped")
        for child in self._children:
            child.forget()
        self._data.close()

    def _stop_in_order(self) -> None:
        began, signals = time.monotonic(), self._signals
        for names, until_seconds in STOP_ORDER:
            stopping = [child for child in self._children if child.name in names]
            for child in stopping:
                child.terminate()
            wait_until_gone(
                stopping,
                self._children,
                lambda: self._signals > signals or time.monotonic() > began + until_seconds,  # noqa: B023
            )
        for child in self._children:
            if not child.is_gone():
                _say(f"killed     {child.name} (pid {child.pid}), which had not stopped")
                child.kill()
        killed = time.monotonic()
        wait_until_gone(self._children, self._children, lambda: time.monotonic() > killed + KILL_SECONDS)

    # --- words -----------------------------------------------------------------------------------------

    def _introduce(self) -> None:
        """Say what runs where, and one command that works when pasted: the only place that shows the key."""
        address = self._address.url
        pids = {child.name: f"pid {child.pid}" for child in self._children}
        given = "KEYLEDGER_MASTER_KEY" in self._given or "LITELLM_MASTER_KEY" in self._given
        master = "as the environment says" if given else str(self._data.secret_path("master-key"))
        store = "as DATABASE_URL says" if "DATABASE_URL" in self._given else f"SQLite, {self._data.database}"
        authorization = shlex.quote(f"Authorization: Bearer {self._environment['KEYLEDGER_MASTER_KEY']}")
        _say(f"""
Keyledger is ready after {time.monotonic() - self._began:.1f} s.

  web         {address} (documentation: {address}/docs), {pids["web"]}
  worker      queues jobs and deliveries, {pids["worker"]}
  beat        sends the jobs on time, {pids["beat"]}
  redis       {", ".join([self._redis_is, *([pids["redis"]] if "redis" in pids else [])])}
  store       {store}
  data        {self._data.path}
  logs        {self._data.logs}
  master key  {master}

Make a key:

  curl -s {address}/key/generate -H {authorization} -H 'Content-Type: application/json' -d '{{"duration": "30d"}}'

Ctrl-C stops everything.
""")


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads any more: that is no reason to stop
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _note(text: str) -> None:
    _say(time.strftime("%H:%M:%S ") + text)


def _failed(child: Child, status: int) -> Unusable:
    """What to say of a part that ended while everything was being started."""
    words = child.last_words()
    faults = [line for line in words if line.startswith(FAULT)]
    if faults:
        return Unusable("\n".join(faults))
    tail = "".join(f"\n  {line}" for line in words)
    return Unusable(f"{child.name} {_ended(status)} at its start. The end of its log:{tail}")


def _ended(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
