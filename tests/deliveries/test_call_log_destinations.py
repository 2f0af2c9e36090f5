"""A finished call on its whole way to each kind of destination: decoded at its end, and parked where that refuses."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.domain.outbound import Allowance
from app.integrations.destinations import SUPPORTED
from app.models import call_logs, deliveries
from tests import leaks
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store, rows
from tests.integrations.ends import (
    BUCKET,
    NAMES,
    collector,
    datadog,
    langfuse,
    langsmith,
    pointed_at,
    service_account,
    storage,
    token_endpoint,
    unpacked,
)
from tests.integrations.moto_s3 import object_store
from tests.integrations.receivers import Receiver


@dataclass(frozen=True)
class End:
    """A destination: how a callback reaches it, what makes that wrong, and the ids of the logs that it has."""

    variables: dict[str, str]
    wrong: dict[str, str]
    taken: Callable[[], list[str]]
    settings: dict[str, Any]


def _hexadecimal(log_id: str) -> str:
    return log_id.replace("-", "")


def _spans(server: Receiver, path: str) -> list[str]:
    found = []
    for request in server.received:
        if request.path == path:
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                found += [span.trace_id.hex() for span in resource.scope_spans[0].spans]
    return found


def _lines(content: bytes) -> list[str]:
    return [_hexadecimal(json.loads(line)["id"]) for line in content.splitlines()]


@contextmanager
def _end(name: str) -> Iterator[End]:
    match name:
        case "generic_api":
            with Receiver() as server:
                yield End(
                    pointed_at(name, server.url),
                    {"generic_api_endpoint": "http://10.20.30.40"},
                    lambda: [_hexadecimal(log["id"]) for request in server.received for log in request.json],
                    {},
                )
        case "langfuse":
            with langfuse() as server:
                path = "/api/public/otel/v1/traces"
                wrong = {"langfuse_secret_key": "wrong"}
                yield End(pointed_at(name, server.url), wrong, lambda: _spans(server, path), {})
        case "otel":
            with collector() as server:
                wrong = {"otel_headers": "Authorization=wrong"}
                yield End(pointed_at(name, server.url), wrong, lambda: _spans(server, "/v1/traces"), {})
        case "langsmith":
            with langsmith() as server:
                yield End(
                    pointed_at(name, server.url),
                    {"langsmith_api_key": "wrong"},
                    lambda: [
                        _hexadecimal(run["id"]) for request in server.received for run in request.json["post"]
                    ],
                    {},
                )
        case "datadog":
            with datadog() as server:
                yield End(
                    pointed_at(name, server.url),
                    {"dd_api_key": "wrong"},
                    lambda: [
                        _hexadecimal(json.loads(entry["message"])["id"])
                        for request in server.received
                        for entry in unpacked(request)
                    ],
                    {},
                )
        case "s3":
            with object_store() as store:
                yield End(
                    store.variables,
                    {"s3_secret_access_key": "wrong"},
                    lambda: [log_id for key in store.names() for log_id in _lines(store.content(key))],
                    {},
                )
        case "gcs_bucket":
            with storage() as google, token_endpoint() as tokens:
                account = service_account(f"{tokens.url}/token")
                yield End(
                    {"gcs_bucket_name": BUCKET, "gcs_path_service_account": account},
                    {"gcs_path_service_account": service_account(f"{tokens.url}/token", client_email="another")},
                    lambda: [log_id for key in google.names() for log_id in _lines(google.content(key))],
                    {"gcs_endpoint": google.url},
                )


@contextmanager
def _running(settings: Settings, clock: MovableClock, end: End) -> Iterator[Services]:
    changed = replace(settings, outbound_allow=Allowance.parse("127.0.0.1"), **end.settings)
    services = build(changed, clock)
    yield services
    services.close()


def _tell(services: Services, name: str, variables: dict[str, str]) -> list[str]:
    """Tell of three calls of a key with this callback; the ids of their logs."""
    api = Api(create_app(services))
    made = api.generate(metadata={"logging": [{"callback_name": name, "callback_vars": variables}]})
    logs = [{"status": "success", "key": made["key"], "request_id": str(number)} for number in range(3)]
    results = api.post("/key/log", {"logs": logs}).body["results"]
    assert [found["callbacks"] for found in results] == [1, 1, 1]
    return [_hexadecimal(row["log_id"]) for row in rows(services.database, call_logs)]


def test_every_destination_that_is_spoken_has_its_end_here():
    # Which has another name for one of them.
    assert {*NAMES, "s3_v2"} == SUPPORTED


@on_one_store
@pytest.mark.parametrize("name", NAMES)
def test_logs_arrive_decoded_and_whole(settings: Settings, clock: MovableClock, name: str):
    with _end(name) as end, _running(settings, clock, end) as services:
        told = _tell(services, name, end.variables)

        services.jobs.run(TaskName.DELIVER, lambda: True)

        assert rows(services.database, deliveries) == []
        assert sorted(end.taken()) == sorted(told)
        assert leaks.SECRETS.inside(repr(end.taken()).encode()) == set()


@on_one_store
@pytest.mark.parametrize("name", NAMES)
def test_where_they_are_refused_they_are_parked_with_a_reason_that_holds_no_secret(
    settings: Settings, clock: MovableClock, name: str
):
    with _end(name) as end, _running(settings, clock, end) as services:
        variables = {**end.variables, **end.wrong}
        _tell(services, name, variables)

        services.jobs.run(TaskName.DELIVER, lambda: True)

        parked = rows(services.database, deliveries)
        assert [row["parked_at"] for row in parked] == [clock.now()] * 3, parked
        assert all(row["last_error"] for row in parked)
        stored = repr(parked) + repr(rows(services.database, call_logs))
        assert not any(value in stored for key, value in variables.items() if "key" in key or "account" in key)
