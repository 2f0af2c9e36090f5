"""Apprise: an alert arrives at a service that only it speaks, and no URL of it ever leaves."""

import logging
import sys
from typing import Any

import pytest

from app.integrations.apprise import Apprise
from tests.domain.happenings import claimed, event
from tests.integrations.receivers import Receiver, answer, closed_port, cut, silence

# What the library itself imports.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "distinctive-token-of-a-service"


def to(*urls: str, seconds: float = 10) -> Apprise:
    return Apprise(urls, seconds=seconds, proxy_url="https://llm.example.com")


def url(receiver: Receiver) -> str:
    return f"json://user:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}"


def test_an_alert_arrives_with_its_ids():
    with Receiver() as receiver:
        results = to(url(receiver)).send("apprise:0", claimed(event(event_id="e-1"), event(event_id="e-2")))

    assert {number: result.ok for number, result in results.items()} == {1: True, 2: True}
    (request,) = receiver.received
    assert request.path == f"/{SECRET}"
    assert request.json["title"] == "Budget used up: ci"
    assert request.json["type"] == "warning"
    lines = request.json["message"].splitlines()
    assert lines[0] == "[Num Alerts: 2]"
    assert "Message: Key Budget: ci: the budget is used up, $8.60 of $10.00 spent." in lines
    assert lines[-1] == "Events: e-1, e-2"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (answer(500, SECRET.encode()), "apprise could not deliver it"),
        (answer(302, Location="http://127.0.0.1:1/"), "apprise could not deliver it"),
        (cut, "apprise could not deliver it"),
        (silence, "no answer within 0.5 s"),
    ],
)
def test_what_goes_wrong_may_pass_stops_the_rest_and_tells_no_url(
    end: Any, reason: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    with Receiver(end) as receiver:
        sender = to(url(receiver), seconds=0.5 if end is silence else 10)
        results = sender.send("apprise:0", claimed(event(spend=1), event(spend=2)))

    assert {number: (result.ok, result.reason, result.retryable) for number, result in results.items()} == {
        1: (False, reason, True)
    }
    assert receiver.connections == 1
    told = capfd.readouterr()
    assert SECRET not in caplog.text + told.out + told.err


def test_a_receiver_that_is_away_is_told_without_its_url(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    results = to(f"json://user:{SECRET}@127.0.0.1:{closed_port()}/").send("apprise:0", claimed(event()))

    assert (results[1].reason, results[1].retryable) == ("apprise could not deliver it", True)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("unknown", [f"nosuchservice://{SECRET}/", "json://", f"discord://{SECRET}"])
def test_a_url_that_it_does_not_know_waits_for_whoever_mends_it(unknown: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    results = to(unknown).send("apprise:0", claimed(event()))

    assert (results[1].ok, results[1].reason, results[1].retryable) == (
        False,
        "apprise does not know such a URL",
        True,
    )
    assert SECRET not in caplog.text


def test_a_target_that_no_setting_names_any_more_and_an_event_that_is_gone_are_told():
    results = to().send("apprise:0", claimed(None, event()))

    assert [results[number].reason for number in (1, 2)] == [
        "the event is kept no longer",
        "no setting names this target any more",
    ]


def test_without_the_extra_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apprise", None)

    results = to("json://127.0.0.1/").send("apprise:0", claimed(event()))

    assert (results[1].reason, results[1].retryable) == ("the extra 'apprise' is not installed", True)
