"""What is told of a finished call: every field of the standard payload, whose words count, and what is kept of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import minting
from app.domain.finished_calls import FinishedCall, keeps_messages
from app.domain.masking import without_keys
from app.domain.reservations import Reservation
from app.domain.standard_payload import of_call, probe, without_bodies
from app.domain.values import InvalidValue
from tests.integrations.probes import KEY, NOW

LOG_ID = "5d0dd1f8-4ac7-5d0a-8e3e-0d3f1c5a2b10"
BEGAN = NOW - timedelta(seconds=3)
AROUND = {**KEY, "team_alias": "Search", "user_email": "bob@example.com", "organization_id": "acme"}
WHOLE = FinishedCall(
    status="failure",
    started_at=BEGAN,
    ended_at=BEGAN + timedelta(seconds=1.5),
    call_type="aembedding",
    route="/v1/embeddings",
    model="gpt-4o-2024-08-06",
    model_group="gpt-4o",
    model_id="deployment-7",
    custom_llm_provider="azure",
    api_base="https://api.example",
    input_tokens=10,
    output_tokens=5,
    total_tokens=17,
    cost_nanos=1_500_000,
    tags=("a", "b"),
    end_user="customer-9",
    session_id="session",
    trace_id="trace",
    cache_hit=True,
    messages=[{"role": "user", "content": "hi"}],
    response={"choices": []},
    error_str="RateLimitError: slow down",
    error_information={"error_code": "429"},
    model_parameters={"temperature": 0.5},
    metadata={"purpose": "test", "user_api_key_alias": "forged", "user_api_key": "sk-of-a-gateway-0123456789"},
)
FACTS = {
    "user_api_key_hash": "ab" * 32,
    "user_api_key_alias": "ci",
    "user_api_key_spend": 0.25,
    "user_api_key_max_budget": 10.0,
    "user_api_key_budget_reset_at": None,
    "user_api_key_team_id": "search",
    "user_api_key_team_alias": "Search",
    "user_api_key_user_id": "bob",
    "user_api_key_user_email": "bob@example.com",
    "user_api_key_org_id": "acme",
    "user_api_key_project_id": None,
}


def payload(call: FinishedCall, *, bodies: bool = True) -> dict[str, Any]:
    return of_call(LOG_ID, "request-1", call, AROUND, NOW, bodies=bodies)


def test_every_field_of_a_whole_call():
    assert payload(WHOLE) == {
        "id": LOG_ID,
        "trace_id": "trace",
        "session_id": "session",
        "litellm_call_id": "request-1",
        "call_type": "aembedding",
        "status": "failure",
        "response_cost": 0.0015,
        "total_tokens": 17,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "startTime": BEGAN.timestamp(),
        "endTime": BEGAN.timestamp() + 1.5,
        "response_time": 1.5,
        "model": "gpt-4o-2024-08-06",
        "model_group": "gpt-4o",
        "model_id": "deployment-7",
        "api_base": "https://api.example",
        "custom_llm_provider": "azure",
        "metadata": {
            "purpose": "test",
            **FACTS,
            "user_api_key_end_user_id": "customer-9",
            "user_api_key_request_route": "/v1/embeddings",
        },
        "request_tags": ["a", "b"],
        "end_user": "customer-9",
        "messages": [{"role": "user", "content": "hi"}],
        "response": {"choices": []},
        "error_str": "RateLimitError: slow down",
        "error_information": {"error_code": "429"},
        "model_parameters": {"temperature": 0.5},
        "cache_hit": True,
        "hidden_params": {},
    }


def test_every_field_of_a_call_of_which_nothing_is_told():
    assert payload(FinishedCall(status="success")) == {
        "id": LOG_ID,
        "trace_id": "request-1",
        "session_id": None,
        "litellm_call_id": "request-1",
        "call_type": "acompletion",
        "status": "success",
        "response_cost": 0.0,
        "total_tokens": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "startTime": NOW.timestamp(),
        "endTime": NOW.timestamp(),
        "response_time": 0.0,
        "model": "",
        "model_group": "",
        "model_id": "",
        "api_base": "",
        "custom_llm_provider": "",
        "metadata": {**FACTS, "user_api_key_end_user_id": None, "user_api_key_request_route": None},
        "request_tags": [],
        "end_user": "",
        "messages": None,
        "response": None,
        "error_str": None,
        "error_information": None,
        "model_parameters": {},
        "cache_hit": False,
        "hidden_params": {},
    }


def test_a_call_is_told_by_the_fields_of_a_test():
    assert payload(WHOLE).keys() == probe(LOG_ID, KEY, NOW).payload.keys()
    assert FACTS.keys() <= probe(LOG_ID, KEY, NOW).payload["metadata"].keys()


@pytest.mark.parametrize(
    ("told", "began", "ended"),
    [
        ({}, NOW, NOW),
        ({"started_at": BEGAN}, BEGAN, NOW),
        ({"ended_at": BEGAN}, BEGAN, BEGAN),
        ({"started_at": BEGAN, "ended_at": BEGAN}, BEGAN, BEGAN),
        # The clock of a gateway that is ahead.
        ({"started_at": NOW + timedelta(seconds=9)}, NOW + timedelta(seconds=9), NOW + timedelta(seconds=9)),
    ],
)
def test_when_a_call_began_and_ended(told: dict[str, datetime], began: datetime, ended: datetime):
    found = payload(FinishedCall(status="success", **told))

    assert (found["startTime"], found["endTime"]) == (began.timestamp(), ended.timestamp())


def test_no_call_ends_before_it_began():
    with pytest.raises(InvalidValue) as error:
        FinishedCall(status="success", started_at=NOW, ended_at=BEGAN)
    assert error.value.param == "end_time"


def test_tokens_are_added_up_where_no_total_is_told():
    assert payload(FinishedCall(status="success", input_tokens=3, output_tokens=4))["total_tokens"] == 7


# --- what else is known of it ------------------------------------------------------------------------------

HELD = Reservation(
    key_id="k",
    request_id="r",
    held_at=BEGAN,
    amount_nanos=1,
    tokens=1,
    model="held",
    team_id=None,
    user_id=None,
    organization_id=None,
    end_user="held",
    tags=("held",),
    accounts=(),
)


def test_what_was_not_told_is_taken_from_the_reservation():
    bare = FinishedCall(status="success").held_by(HELD)

    assert (bare.started_at, bare.model, bare.tags, bare.end_user) == (BEGAN, "held", ("held",), "held")
    assert WHOLE.held_by(HELD) == WHOLE


def test_a_call_that_ended_before_it_was_held_began_when_it_ended():
    early = BEGAN - timedelta(seconds=1)

    assert FinishedCall(status="success", ended_at=early).held_by(HELD).started_at == early


# --- bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize(
    ("key", "team", "kept"),
    [
        ({}, {}, None),
        ({"log_messages": True}, {}, True),
        ({"log_messages": False}, {"log_messages": True}, False),
        ({"log_messages": True}, {"log_messages": False}, True),
        ({}, {"log_messages": True}, True),
        ({}, {"log_messages": False}, False),
        ({"log_messages": None}, {"log_messages": True}, True),
        # Neither true nor false: a mistake keeps nothing.
        ({"log_messages": "true"}, {"log_messages": True}, False),
        ({"log_messages": 1}, {}, False),
    ],
)
def test_who_lets_messages_be_kept(key: dict[str, Any], team: dict[str, Any], kept: bool | None, default: bool):
    assert keeps_messages(key, team, default=default) is (default if kept is None else kept)


def test_without_bodies_nothing_tells_what_was_asked_and_answered():
    bare = payload(WHOLE, bodies=False)

    assert (bare["messages"], bare["response"]) == (None, None)
    assert bare == without_bodies(payload(WHOLE))
    assert payload(replace(WHOLE, messages=None, response=None)) == bare


# --- keys --------------------------------------------------------------------------------------------------

KEYS = ("sk-0123456789abcdef", "sk-aB3dEfGh1jKlMnOpQrStUv", "sk-my-own-secret-key-of-the-team")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "place", ["{}", "Bearer {}", '{{"a": "{}"}}', "a {} b", "({})", "x={}&y", "..\\{}", "token_{}", "{}\n"]
)
def test_what_looks_like_a_key_is_cut_short(key: str, place: str):
    assert without_keys(place.format(key)) == place.format(minting.key_name(key))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("before", ["\\n", "\\t", "\\u003d", "%3D", "%20"])
def test_a_key_is_found_behind_an_escape_too(key: str, before: str):
    assert without_keys(before + key) == before + minting.key_name(key)


@pytest.mark.parametrize(
    "text",
    [
        "risk-adjusted-returns-of-funds",
        "Risk-Adjusted-Returns",
        "a task-specific-instruction",
        "task-550e8400-e29b-41d4-a716-446655440000",
        "ask-llama-70b-instruct",
        "sk-",
        "sk-short",
        "SK-0123456789ABCDEF",
        "disk-0 is full",
        "",
    ],
)
def test_other_words_stay(text: str):
    assert without_keys(text) == text


def test_keys_are_found_however_deep_and_in_names_too():
    value = {"a": [{KEYS[0]: {"b": (f"Bearer {KEYS[1]}")}}], "n": 1, "f": 0.5, "t": True, "z": None}

    found = without_keys(value)

    assert found == {"a": [{"sk-...cdef": {"b": "Bearer sk-...StUv"}}], "n": 1, "f": 0.5, "t": True, "z": None}
    assert value["a"] == [{KEYS[0]: {"b": f"Bearer {KEYS[1]}"}}]


@given(before=st.text(max_size=4), after=st.text(max_size=4))
def test_a_minted_key_never_stays_whole(before: str, after: str):
    key = minting.mint().reveal()

    assert key not in without_keys(f"{before} {key} {after}")


def test_nothing_that_looks_like_a_key_is_in_a_payload():
    bodies = {
        "messages": [{"content": KEYS[0]}],
        "response": {"text": KEYS[1]},
        "error_str": KEYS[0],
        "error_information": {"headers": {"authorization": f"Bearer {KEYS[0]}"}},
        "model_parameters": {"extra": KEYS[1]},
        "metadata": {"headers": {"x-api-key": KEYS[2]}},
        "tags": (KEYS[0],),
        "end_user": KEYS[1],
        "api_base": f"https://api.example/?key={KEYS[0]}",
    }

    told = repr(payload(FinishedCall(status="failure", **bodies)))

    assert not any(key in told for key in KEYS)


@pytest.mark.parametrize("text", ["xsk-" * 200_000, "xsk-" + "a" * 800_000])
def test_a_text_of_many_beginnings_takes_no_quadratic_time(text: str):
    """It would take hours."""
    assert without_keys(text) == text


def test_an_aware_instant_is_what_the_payload_is_made_of():
    assert (
        payload(FinishedCall(status="success", ended_at=datetime(2026, 1, 1, tzinfo=UTC)))["endTime"] == 1767225600
    )
