"""LangSmith: a run a log, under the log's identity; the rate of sampling is for real logs alone."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from app.domain.standard_payload import TEST_MODEL, Log
from app.integrations.destinations import DeliveryResult
from app.integrations.langsmith import Langsmith
from tests.integrations.ends import LANGSMITH, langsmith, outbound, pointed_at
from tests.integrations.probes import LOG_ID, PROBE_ID, a_failed_log, a_log, a_probe
from tests.integrations.receivers import Receiver, answer


def send(url: str, logs: Sequence[Log], **variables: str) -> DeliveryResult:
    return Langsmith().send({**pointed_at("langsmith", url), **variables}, logs, outbound())


def test_right_credentials_leave_a_run_a_log():
    with langsmith() as server:
        result = send(server.url + "/", [a_log()], langsmith_project="search", langsmith_tenant_id="tenant-1")

    assert (result.ok, result.http_status, result.reason) == (True, 202, None)
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/api/v1/runs/batch")
    assert request.headers["x-api-key"] == LANGSMITH
    assert request.headers["x-tenant-id"] == "tenant-1"
    (run,) = request.json["post"]
    metadata = run.pop("extra")["metadata"]
    assert run == {
        "id": LOG_ID,
        "trace_id": LOG_ID,
        "dotted_order": f"20261118T134731623456Z{LOG_ID}",
        "name": "acompletion gpt-4o",
        "run_type": "llm",
        "session_name": "search",
        "start_time": "2026-11-18T13:47:31.623456Z",
        "end_time": "2026-11-18T13:47:33.123456Z",
        "inputs": {"messages": a_log().payload["messages"]},
        "outputs": a_log().payload["response"],
        "error": None,
        "tags": ["ci", "nightly"],
    }
    assert (metadata["ls_model_name"], metadata["user_api_key_alias"]) == ("gpt-4o", "ci")
    assert metadata["usage_metadata"] == {
        "input_tokens": 1200,
        "output_tokens": 800,
        "total_tokens": 2000,
        "total_cost": 0.0125,
    }


def test_the_test_log_goes_by_the_usual_project_and_no_tenant():
    with langsmith() as server:
        assert send(f"{server.url}/api/v1/", [a_probe()]).ok

    (request,) = server.received
    assert "x-tenant-id" not in request.headers
    (run,) = request.json["post"]
    assert (run["id"], run["session_name"]) == (PROBE_ID, "litellm-completion")
    assert run["extra"]["metadata"]["ls_model_name"] == TEST_MODEL


def test_a_call_that_failed_is_told_as_one():
    with langsmith() as server:
        send(server.url, [a_failed_log(), a_failed_log(error_str=None)])

    runs = server.received[0].json["post"]
    assert [run["error"] for run in runs] == ["RateLimitError: slow down", "the call failed"]
    assert runs[0]["outputs"] == {"output": None}


def test_an_id_that_is_no_uuid_is_always_the_same_run():
    with langsmith() as server:
        for _ in range(2):
            send(server.url, [a_log("chatcmpl-1"), a_log("chatcmpl-2")])

    first, second = ([run["id"] for run in request.json["post"]] for request in server.received)
    assert first == second
    assert len({UUID(text) for text in first}) == 2


def test_runs_that_are_there_already_count_as_taken():
    with Receiver(answer(409, {"detail": "payloads already received"})) as server:
        result = send(server.url, [a_log()])

    assert (result.ok, result.http_status, result.reason) == (True, 409, None)


def test_wrong_credentials_are_told():
    with langsmith() as server:
        result = send(server.url, [a_probe()], langsmith_api_key="wrong")

    assert (result.ok, result.http_status) == (False, 401)
    assert result.reason == "the credentials were refused: HTTP 401"


@pytest.mark.parametrize(
    ("rate", "least", "most"), [("0", 0, 0), ("0.25", 60, 140), ("1", 400, 400), ("", 400, 400)]
)
def test_the_part_of_the_logs_that_is_asked_for_is_sent_and_a_repeat_is_decided_alike(
    rate: str, least: int, most: int
):
    logs = [a_log(str(uuid5(UUID(int=0), str(number)))) for number in range(400)]
    chosen: list[set[str]] = []
    for _ in range(2):
        with langsmith() as server:
            result = send(server.url, logs, langsmith_sampling_rate=rate)
        assert (result.ok, result.reason) == (True, None)
        chosen.append({run["id"] for request in server.received for run in request.json["post"]})

    assert least <= len(chosen[0]) <= most
    assert chosen[0] == chosen[1]


def test_a_test_is_never_left_out():
    with langsmith() as server:
        results = [
            send(server.url, [replace(a_probe(), id=f"test-{n}")], langsmith_sampling_rate="0") for n in range(20)
        ]

    assert all(result.ok for result in results)
    assert len(server.received) == 20


@pytest.mark.parametrize("rate", ["2", "1.1", "-0.5", "nan", "inf", "half", "1e-3", "0,5", "0.5\n", " "])
def test_a_rate_that_is_none_is_told(rate: str):
    with langsmith() as server:
        result = send(server.url, [a_probe()], langsmith_sampling_rate=rate)

    assert result.reason == "langsmith_sampling_rate must be a number from 0 to 1"
    assert server.connections == 0


def test_no_request_holds_more_runs_than_the_destination_takes():
    with langsmith() as server:
        assert send(server.url, [a_log(str(number)) for number in range(101)]).ok

    assert [len(request.json["post"]) for request in server.received] == [100, 1]


def test_without_an_address_the_cloud_is_called():
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return []

    Langsmith().send({"langsmith_api_key": LANGSMITH}, [a_probe()], outbound(resolve=resolve))

    assert asked == [("api.smith.langchain.com", 443)]


def test_without_a_key_of_its_own_nothing_is_sent():
    with langsmith() as server:
        result = send(server.url, [a_probe()], langsmith_api_key="")

    assert result.reason == "langsmith_api_key is missing"
    assert server.connections == 0
