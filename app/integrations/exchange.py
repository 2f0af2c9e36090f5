"""One HTTP/1.1 request to an address that has been judged already.

The name stays what TLS verifies; the connection goes to the address, whatever the name would resolve to now.
"""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cache
from typing import Any

import httpcore

from app.domain.outbound import Address, Target
from app.domain.retry_after import instant_told, seconds_asked
from app.integrations.outbound import Deadline, Reply, TimeUp, connect_reason

# An answer is read for its status and a line or two: no destination has more to say.
MAXIMUM_BODY_BYTES = 256 * 1024
_WRITE_BYTES = 16 * 1024


def exchange(
    target: Target,
    addresses: Sequence[Address],
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    deadline: Deadline,
    tls: ssl.SSLContext | None,
    now: datetime,
) -> Reply:
    """Send a request and read the answer; raises TimeUp.

    `now` is what an instant in the answer is measured by, where the answer does not tell the other end's own time.
    """
    backend = _Backend(addresses, deadline)
    connection = httpcore.HTTPConnection(
        httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port),
        ssl_context=(tls or _usual_tls()) if target.scheme == "https" else None,
        network_backend=backend,
    )
    try:
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.target),
            headers=_headers(target, headers, body),
            content=body,
        )
        with closing(connection.handle_request(request)) as response:
            return _read(response, now)
    except httpcore.TimeoutException as error:
        raise TimeUp from error
    except httpcore.ConnectError as error:
        return Reply(reason=connect_reason(error))
    except (httpcore.LocalProtocolError, UnicodeEncodeError):
        return Reply(reason="a header cannot be sent as it is", unsendable=True)
    except httpcore.RemoteProtocolError:
        return Reply(reason="the connection was cut, or the answer is not HTTP")
    except httpcore.NetworkError:
        return Reply(reason="the connection was cut")
    finally:
        connection.close()
        backend.close()


@cache
def _usual_tls() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def _read(response: httpcore.Response, now: datetime) -> Reply:
    headers = {name.lower(): value.decode("latin-1") for name, value in reversed(response.headers)}
    wait = seconds_asked(headers.get(b"retry-after", ""), instant_told(headers.get(b"date", "")) or now)
    body = b""
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > MAXIMUM_BODY_BYTES:
            reason = f"the answer is longer than {MAXIMUM_BODY_BYTES // 1024} kB"
            return Reply(response.status, reason, retry_after_seconds=wait)
    kind = headers.get(b"content-type", "")
    return Reply(response.status, content_type=kind, body=body, retry_after_seconds=wait)


def _headers(target: Target, headers: Mapping[str, str], body: bytes | None) -> list[tuple[bytes, bytes]]:
    own = {
        "Host": target.authority,
        "User-Agent": "keyledger",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if body is not None:
        own["Content-Length"] = str(len(body))
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in {**own, **headers}.items()]


class _Backend(httpcore.NetworkBackend):
    """Connects to the addresses that were judged, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[Address], deadline: Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._system = httpcore.SyncBackend()
        self._open: httpcore.NetworkStream | None = None

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name has been resolved, once
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline is one for all
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """The first address that takes the connection; each gets its share of the time that is left."""
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for position, address in enumerate(self._addresses):
            share = self._deadline.left() / (len(self._addresses) - position)
            try:
                stream = self._system.connect_tcp(str(address), port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                self._open = stream
                return _Stream(stream, self._deadline)
        raise failure or httpcore.ConnectError

    def close(self) -> None:
        """Let go of a connection that never got as far as a request."""
        if self._open is not None:
            self._open.close()


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends at the one deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
