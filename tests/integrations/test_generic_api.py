"""The webhook: what arrives, and what its receiver's answer makes of it."""

import pytest

from app.domain.standard_payload import TEST_MODEL
from app.integrations.generic_api import GenericApi
from tests.integrations.ends import outbound
from tests.integrations.probes import KEY, NOW, a_log, a_probe
from tests.integrations.receivers import Receiver, answer, closed_port, cut, endless, silence

STANDARD_FIELDS = {
    *("id", "trace_id", "session_id", "litellm_call_id", "call_type", "status", "response_cost", "total_tokens"),
    *("prompt_tokens", "completion_tokens", "startTime", "endTime", "response_time", "model", "model_group"),
    *("model_id", "api_base", "custom_llm_provider", "metadata", "request_tags", "end_user", "messages"),
    *("response", "error_str", "error_information", "model_parameters", "cache_hit", "hidden_params"),
}


def test_the_standard_payload_arrives_as_a_json_array_with_the_owners_headers():
    variables = {"generic_api_headers": "Authorization=Bearer a=b, X-Team = search"}
    with Receiver(answer(202)) as receiver:
        result = GenericApi().send(
            variables | {"generic_api_endpoint": f"{receiver.url}/logs?a=1"}, [a_probe()], outbound()
        )

    assert (result.ok, result.http_status, result.reason) == (True, 202, None)
    (request,) = receiver.received
    assert (request.method, request.path) == ("POST", "/logs?a=1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer a=b"
    assert request.headers["x-team"] == "search"
    (payload,) = request.json
    assert set(payload) == STANDARD_FIELDS
    assert payload["model"] == TEST_MODEL
    assert payload["startTime"] == NOW.timestamp()
    assert payload["metadata"]["user_api_key_hash"] == KEY["token"]
    assert payload["metadata"]["user_api_key_alias"] == "ci"
    assert payload["metadata"]["user_api_key_request_route"] == "/key/health"


def test_a_batch_is_one_array_in_order():
    logs = [a_log(f"call-{number}") for number in range(3)]
    with Receiver() as receiver:
        result = GenericApi().send({"generic_api_endpoint": receiver.url}, logs, outbound())

    assert result.ok
    (request,) = receiver.received
    assert request.json == [log.payload for log in logs]


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (answer(500, {"trace": "of the receiver"}), 500, "HTTP 500"),
        (answer(401), 401, "the credentials were refused: HTTP 401"),
        (answer(302, Location="http://127.0.0.1:1/"), 302, "HTTP 302: redirects are not followed"),
        (cut, None, "the connection was cut, or the answer is not HTTP"),
        (silence, None, "no answer within 0.5 s"),
        (endless, 200, "the answer is longer than 256 kB"),
    ],
)
def test_an_answer_that_is_no_success_is_told_with_its_reason(end, status: int | None, reason: str):
    seconds = 0.5 if end is silence else 10
    with Receiver(end) as receiver:
        result = GenericApi().send({"generic_api_endpoint": receiver.url}, [a_probe()], outbound(seconds))

    assert (result.ok, result.http_status, result.reason) == (False, status, reason)
    assert result.milliseconds < 10_000


def test_a_receiver_that_is_away_is_told():
    variables = {"generic_api_endpoint": f"http://127.0.0.1:{closed_port()}"}

    result = GenericApi().send(variables, [a_probe()], outbound())

    assert (result.ok, result.reason) == (False, "the connection was refused by the other end")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "generic_api_endpoint is missing"),
        ({"generic_api_endpoint": ""}, "generic_api_endpoint is missing"),
        ({"generic_api_endpoint": "logs.example"}, "refused: it is not a URL"),
        ({"generic_api_endpoint": "http://10.0.0.1/"}, "refused: the address is not public and not allowed here"),
        ({"generic_api_endpoint": "file:///etc/passwd"}, "refused: only http and https are spoken"),
    ],
)
def test_an_endpoint_that_cannot_be_called_is_told(variables: dict[str, str], reason: str):
    result = GenericApi().send(variables, [a_probe()], outbound())

    assert (result.ok, result.http_status, result.reason) == (False, None, reason)


@pytest.mark.parametrize(
    "headers",
    ["Authorization", "a b=c", "=value", "X-A=1\r\nX-B: 2", "X-A=€", "Host=other", "content-length=3", "X-A=\x00"],
)
def test_headers_that_are_none_or_not_the_owners_to_set_send_nothing(headers: str):
    with Receiver() as receiver:
        result = GenericApi().send(
            {"generic_api_endpoint": receiver.url, "generic_api_headers": headers}, [a_probe()], outbound()
        )

    assert not result.ok
    assert "generic_api_headers cannot be read" in str(result.reason)
    assert receiver.connections == 0
