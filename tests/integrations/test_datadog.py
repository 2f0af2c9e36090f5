"""Datadog: compressed messages for a site or an agent, and no other host by way of the site's name."""

import json
from collections.abc import Sequence

import pytest

from app.domain.standard_payload import Log
from app.integrations.datadog import Datadog
from app.integrations.destinations import DeliveryResult
from tests.integrations.ends import DD, datadog, outbound, pointed_at, unpacked
from tests.integrations.probes import LOG_ID, a_failed_log, a_log, a_probe
from tests.integrations.receivers import Received, Receiver, answer


def send(url: str, logs: Sequence[Log], **variables: str) -> DeliveryResult:
    return Datadog().send({**pointed_at("datadog", url), **variables}, logs, outbound())


def test_right_credentials_leave_a_message_a_log_with_its_identity():
    with datadog() as intake:
        result = send(intake.url, [a_log(), a_failed_log(log_id="call-2", request_tags=["a,b c"]), a_probe()])

    assert (result.ok, result.http_status, result.reason) == (True, 202, None)
    (request,) = intake.received
    assert request.headers["content-type"] == "application/json"
    assert request.headers["dd-api-key"] == DD
    first, second, third = unpacked(request)
    assert json.loads(first.pop("message")) == a_log().payload
    assert first == {
        "ddsource": "litellm",
        "ddtags": "team:search,model:gpt-4o,request_tag:ci,request_tag:nightly",
        "hostname": "",
        "service": "keyledger",
        "status": "info",
        "log_id": LOG_ID,
    }
    assert (second["status"], second["log_id"]) == ("error", "call-2")
    assert second["ddtags"].endswith(",request_tag:a_b_c")
    assert json.loads(third["message"]) == a_probe().payload


def test_wrong_credentials_are_told():
    with datadog() as intake:
        result = send(intake.url, [a_probe()], dd_api_key="wrong")

    assert (result.ok, result.reason) == (False, "the credentials were refused: HTTP 403")
    assert not result.retryable


def test_an_agent_needs_no_key():
    with Receiver(answer(202)) as agent:
        assert send(agent.url, [a_probe()], dd_api_key="").ok

    assert "dd-api-key" not in agent.received[0].headers


def test_what_is_called_too_large_is_sent_in_halves_until_it_is_taken():
    taken: list[str] = []

    def strict(request: Received) -> bytes:
        messages = unpacked(request)
        if len(messages) > 2:
            return answer(413)
        taken.extend(message["log_id"] for message in messages)
        return answer(202)

    with Receiver(routes={"/api/v2/logs": strict}) as intake:
        result = send(intake.url, [a_log(f"call-{number}") for number in range(7)])

    assert result.ok
    assert taken == [f"call-{number}" for number in range(7)]


def test_no_request_holds_more_logs_or_more_bytes_than_the_intake_takes():
    with Receiver(answer(202)) as intake:
        many = Datadog().send(
            pointed_at("datadog", intake.url), [a_log(str(number)) for number in range(1001)], outbound(30)
        )
        large = send(intake.url, [a_log(str(number), messages="x" * 1_500_000) for number in range(3)])

    assert (many.ok, large.ok) == (True, True)
    assert [len(unpacked(request)) for request in intake.received] == [1000, 1, 2, 1]


def asked_by(variables: dict[str, str]) -> tuple[list[tuple[str, int]], DeliveryResult]:
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return []

    return asked, Datadog().send({"dd_api_key": DD, **variables}, [a_probe()], outbound(resolve=resolve))


@pytest.mark.parametrize(
    ("site", "host"),
    [
        ("", "http-intake.logs.datadoghq.com"),
        ("datadoghq.com", "http-intake.logs.datadoghq.com"),
        ("datadoghq.eu", "http-intake.logs.datadoghq.eu"),
        ("US5.datadoghq.com", "http-intake.logs.us5.datadoghq.com"),
        ("ap1.datadoghq.com", "http-intake.logs.ap1.datadoghq.com"),
        ("ddog-gov.com", "http-intake.logs.ddog-gov.com"),
    ],
)
def test_a_site_is_called_by_its_intake(site: str, host: str):
    asked, result = asked_by({"dd_site": site})

    assert asked == [(host, 443)]
    assert result.reason == "the host name cannot be resolved"


@pytest.mark.parametrize(
    "site",
    [
        *(
            "evil.com",
            "evil.com/",
            "evil.com#",
            "evil.com?",
            "evil.com:80",
            "@evil.com",
            "x@evil.com/datadoghq.com",
        ),
        *("evil.com/.datadoghq.com", "datadoghq.com.evil.com", "datadoghq.com/../x", "evildatadoghq.com"),
        *("evil.com#.datadoghq.com", "a.b.datadoghq.com", "datadoghq.com\n", "datadoghq.com:443", "datadoghq-com"),
        *("127.0.0.1", "[::1]", "http://datadoghq.com", "datadoghq。com", ".", " "),
    ],
)
def test_no_site_leads_to_a_host_that_is_not_datadogs(site: str):
    asked, result = asked_by({"dd_site": site})

    assert asked == []
    assert (result.ok, result.reason, result.retryable) == (False, "dd_site is no site of Datadog's", False)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        *(("evil.com/", "80"), ("evil.com?x=", "80"), ("evil.com#", "80"), ("x@evil.com", "80"), ("a b", "80")),
        *(
            ("a:1", "80"),
            ("::1", "80"),
            ("agent", "80/"),
            ("agent", "80@evil.com"),
            ("agent", "-1"),
            ("agent", "x"),
        ),
        *(("agent\n", "80"), ("agent", "80\n"), ("agent", "123456")),
    ],
)
def test_an_agent_is_a_host_and_a_port_and_nothing_more(host: str, port: str):
    asked, result = asked_by({"dd_agent_host": host, "dd_agent_port": port})

    assert asked == []
    assert result.reason == "dd_agent_host and dd_agent_port name no agent"


def test_an_agent_goes_before_a_site_and_listens_where_datadogs_does():
    asked, _ = asked_by({"dd_agent_host": "agent.internal", "dd_site": "datadoghq.eu"})

    assert asked == [("agent.internal", 10518)]


def test_without_an_agent_a_key_is_needed():
    result = Datadog().send({"dd_site": "datadoghq.eu"}, [a_probe()], outbound())

    assert result.reason == "dd_api_key is missing"
