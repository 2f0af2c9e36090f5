"""What a logging callback is sent for one LLM call: LiteLLM's standard payload, here for a call that never was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TEST_MODEL = "openai/litellm-key-health-test"
TEST_MESSAGE = "This is a test of the key's logging by /key/health. No model was called."
TEST_RESPONSE = "test response"

# Which facts of the key go along, and under which names.
_KEY_FACTS = {
    "user_api_key_hash": "token",
    "user_api_key_alias": "key_alias",
    "user_api_key_spend": "spend",
    "user_api_key_max_budget": "max_budget",
    "user_api_key_budget_reset_at": "budget_reset_at",
    "user_api_key_team_id": "team_id",
    "user_api_key_user_id": "user_id",
    "user_api_key_org_id": "organization_id",
    "user_api_key_project_id": "project_id",
}
_UNKNOWN = ("user_api_key_team_alias", "user_api_key_user_email", "user_api_key_end_user_id")


@dataclass(frozen=True, slots=True)
class Probe:
    """One test log: its identity, its instant, and its standard payload."""

    id: str
    at: datetime
    payload: Mapping[str, Any] = field(repr=False)

    @property
    def key_facts(self) -> Mapping[str, Any]:
        """What the payload tells of the key."""
        facts: Mapping[str, Any] = self.payload["metadata"]
        return facts


def probe(probe_id: str, key: Mapping[str, Any], at: datetime) -> Probe:
    """A test log for the key whose wire fields are given; nothing in it is secret."""
    seconds = at.timestamp()
    facts = {name: key[source] for name, source in _KEY_FACTS.items()}
    message = {"role": "assistant", "content": TEST_RESPONSE}
    payload = {
        "id": probe_id,
        "trace_id": probe_id,
        "session_id": probe_id,
        "litellm_call_id": probe_id,
        "call_type": "acompletion",
        "status": "success",
        "response_cost": 0.0,
        "total_tokens": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "startTime": seconds,
        "endTime": seconds,
        "response_time": 0.0,
        "model": TEST_MODEL,
        "model_group": TEST_MODEL,
        "model_id": "",
        "api_base": "",
        "custom_llm_provider": "openai",
        "metadata": {**facts, **dict.fromkeys(_UNKNOWN), "user_api_key_request_route": "/key/health"},
        "request_tags": [],
        "end_user": "",
        "messages": [{"role": "user", "content": TEST_MESSAGE}],
        "response": {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]},
        "error_str": None,
        "error_information": None,
        "model_parameters": {},
        "cache_hit": False,
        "hidden_params": {},
    }
    return Probe(probe_id, at, payload)
