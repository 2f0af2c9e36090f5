"""Where the web process of this machine listens, seen from outside it: is the port free, is the service ready."""

import errno
import http.client
import json
import socket
from dataclasses import dataclass

from app.data_dir import Unusable

HIGHEST_PORT = 65535
PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A host to listen on, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, host: str, port: str) -> "WebAddress":
        """Build it from settings; a port that makes no sense becomes 0, for the children to report."""
        number = int(port) if port.strip().isdecimal() else 0
        return cls(host.strip(), number if number <= HIGHEST_PORT else 0)

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        host = self._reachable()
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def check_free(self) -> None:
        """Raise Unusable unless a server could listen here now."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            where = f"Port {self.port} on {self.host}"
            if error.errno == errno.EADDRINUSE:
                raise Unusable(f"{where} is already in use: choose another with PORT.") from error
            raise Unusable(f"{where} cannot be used: {error.strerror}.") from error

    def ready_parts(self) -> set[str]:
        """Which of web, worker and beat the service's own readiness report calls ready."""
        connection = http.client.HTTPConnection(self._reachable(), self.port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", "/health/readiness")
            answer = connection.getresponse()
            report = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            return set()
        finally:
            connection.close()
        ready = {part for part in ("worker", "beat") if report.get(part, {}).get("state") == "alive"}
        return ready | {"web"} if answer.status == http.HTTPStatus.OK else ready

    def _reachable(self) -> str:
        """A wildcard is an address to listen on, not one to call."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
