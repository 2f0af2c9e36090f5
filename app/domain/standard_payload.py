"""What a logging callback is sent for one LLM call: LiteLLM's standard payload; also for a call that never was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, RFC_4122, UUID, uuid5

from app.domain.finished_calls import FinishedCall
from app.domain.masking import without_keys
from app.domain.money import dollars

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
# What is known of its surroundings besides, for a call that was made.
_FACTS_AROUND = {"user_api_key_team_alias": "team_alias", "user_api_key_user_email": "user_email"}
# How names begin that tell of the key: what a gateway says by these is replaced by what is known here.
_OURS = "user_api_key"
_UNKNOWN = ("user_api_key_team_alias", "user_api_key_user_email", "user_api_key_end_user_id")


@dataclass(frozen=True, slots=True)
class Log:
    """One call's log: its identity, its instant, and its standard payload; `is_test` where no call was made."""

    id: str
    at: datetime
    payload: Mapping[str, Any] = field(repr=False)
    is_test: bool = False

    @property
    def uuid(self) -> UUID:
        """The id itself where it is a UUID, else one that is always the same for this id."""
        try:
            found = UUID(self.id)
        except ValueError:
            found = None
        if found is not None and found.variant == RFC_4122:
            return found
        return uuid5(NAMESPACE_OID, self.id.encode(errors="backslashreplace").decode())

    @property
    def name(self) -> str:
        """What the call is called where it is shown: the kind of call and its model."""
        if self.is_test:
            return "keyledger-key-health"
        return f"{self.payload.get('call_type') or 'call'} {self.payload.get('model') or ''}".rstrip()

    @property
    def failed(self) -> bool:
        """Whether the call itself failed."""
        return self.payload.get("status") == "failure"

    @property
    def tags(self) -> list[str]:
        """What the caller has marked the call with."""
        given = self.payload.get("request_tags")
        return [str(tag) for tag in given] if isinstance(given, list) else []

    @property
    def started_at(self) -> datetime:
        """When the call began; the log's own instant where the payload does not tell."""
        return self._told("startTime")

    @property
    def ended_at(self) -> datetime:
        """When the call was over, never before it began."""
        return max(self._told("endTime"), self.started_at)

    def _told(self, name: str) -> datetime:
        seconds = self.payload.get(name)
        try:
            return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else self.at
        except (ValueError, OverflowError, OSError):
            return self.at

    @property
    def key_facts(self) -> Mapping[str, Any]:
        """What the payload tells of the key."""
        facts = self.payload.get("metadata")
        return facts if isinstance(facts, Mapping) else {}


def probe(log_id: str, key: Mapping[str, Any], at: datetime) -> Log:
    """A test log for the key whose wire fields are given; nothing in it is secret."""
    seconds = at.timestamp()
    facts = {name: key[source] for name, source in _KEY_FACTS.items()}
    message = {"role": "assistant", "content": TEST_RESPONSE}
    payload = {
        "id": log_id,
        "trace_id": log_id,
        "session_id": log_id,
        "litellm_call_id": log_id,
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
    return Log(log_id, at, payload, is_test=True)


def of_call(
    log_id: str, request_id: str, call: FinishedCall, key: Mapping[str, Any], at: datetime, *, bodies: bool
) -> dict[str, Any]:
    """The payload of a call that was made, told of at `at`.

    `key` holds the wire fields of its key, with `team_alias` and `user_email`. Without `bodies` it tells nothing
    of what was asked and answered. All that looks like a key is cut short.
    """
    # It was over, or began, just now where nothing else was told.
    started_at = call.started_at or call.ended_at or at
    ended_at = call.ended_at or max(at, started_at)
    input_tokens, output_tokens = call.input_tokens or 0, call.output_tokens or 0
    told = {name: value for name, value in (call.metadata or {}).items() if not name.startswith(_OURS)}
    facts = {name: key[source] for name, source in {**_KEY_FACTS, **_FACTS_AROUND}.items()}
    payload = {
        "id": log_id,
        "trace_id": call.trace_id or request_id,
        "session_id": call.session_id,
        "litellm_call_id": request_id,
        "call_type": call.call_type or "acompletion",
        "status": call.status,
        "response_cost": dollars(call.cost_nanos or 0),
        "total_tokens": input_tokens + output_tokens if call.total_tokens is None else call.total_tokens,
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "startTime": started_at.timestamp(),
        "endTime": ended_at.timestamp(),
        "response_time": (ended_at - started_at).total_seconds(),
        "model": call.model or "",
        "model_group": call.model_group or call.model or "",
        "model_id": call.model_id or "",
        "api_base": call.api_base or "",
        "custom_llm_provider": call.custom_llm_provider or "",
        "metadata": {
            **told,
            **facts,
            "user_api_key_end_user_id": call.end_user,
            "user_api_key_request_route": call.route,
        },
        "request_tags": list(call.tags),
        "end_user": call.end_user or "",
        "messages": call.messages if bodies else None,
        "response": call.response if bodies else None,
        "error_str": call.error_str,
        "error_information": call.error_information,
        "model_parameters": call.model_parameters or {},
        "cache_hit": bool(call.cache_hit),
        "hidden_params": {},
    }
    masked: dict[str, Any] = without_keys(payload)
    return masked


def without_bodies(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload for a destination that is to hear nothing of what was asked and answered."""
    return {**payload, "messages": None, "response": None}
