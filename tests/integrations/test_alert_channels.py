"""Slack and Microsoft Teams: what arrives, and what the receiver's answer makes of the deliveries."""

from functools import partial
from typing import Any

import pytest

from app.integrations import ms_teams, slack
from app.integrations.posting import EVENT_IDS, AlertPosts, Endpoints, by_place
from tests.domain.happenings import KEY, claimed, event
from tests.integrations.receivers import Receiver, answer, closed_port, cut, endless, reset, silence

PROXY = "https://llm.example.com"
BODIES = {"slack": slack.body, "ms_teams": ms_teams.body}


def channel(name: str, *urls: str, seconds: float = 10) -> AlertPosts:
    return AlertPosts(Endpoints(by_place(name, urls), seconds=seconds), partial(BODIES[name], proxy_url=PROXY))


def texts(card: Any) -> list[str]:
    """The lines of a card as they are read."""
    return ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]


def test_slack_gets_a_text_and_nothing_else_and_the_ids_in_a_header():
    with Receiver(answer(200, b"ok")) as receiver:
        results = channel("slack", receiver.url + "/services/T0/B0/secret").send(
            "slack:0", claimed(event(event_id="e-1"))
        )

    assert results[1].ok
    (request,) = receiver.received
    assert (request.method, request.path) == ("POST", "/services/T0/B0/secret")
    assert request.headers["content-type"] == "application/json"
    assert request.headers[EVENT_IDS] == "e-1"
    assert set(request.json) == {"text"}
    assert request.json["text"].startswith("Alert type: `budget_alerts`\nLevel: `High`\nTimestamp: `13:47:33`\n\n")
    assert "Message: Key Budget: ci: the budget is used up, $8.60 of $10.00 spent." in request.json["text"]
    assert request.json["text"].endswith(f"\n\nProxy URL: `{PROXY}`")


def test_teams_gets_an_adaptive_card_on_which_no_name_is_markup():
    alias = "[your bank](https://evil.example) **x**"
    with Receiver(answer(202)) as receiver:
        results = channel("ms_teams", receiver.url).send("ms_teams:0", claimed(event(key_alias=alias)))

    assert results[1].ok
    (request,) = receiver.received
    assert request.json["type"] == "message"
    (attachment,) = request.json["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    lines = texts(card)
    assert lines[:2] == ["Budget used up", f"Key Budget: {alias}: the budget is used up, $8.60 of $10.00 spent."]
    assert {f"key_alias: {alias}", "max_budget: 10.0", f"proxy: {PROXY}", "time: 2026-11-18 13:47:33 UTC"} <= set(
        lines
    )
    assert KEY["token"] not in request.body.decode()


@pytest.mark.parametrize("name", BODIES)
def test_those_that_say_the_same_are_one_request_that_stands_for_all(name: str):
    happened = [event(event_id=f"e-{number}") for number in range(3)] + [event(event_id="e-3", spend=9)]
    with Receiver() as receiver:
        results = channel(name, receiver.url).send(f"{name}:0", claimed(*happened))

    assert [request.headers[EVENT_IDS] for request in receiver.received] == ["e-0,e-1,e-2", "e-3"]
    assert {number: result.ok for number, result in results.items()} == dict.fromkeys(range(1, 5), True)
    first = receiver.received[0].body.decode()
    assert ("[Num Alerts: 3]" in first) if name == "slack" else ("Budget used up (3 times)" in first)


def test_a_whole_claim_fits_into_what_a_server_takes():
    happened = [event(event_id=f"7c9e6679-7425-40de-944b-{number:012}") for number in range(AlertPosts.most)]
    with Receiver() as receiver:
        channel("slack", receiver.url).send("slack:0", claimed(*happened))

    (request,) = receiver.received
    assert len(request.headers[EVENT_IDS]) < 4096


@pytest.mark.parametrize("name", BODIES)
def test_each_target_is_its_own_url(name: str):
    with Receiver() as first, Receiver() as second:
        sender = channel(name, first.url, second.url)
        sender.send(f"{name}:1", claimed(event()))
        gone = sender.send(f"{name}:2", claimed(event()))

    assert (len(first.received), len(second.received)) == (0, 1)
    assert (gone[1].reason, gone[1].retryable) == ("no setting names this target any more", False)


@pytest.mark.parametrize(
    ("end", "reason", "retryable", "wait"),
    [
        (answer(500, b"distinctive words"), "HTTP 500", True, None),
        (answer(429, Retry_After="30"), "HTTP 429", True, 30.0),
        (answer(404, b"no_service"), "HTTP 404", False, None),
        (answer(403), "the credentials were refused: HTTP 403", False, None),
        (answer(302, Location="http://127.0.0.1:1/"), "HTTP 302: redirects are not followed", False, None),
        (cut, "the connection was cut, or the answer is not HTTP", True, None),
        (reset, "the connection was cut", True, None),
        (silence, "no answer within 0.5 s", True, None),
        (endless, "the answer is longer than 256 kB", False, None),
    ],
)
def test_an_answer_that_is_no_success_is_told_and_what_may_pass_stops_the_rest(
    end: Any, reason: str, retryable: bool, wait: float | None
):
    with Receiver(end) as receiver:
        sender = channel("slack", receiver.url + "/secret-path", seconds=0.5 if end is silence else 10)
        results = sender.send("slack:0", claimed(event(spend=1), event(spend=2)))

    assert (results[1].ok, results[1].reason, results[1].retryable) == (False, reason, retryable)
    assert results[1].retry_after_seconds == wait
    assert set(results) == ({1} if retryable else {1, 2})
    assert receiver.connections == len(results)


def test_a_receiver_that_is_away_is_told_without_its_url():
    results = channel("slack", f"http://127.0.0.1:{closed_port()}/secret-path").send("slack:0", claimed(event()))

    assert (results[1].reason, results[1].retryable) == ("the connection was refused by the other end", True)


def test_nothing_new_is_begun_once_the_time_is_over():
    with Receiver() as receiver:
        results = channel("slack", receiver.url, seconds=0).send(
            "slack:0", claimed(event(spend=1), event(spend=2))
        )

    assert results == {}
    assert receiver.received == []


def test_a_delivery_without_its_event_is_told_and_the_others_go_on():
    with Receiver() as receiver:
        results = channel("slack", receiver.url).send("slack:0", claimed(None, event()))

    assert (results[1].ok, results[1].reason, results[1].retryable) == (
        False,
        "the event is kept no longer",
        False,
    )
    assert results[2].ok
