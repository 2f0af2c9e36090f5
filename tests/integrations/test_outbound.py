"""The fence at work: over real sockets, with name servers that answer as an attacker would have them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from app.domain.outbound import Allowance
from app.integrations.exchange import MAXIMUM_BODY_BYTES
from app.integrations.outbound import Fence, Reply, Resolver, system_resolver
from tests.clocks import MovableClock
from tests.integrations.certificates import server_and_client
from tests.integrations.receivers import (
    Receiver,
    answer,
    closed_port,
    cut,
    dripping,
    endless,
    reset,
    silence,
)

LOOPBACK = "127.0.0.1, ::1"
# What a delivery may take where that is not the point, where it is, and what a busy machine may add.
SECONDS, SHORT_SECONDS, SLACK_SECONDS = 10, 0.5, 15


class Names:
    """A name server of the test's own, which notes what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


def get(
    url: str, *, allow: str = LOOPBACK, resolve: Resolver = system_resolver, seconds: float = SECONDS
) -> Reply:
    return Fence(Allowance.parse(allow), seconds, resolve).open().get(url, {})


def test_an_answer_comes_back_with_status_kind_and_body():
    with Receiver(answer(201, {"a": 1})) as receiver:
        reply = get(f"{receiver.url}/path?query=1")

    assert (reply.status, reply.fault, reply.content_type, reply.fields) == (
        201,
        None,
        "application/json",
        {"a": 1},
    )
    assert receiver.paths() == ["GET /path?query=1"]
    assert receiver.received[0].headers["host"] == f"127.0.0.1:{receiver.port}"


def test_ipv6_works_where_it_is_allowed():
    with Receiver(host="::1") as receiver:
        reply = get(receiver.url)

    assert reply.fault is None
    assert receiver.received[0].headers["host"] == f"[::1]:{receiver.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_not_reached_unless_it_is_listed(host: str):
    with Receiver() as receiver:
        reply = get(f"http://{host}:{receiver.port}/", allow="")

    assert reply.fault == "refused: the address is not public and not allowed here"
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "[::]"]
)
def test_no_spelling_of_loopback_reaches_it(host: str):
    with Receiver() as receiver:
        reply = get(f"http://{host}:{receiver.port}/", allow="")

    assert reply.fault is not None
    assert reply.fault.startswith("refused: ")
    assert receiver.connections == 0


def test_a_port_that_is_not_listed_is_not_reached():
    with Receiver() as receiver, Receiver() as other:
        reply = get(other.url, allow=f"127.0.0.1:{receiver.port}")

    assert reply.fault == "refused: the address is not public and not allowed here"
    assert other.connections == 0


def test_a_name_with_one_forbidden_address_is_not_connected_to_at_all():
    names = Names(["93.184.216.34", "127.0.0.1"])
    with Receiver() as receiver:
        reply = get(f"http://both.test:{receiver.port}/", allow="", resolve=names)

    assert reply.fault == "refused: the address is not public and not allowed here"
    assert receiver.connections == 0


def test_a_name_is_resolved_once_and_the_connection_goes_to_that_very_address():
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with Receiver() as judged, Receiver(host="127.0.0.2") as other:
        reply = get(f"http://rebound.test:{judged.port}/", allow="127.0.0.1", resolve=names)

    assert reply.fault is None
    assert names.asked == [("rebound.test", judged.port)]
    assert (judged.connections, other.connections) == (1, 0)
    assert judged.received[0].headers["host"] == f"rebound.test:{judged.port}"


def test_the_second_request_of_a_delivery_is_judged_anew():
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with Receiver() as receiver:
        outbound = Fence(Allowance.parse("127.0.0.1"), SECONDS, names).open()
        replies = [outbound.get(f"http://rebound.test:{receiver.port}/", {}) for _ in range(2)]

    assert [reply.fault for reply in replies] == [
        None,
        "refused: the address is not public and not allowed here",
    ]


def test_the_next_address_is_tried_when_the_first_takes_no_connection():
    with Receiver() as receiver:
        names = Names(["127.0.0.3", "127.0.0.1"])
        reply = get(f"http://two.test:{receiver.port}/", allow="127.0.0.0/8", resolve=names)

    assert reply.fault is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int):
    with Receiver() as target, Receiver(answer(status, Location=target.url)) as receiver:
        reply = get(receiver.url)

    assert (reply.status, reply.fault) == (status, f"HTTP {status}: redirects are not followed")
    assert target.connections == 0


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch):
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        reply = get(receiver.url)

    assert reply.fault is None
    assert (proxy.connections, receiver.connections) == (0, 1)


@pytest.mark.parametrize("end", [silence, dripping])
def test_one_deadline_bounds_the_whole_delivery(end):
    with Receiver(end) as receiver:
        began = time.monotonic()
        outbound = Fence(Allowance.parse(LOOPBACK), SHORT_SECONDS).open()
        replies = [outbound.get(receiver.url, {}) for _ in range(3)]
        took = time.monotonic() - began

    assert [reply.fault for reply in replies] == ["no answer within 0.5 s"] * 3
    assert receiver.connections == 1
    assert took < SHORT_SECONDS + SLACK_SECONDS


def test_a_name_server_that_does_not_answer_is_not_waited_for():
    given_up = Event()

    def never(_host: str, _port: int) -> Sequence[str]:
        given_up.wait(20)
        return []

    began = time.monotonic()
    reply = get("http://slow.test/", resolve=never, seconds=SHORT_SECONDS)
    took = time.monotonic() - began
    given_up.set()

    assert reply.fault == "no answer within 0.5 s"
    assert took < SHORT_SECONDS + SLACK_SECONDS


def test_a_name_that_leads_nowhere_says_so():
    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    assert get("http://nobody.test/", resolve=unknown).fault == "the host name cannot be resolved"
    assert get("http://nobody.test/", resolve=lambda *_: []).fault == "the host name cannot be resolved"
    assert get(f"http://{'a' * 64}.test/").fault == "the host name cannot be resolved"


def test_an_answer_is_not_read_beyond_its_limit():
    with Receiver(endless) as receiver:
        reply = get(receiver.url)

    assert (reply.status, reply.fault) == (200, f"the answer is longer than {MAXIMUM_BODY_BYTES // 1024} kB")
    assert reply.body == b""


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        (cut, "the connection was cut, or the answer is not HTTP"),
        (reset, "the connection was cut"),
        (b"", "the connection was cut, or the answer is not HTTP"),
        (b"220 mail.example ESMTP\r\n", "the connection was cut, or the answer is not HTTP"),
        (b"HTTP/1.1 200 Said\r\nContent-Length: -1\r\n\r\n", "the connection was cut, or the answer is not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "the connection was cut, or the answer is not HTTP"),
        (answer(500, {"secret": "of the server"}), "HTTP 500"),
        (answer(404), "HTTP 404"),
    ],
)
def test_what_goes_wrong_is_a_short_reason(end, fault: str):
    with Receiver(end) as receiver:
        assert get(receiver.url).fault == fault


def test_a_port_where_nobody_listens_refuses_the_connection():
    reply = get(f"http://127.0.0.1:{closed_port()}/")

    assert (reply.status, reply.fault) == (None, "the connection was refused by the other end")
    assert reply.retryable


def test_an_address_without_a_way_to_it_takes_no_connection():
    reply = get("http://255.255.255.255/", allow="255.255.255.255")

    assert (reply.status, reply.fault) == (None, "no connection could be made")


@pytest.mark.parametrize(
    ("end", "retryable"),
    [
        *((answer(status), True) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
        *((answer(status), False) for status in (200, 301, 304, 400, 401, 403, 404, 409, 410, 413, 422, 600)),
        *((end, True) for end in (cut, reset, silence, b"no HTTP\r\n")),
        (endless, False),
    ],
)
def test_whether_to_try_again_follows_from_the_status_or_from_the_line(end, retryable: bool):
    with Receiver(end) as receiver:
        reply = get(receiver.url, seconds=SHORT_SECONDS if end is silence else SECONDS)

    assert reply.retryable is retryable


@pytest.mark.parametrize(
    ("url", "resolve", "retryable"),
    [
        ("http://nobody.test/", lambda *_: [], True),
        ("http://inside.test/", lambda *_: ["10.0.0.1"], False),
        ("http://169.254.169.254/", system_resolver, False),
        ("file:///etc/passwd", system_resolver, False),
        ("no URL", system_resolver, False),
    ],
)
def test_what_is_never_sent_is_not_tried_again_and_what_finds_nobody_is(
    url: str, resolve: Resolver, retryable: bool
):
    assert get(url, resolve=resolve).retryable is retryable


AT = datetime(2026, 11, 18, 13, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "17"}, 17.0),
        ({"Retry_After": "Wed, 18 Nov 2026 13:02:00 GMT"}, 120.0),
        # The other end's clock is an hour off: what it means is a minute.
        ({"Retry_After": "Wed, 18 Nov 2026 14:01:00 GMT", "Date": "Wed, 18 Nov 2026 14:00:00 GMT"}, 60.0),
        ({"Retry_After": "Wed, 18 Nov 2026 13:02:00 GMT", "Date": "yesterday"}, 120.0),
        ({"Retry_After": "later"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_the_other_end_asks_for_is_told_in_seconds(
    status: int, headers: dict[str, str], seconds: float | None
):
    with Receiver(answer(status, **headers)) as receiver:
        fence = Fence(Allowance.parse(LOOPBACK), SECONDS, clock=MovableClock(AT))
        reply = fence.open().get(receiver.url, {})

    assert (reply.retryable, reply.retry_after_seconds) == (True, seconds)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "\x00", "€"])
def test_a_header_cannot_break_out_of_its_line(value: str):
    with Receiver() as receiver:
        reply = Fence(Allowance.parse(LOOPBACK), SECONDS).open().post(receiver.url, {"X-One": value}, b"{}")

    assert (reply.fault, reply.retryable) == ("a header cannot be sent as it is", False)
    assert receiver.received == []


def test_what_makes_a_request_one_is_not_the_callers_to_set():
    headers = {"host": "other", "Content-Length": "0", "TRANSFER-ENCODING": "chunked", "X-Mine": "kept"}
    with Receiver() as receiver:
        reply = Fence(Allowance.parse(LOOPBACK), SECONDS).open().post(receiver.url, headers, b"whole")

    assert reply.fault is None
    (request,) = receiver.received
    assert (request.body, request.headers["host"]) == (b"whole", f"127.0.0.1:{receiver.port}")
    assert "transfer-encoding" not in request.headers
    assert request.headers["x-mine"] == "kept"


def test_tls_verifies_the_name_though_the_connection_goes_to_the_address(tmp_path: Path):
    server, client = server_and_client("logs.test", tmp_path)
    names = Names(["127.0.0.1"])
    with Receiver(tls=server) as receiver:
        fence = Fence(Allowance.parse(LOOPBACK), SECONDS, names, client)
        right = fence.open().get(f"https://logs.test:{receiver.port}/", {})
        other_name = fence.open().get(f"https://other.test:{receiver.port}/", {})
        by_address = fence.open().get(f"https://127.0.0.1:{receiver.port}/", {})
        untrusted = Fence(Allowance.parse(LOOPBACK), SECONDS, names).open()
        stranger = untrusted.get(f"https://logs.test:{receiver.port}/", {})

    assert right.fault is None
    assert [reply.fault.partition(":")[0] for reply in (other_name, by_address, stranger) if reply.fault] == [
        "the certificate was not accepted"
    ] * 3
    assert len(receiver.received) == 1


def test_a_plain_server_behind_https_is_no_tls():
    with Receiver(b"HTTP/1.1 200 Said\r\n\r\n") as receiver:
        reply = get(f"https://127.0.0.1:{receiver.port}/")

    assert reply.fault in {"no TLS connection could be made", "no connection could be made"}
