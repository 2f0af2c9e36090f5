"""The whole way of a finished call: told to the API, swept by the worker's job, taken by true receivers."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.config import Settings
from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.domain.outbound import Allowance
from app.models import call_logs, deliveries, targets
from app.services.audit.audit import SYSTEM, Act
from app.services.call_logs.callback_sender import GONE, MOST_LOGS, NOT_KEPT
from tests import leaks
from tests.api.calls import allowed, settle
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store, rows
from tests.integrations.ends import PUBLIC, SECRET, langfuse
from tests.integrations.receivers import Received, Receiver, answer

SECONDS = 2.0
MESSAGES = [{"role": "user", "content": "a distinctive question"}]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Loopback may be reached."""
    return replace(settings, outbound_allow=Allowance.parse("127.0.0.1"), outbound_seconds=SECONDS)


def webhook(receiver: Receiver, path: str = "/logs", kind: str = "success_and_failure", **variables: str) -> Any:
    endpoint = {"generic_api_endpoint": f"{receiver.url}{path}"}
    return {"callback_name": "generic_api", "callback_type": kind, "callback_vars": {**endpoint, **variables}}


def key_with(api: Api, *entries: Any, **metadata: Any) -> str:
    key: str = api.generate(metadata={"logging": list(entries), **metadata})["key"]
    return key


def tell(api: Api, key: str, *request_ids: str, **told: Any) -> list[str]:
    """Tell of calls, all at once; the ids of their logs as these are sent."""
    logs = [{"status": "success", "key": key, "request_id": request_id, **told} for request_id in request_ids]
    results = api.post("/key/log", {"logs": logs}).body["results"]
    assert all(found["callbacks"] for found in results), results
    return list(request_ids)


def deliver(services: Services) -> None:
    services.jobs.run(TaskName.DELIVER, lambda: True)


def heard(receiver: Receiver, path: str = "/logs") -> list[dict[str, Any]]:
    """The payloads that have arrived at a path, in order."""
    return [payload for request in receiver.received if request.path == path for payload in request.json]


def names(payloads: Sequence[dict[str, Any]]) -> Counter[str]:
    return Counter(payload["litellm_call_id"] for payload in payloads)


def nothing_is_left(services: Services) -> bool:
    """Whether no payload, no delivery and nothing to be tried is left: only the names of the calls."""
    database = services.database
    return (
        rows(database, deliveries) == []
        and {row["payload"] for row in rows(database, call_logs)} <= {None}
        and {row["next_attempt_at"] for row in rows(database, targets)} <= {None}
    )


# --- what arrives ----------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_standard_payload_and_nothing_is_left_here(
    api: Api, services: Services, receiver: Receiver
):
    key = key_with(api, webhook(receiver, generic_api_headers="x-team=blue"), log_messages=True)
    tell(api, key, "r", model="gpt-4o", messages=MESSAGES, response_cost=0.5, usage={"input_tokens": 3})
    (kept,) = rows(services.database, call_logs)

    deliver(services)

    (request,) = receiver.received
    assert (request.method, request.headers["x-team"]) == ("POST", "blue")
    assert request.json == [kept["payload"]]
    (payload,) = request.json
    assert (payload["id"], payload["litellm_call_id"], payload["model"]) == (kept["log_id"], "r", "gpt-4o")
    assert (payload["messages"], payload["response_cost"], payload["prompt_tokens"]) == (MESSAGES, 0.5, 3)
    assert nothing_is_left(services)


def test_langfuse_gets_a_generation_by_its_own_protocol(api: Api, services: Services, clock: MovableClock):
    with langfuse() as server:
        variables = {"langfuse_public_key": PUBLIC, "langfuse_secret_key": SECRET, "langfuse_host": server.url}
        key = key_with(api, {"callback_name": "langfuse", "callback_vars": variables}, log_messages=True)
        held = allowed(api, key, request_id="r", user="e")
        clock.advance(2)
        settle(api, held, 0.5, usage={"input_tokens": 3, "output_tokens": 4},
               log={"status": "success", "messages": MESSAGES, "session_id": "s"})  # fmt: skip
        (kept,) = rows(services.database, call_logs)
        deliver(services)

    assert server.paths() == ["POST /api/public/otel/v1/traces"]
    (resource,) = ExportTraceServiceRequest.FromString(server.received[0].body).resource_spans
    (span,) = resource.scope_spans[0].spans
    attributes = {item.key: item.value for item in span.attributes}
    assert span.trace_id.hex() == kept["log_id"].replace("-", "")
    assert span.end_time_unix_nano - span.start_time_unix_nano == 2_000_000_000
    assert attributes["langfuse.observation.model.name"].string_value == "gpt-4o"
    assert json.loads(attributes["langfuse.observation.input"].string_value) == MESSAGES
    assert attributes["gen_ai.usage.input_tokens"].int_value == 3
    assert attributes["gen_ai.usage.cost"].double_value == 0.5
    assert (attributes["session.id"].string_value, attributes["user.id"].string_value) == ("s", "e")
    assert nothing_is_left(services)


def test_each_callback_hears_of_its_calls_at_its_own_place_by_its_own_variables(
    api: Api, services: Services, receiver: Receiver
):
    key = key_with(
        api,
        webhook(receiver, "/all", generic_api_headers="x-of=all"),
        webhook(receiver, "/failed", "failure", generic_api_headers="x-of=failed"),
        webhook(receiver, "/silent", turn_off_message_logging="true"),
        log_messages=True,
    )
    tell(api, key, "good", messages=MESSAGES)
    tell(api, key, "bad", status="failure", error_str="it broke", messages=MESSAGES)

    deliver(services)

    assert names(heard(receiver, "/all")) == names(heard(receiver, "/silent")) == {"good": 1, "bad": 1}
    (failed,) = heard(receiver, "/failed")
    assert (failed["litellm_call_id"], failed["status"], failed["error_str"]) == ("bad", "failure", "it broke")
    assert {request.headers.get("x-of") for request in receiver.received} == {"all", "failed", None}
    assert [payload["messages"] for payload in heard(receiver, "/all")] == [MESSAGES] * 2
    assert [payload["messages"] for payload in heard(receiver, "/silent")] == [None] * 2
    assert nothing_is_left(services)


@on_one_store
def test_a_team_hears_of_its_keys_by_the_older_form_too(api: Api, services: Services, receiver: Receiver):
    settings = {"success_callback": ["generic_api"], "callback_vars": webhook(receiver)["callback_vars"]}
    team = {"team_id": "t", "metadata": {"callback_settings": settings}}
    assert api.post("/team/new", team).status == 200
    key = api.generate(team_id="t")["key"]

    tell(api, key, "r")
    deliver(services)

    assert names(heard(receiver)) == {"r": 1}


def test_no_key_reaches_a_receiver(api: Api, services: Services, receiver: Receiver):
    key = key_with(api, webhook(receiver), log_messages=True)
    tell(api, key, "r", messages=[{"content": f"my key is {key}"}], metadata={"user_api_key": key, "h": [key]})

    deliver(services)

    (request,) = receiver.received
    assert leaks.SECRETS.inside(request.body + repr(request.headers).encode()) == set()


# --- batches ---------------------------------------------------------------------------------------------------


def test_many_calls_go_in_bounded_batches_each_once(api: Api, services: Services, receiver: Receiver):
    told = tell(api, key_with(api, webhook(receiver)), *(f"r{number}" for number in range(2 * MOST_LOGS + 1)))

    deliver(services)

    assert names(heard(receiver)) == Counter(told)
    assert [len(request.json) for request in receiver.received] == [MOST_LOGS, MOST_LOGS, 1]
    assert nothing_is_left(services)


@pytest.mark.parametrize("count", [1, 100])
def test_a_sweep_takes_as_many_statements_for_a_hundred_logs_as_for_one(
    api: Api, services: Services, receiver: Receiver, count: int
):
    tell(api, key_with(api, webhook(receiver)), *(f"r{number}" for number in range(count)))

    with statements(services.database) as counted:
        deliver(services)

    of_logs = [text for text in counted if "call_logs" in text]
    # Chosen and marked by the router; read by the sender; held, and emptied where all have taken it. And looked for
    # once more.
    assert len(of_logs) == 5 + 1, of_logs


def test_one_log_that_is_refused_stops_no_other_and_is_parked_with_the_reason(
    api: Api, services: Services, receiver: Receiver
):
    def picky(request: Received) -> bytes:
        return answer(422 if any(payload["model"] == "poison" for payload in request.json) else 200)

    receiver.routes["/logs"] = picky
    key = key_with(api, webhook(receiver))
    told = tell(api, key, *(f"r{number}" for number in range(20)))
    tell(api, key, "poison", model="poison")

    deliver(services)

    taken = names([payload for payload in heard(receiver) if payload["model"] != "poison"])
    assert taken.keys() == set(told)
    (parked,) = rows(services.database, deliveries)
    assert (parked["parked_at"] is not None, parked["last_error"]) == (True, "HTTP 422")
    (kept,) = [row for row in rows(services.database, call_logs) if row["payload"] is not None]
    assert kept["request_id"] == "poison"


# --- outages ---------------------------------------------------------------------------------------------------


def test_an_outage_of_an_hour_costs_little_loses_nothing_and_drains_in_bounded_batches(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    receiver.routes["/logs"] = answer(503)
    key = key_with(api, webhook(receiver))
    told: list[str] = []
    for minute in range(60):
        told += tell(api, key, *(f"{minute}-{number}" for number in range(5)))
        deliver(services)
        clock.advance(60)
    attempts = len(receiver.received)
    outage = names(heard(receiver))
    receiver.received.clear()
    receiver.routes["/logs"] = answer(200)

    clock.advance(600)
    deliver(services)

    # The target rests for up to five minutes as a whole, and one log alone is tried then.
    assert attempts < 30
    assert set(outage.values()) <= set(range(30))
    assert all(len(request.json) <= MOST_LOGS for request in receiver.received)
    assert len(receiver.received) <= 2 + len(told) // MOST_LOGS
    assert names(heard(receiver)) == Counter(told)
    assert nothing_is_left(services)


def test_a_destination_that_asks_for_patience_gets_it(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    receiver.routes["/logs"] = answer(429, Retry_After="600")
    tell(api, key_with(api, webhook(receiver)), "r")
    deliver(services)
    receiver.routes["/logs"] = answer(200)

    clock.advance(599)
    deliver(services)
    early = len(receiver.received)
    clock.advance(1)
    deliver(services)

    assert (early, len(receiver.received)) == (1, 2)
    assert nothing_is_left(services)


def test_wrong_credentials_are_parked_with_the_reason_and_sent_when_they_are_put_right(
    api: Api, services: Services, clock: MovableClock
):
    with langfuse() as server:
        variables = {"langfuse_public_key": PUBLIC, "langfuse_secret_key": "wrong", "langfuse_host": server.url}
        key = key_with(api, {"callback_name": "langfuse", "callback_vars": variables})
        tell(api, key, *(f"r{number}" for number in range(3)))
        deliver(services)

        reason = "the credentials were refused: HTTP 401"
        parked = rows(services.database, deliveries)
        assert {(row["parked_at"], row["last_error"]) for row in parked} == {(clock.now(), reason)}
        (target,) = api.get("/events/targets").body["targets"]
        assert (target["parked"], target["waiting"], target["last_error"]) == (3, 0, reason)
        assert not holds_credentials(services.database)
        logging(
            api, key, {"callback_name": "langfuse", "callback_vars": {**variables, "langfuse_secret_key": SECRET}}
        )
        assert services.event_replay.replay_parked(Act(SYSTEM, clock.now()), target["target"]) == 3
        server.received.clear()
        deliver(services)

    (request,) = server.received
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    assert len(resource.scope_spans[0].spans) == 3
    assert nothing_is_left(services)


def holds_credentials(database: Database) -> bool:
    """Whether what a callback is opened with stands in any row of what is delivered."""
    stored = repr([rows(database, table) for table in (call_logs, deliveries, targets)])
    return any(secret in stored for secret in (SECRET, "wrong"))


# --- a callback that changes meanwhile -------------------------------------------------------------------------


def logging(api: Api, key: str, *entries: Any) -> None:
    assert api.post("/key/update", {"key": key, "metadata": {"logging": list(entries)}}).status == 200


Change = Callable[[Api, str, Receiver], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda api, key, _: logging(api, key),
        lambda api, key, receiver: logging(api, key, webhook(receiver, kind="success")),
        lambda api, key, _: logging(api, key, {"callback_name": "langfuse", "callback_vars": {}}),
        lambda api, key, _: api.post("/key/update", {"key": key, "metadata": {}}),
    ],
    ids=["none", "another type", "another name", "no list"],
)
def test_what_waits_for_a_callback_that_is_gone_is_parked_and_goes_to_no_other(
    api: Api, services: Services, receiver: Receiver, change: Change
):
    key = key_with(api, webhook(receiver))
    tell(api, key, "r")
    change(api, key, receiver)

    deliver(services)

    assert receiver.received == []
    (parked,) = rows(services.database, deliveries)
    assert (parked["parked_at"] is not None, parked["last_error"]) == (True, GONE)


def test_what_waits_follows_its_callback_to_another_place_in_the_list_and_to_another_address(
    api: Api, services: Services, receiver: Receiver
):
    key = key_with(api, webhook(receiver, "/wrong"))
    tell(api, key, "r")
    logging(api, key, webhook(receiver, "/failed", "failure"), webhook(receiver, "/right"))

    deliver(services)

    assert receiver.paths() == ["POST /right"]


def test_what_waits_is_delivered_though_the_key_is_deleted(api: Api, services: Services, receiver: Receiver):
    key = key_with(api, webhook(receiver))
    tell(api, key, "r")
    assert api.post("/key/delete", {"keys": [key]}).status == 200

    deliver(services)

    assert names(heard(receiver)) == {"r": 1}


def test_a_log_that_is_not_kept_any_more_is_not_sent(api: Api, services: Services, receiver: Receiver):
    tell(api, key_with(api, webhook(receiver)), "r", "s")
    with services.database.transaction() as transaction:
        transaction.execute(call_logs.update().where(call_logs.c.request_id == "r").values(payload=None))

    deliver(services)

    assert names(heard(receiver)) == {"s": 1}
    (parked,) = rows(services.database, deliveries)
    assert parked["last_error"] == NOT_KEPT


# --- two at once, and again ------------------------------------------------------------------------------------


def test_two_callbacks_that_take_a_log_at_once_leave_nothing_of_it(
    api: Api, services: Services, receiver: Receiver
):
    key = key_with(api, webhook(receiver, "/a"), webhook(receiver, "/b"), webhook(receiver, "/c"))
    told = [tell(api, key, *(f"{batch}-{number}" for number in range(20))) for batch in range(5)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: deliver(services), range(4)))

    for path in ("/a", "/b", "/c"):
        assert names(heard(receiver, path)).keys() == {name for batch in told for name in batch}
    assert nothing_is_left(services)


def test_a_call_that_is_told_again_after_its_delivery_is_known(api: Api, services: Services, receiver: Receiver):
    key = key_with(api, webhook(receiver))
    tell(api, key, "r")
    deliver(services)

    again = api.post("/key/log", {"status": "success", "key": key, "request_id": "r"}).body
    deliver(services)

    assert (again["duplicate"], len(receiver.received)) == (True, 1)


def test_what_was_told_once_is_one_identity_wherever_and_whenever_it_goes(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    key = key_with(api, webhook(receiver, "/a"), webhook(receiver, "/b"))
    tell(api, key, "r")
    deliver(services)
    clock.advance(timedelta(days=services.settings.call_log_days, seconds=1))
    services.jobs.run(TaskName.PURGE_CALL_LOGS, lambda: True)
    tell(api, key, "r")
    deliver(services)

    assert len(heard(receiver, "/a")) == len(heard(receiver, "/b")) == 2
    assert len({payload["id"] for path in ("/a", "/b") for payload in heard(receiver, path)}) == 1


@on_one_store
def test_a_callback_that_is_not_used_any_more_is_forgotten(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    receiver.routes["/parked"] = answer(401)
    used, parked = key_with(api, webhook(receiver)), key_with(api, webhook(receiver, "/parked"))
    tell(api, used, "r")
    deliver(services)
    clock.advance(timedelta(days=services.settings.call_log_days, seconds=1))
    tell(api, parked, "r")
    deliver(services)

    services.jobs.run(TaskName.PURGE_CALL_LOGS, lambda: True)

    (kept,) = rows(services.database, targets)
    assert kept["last_error"] == "the credentials were refused: HTTP 401"


# --- keeping no longer than needed -----------------------------------------------------------------------------


def test_what_nobody_takes_is_parked_and_gone_after_its_days(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    receiver.routes["/logs"] = answer(503)
    tell(api, key_with(api, webhook(receiver)), "r")
    deliver(services)
    clock.advance(timedelta(hours=services.settings.delivery_hours, seconds=1))
    deliver(services)
    (parked,) = rows(services.database, deliveries)
    services.jobs.run(TaskName.PURGE_CALL_LOGS, lambda: True)
    still = rows(services.database, call_logs)
    clock.advance(timedelta(days=services.settings.call_log_days))
    services.jobs.run(TaskName.PURGE_CALL_LOGS, lambda: True)

    assert parked["last_error"] == f"not delivered within {services.settings.delivery_hours} hours: HTTP 503"
    assert [row["payload"] is not None for row in still] == [True]
    assert rows(services.database, call_logs) == rows(services.database, deliveries) == []


def test_what_still_waits_is_not_dropped_however_old(
    api: Api, services: Services, receiver: Receiver, clock: MovableClock
):
    tell(api, key_with(api, webhook(receiver)), "unrouted")
    clock.advance(timedelta(days=30))
    services.jobs.run(TaskName.PURGE_CALL_LOGS, lambda: True)
    assert len(rows(services.database, call_logs)) == 1

    deliver(services)

    assert names(heard(receiver)) == {"unrouted": 1}
