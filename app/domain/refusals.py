"""Why a call is refused: a stable code, and what LiteLLM would have answered in its place.

A code says which rule refused, once and for all; status, type and message are the wire's. The codes:

| code | the call is refused because | status, type |
|---|---|---|
| unknown | the secret opens no key, or none that the gateway may ask about | 401 token_not_found_in_db |
| blocked | the key is blocked | 401 auth_error |
| expired | the key's time is over | 401 expired_key |
| owner_deactivated | the identity provider has switched the key's owner off | 401 auth_error |
| model_not_allowed | a list leaves the model out; the type tells whose | 403 …_model_access_denied |
| route_not_allowed | the route is not among the key's | 403 auth_error |
| team_blocked | the team is blocked | 401 auth_error |
| guardrails_not_allowed | the call alters guardrails that the team keeps to itself | 403 auth_error |
| vector_store_not_allowed | a vector store is not among the key's or team's | 401 …_vector_store_access_denied |
| tool_not_allowed | a tool is not among the key's or team's, or blocked there | 403 tool_access_denied |
| mcp_server_not_allowed | an MCP server is not among the key's or team's | 403 auth_error |
| parameter_missing | the body lacks a parameter that the key enforces | 400 invalid_request_error |
| cache_control_not_allowed | a cache control is not among the key's | 403 permission_error |
| estimate_required | nothing says what the call may cost | 400 invalid_request_error |
| budget_exceeded | a budget would be passed | as set, budget_exceeded |
| rate_limited | the requests or tokens of a minute would be passed | 429 throttling_error |
| concurrency_exceeded | all parallel requests are taken | 429 throttling_error |
| holds_lost | Redis has lost the holds of calls that may still be under way | 503 internal_server_error |
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from app.domain import money
from app.domain.instants import iso
from app.domain.scopes import ScopeKind
from app.domain.snapshots import Snapshot


class Code(StrEnum):
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    OWNER_DEACTIVATED = "owner_deactivated"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    ROUTE_NOT_ALLOWED = "route_not_allowed"
    TEAM_BLOCKED = "team_blocked"
    GUARDRAILS_NOT_ALLOWED = "guardrails_not_allowed"
    VECTOR_STORE_NOT_ALLOWED = "vector_store_not_allowed"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    MCP_SERVER_NOT_ALLOWED = "mcp_server_not_allowed"
    PARAMETER_MISSING = "parameter_missing"
    CACHE_CONTROL_NOT_ALLOWED = "cache_control_not_allowed"
    ESTIMATE_REQUIRED = "estimate_required"
    BUDGET_EXCEEDED = "budget_exceeded"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_EXCEEDED = "concurrency_exceeded"
    HOLDS_LOST = "holds_lost"


@dataclass(frozen=True, slots=True)
class Refused:
    """`detail` stands beside the envelope where LiteLLM answers with that; `headers` are sent along."""

    code: Code
    status: int
    type: str
    message: str
    param: str | None = None
    detail: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


Level = Literal["key", "team"]
Unit = Literal["requests", "tokens"]

# Whose list leaves a model out, and the type that LiteLLM gives to that.
ModelList = Literal["key", "team", "member", "organization", "user"]
_MODEL_TYPES: dict[ModelList, str] = {
    "key": "key_model_access_denied",
    "team": "team_model_access_denied",
    "member": "team_model_access_denied",
    "organization": "org_model_access_denied",
    "user": "user_model_access_denied",
}


def unknown_key() -> Refused:
    message = "Authentication Error, Invalid API key provided."
    return Refused(Code.UNKNOWN, 401, "token_not_found_in_db", message, "key")


def key_blocked() -> Refused:
    message = "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin."
    return Refused(Code.BLOCKED, 401, "auth_error", message)


def key_expired(key_name: str, expires_at: datetime, now: datetime) -> Refused:
    message = f"Authentication Error - Expired Key. Key Expiry time {iso(expires_at)} and current time {iso(now)}"
    return Refused(Code.EXPIRED, 401, "expired_key", message, key_name)


def owner_deactivated(user_id: str) -> Refused:
    message = f"Authentication Error, User={user_id} is deactivated."
    return Refused(Code.OWNER_DEACTIVATED, 401, "auth_error", message)


def team_blocked(team_id: str) -> Refused:
    message = f"Authentication Error, Team={team_id} is blocked. Update via `/team/unblock` if you're an admin."
    return Refused(Code.TEAM_BLOCKED, 401, "auth_error", message)


def model_not_allowed(whose: ModelList, model: str) -> Refused:
    message = (
        f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
        "Check the models available to you and try again."
    )
    return Refused(Code.MODEL_NOT_ALLOWED, 403, _MODEL_TYPES[whose], message, "model")


def route_not_allowed(allowed: Sequence[str], route: str) -> Refused:
    message = (
        "Virtual key is not allowed to call this route. Only allowed to call routes: "
        f"{list(allowed)}. Tried to call route: {route}"
    )
    return Refused(Code.ROUTE_NOT_ALLOWED, 403, "auth_error", message, detail=message)


def guardrails_not_allowed() -> Refused:
    message = "Your team does not have permission to modify guardrails."
    return Refused(Code.GUARDRAILS_NOT_ALLOWED, 403, "auth_error", message)


def vector_store_not_allowed(level: Level, store: str, allowed: Sequence[str]) -> Refused:
    message = (
        f"User not allowed to access vector store. Tried to access {store}. Only allowed to access {list(allowed)}"
    )
    kind = f"{level}_vector_store_access_denied"
    return Refused(Code.VECTOR_STORE_NOT_ALLOWED, 401, kind, message)


def tool_not_allowed(tools: Sequence[str]) -> Refused:
    message = f"Tool(s) {list(tools)} are not in the allowed tools list for this key/team."
    return Refused(Code.TOOL_NOT_ALLOWED, 403, "tool_access_denied", message, "tools")


def tool_blocked(tools: Sequence[str]) -> Refused:
    message = f"Tool(s) {list(tools)} are blocked for this key/team."
    return Refused(Code.TOOL_NOT_ALLOWED, 403, "tool_access_denied", message, "tools")


def mcp_server_not_allowed(server: str, allowed: Sequence[str]) -> Refused:
    message = f"Not allowed to reach MCP server '{server}'. Only allowed to reach {list(allowed)}"
    return Refused(Code.MCP_SERVER_NOT_ALLOWED, 403, "auth_error", message, "mcp_servers")


def parameter_missing(name: str) -> Refused:
    """LiteLLM answers 500 here; what the caller left out is the caller's fault."""
    shown = name if "." not in name else "".join(f"[{part}]" for part in name.split("."))
    message = f"BadRequest please pass param={shown} in request body. This is a required param"
    return Refused(Code.PARAMETER_MISSING, 400, "invalid_request_error", message, name)


def cache_control_not_allowed(control: str) -> Refused:
    message = f"Not allowed to set {control} as a cache control. Contact admin to change permissions."
    return Refused(Code.CACHE_CONTROL_NOT_ALLOWED, 403, "permission_error", message)


def estimate_required(param: str) -> Refused:
    """`param` is the field in which the caller could have said it."""
    message = f"Say in {param} what the call may cost at most: dollars, or tokens of a model with a price."
    return Refused(Code.ESTIMATE_REQUIRED, 400, "invalid_request_error", message, param)


def budget_refused(
    kind: ScopeKind, snapshot: Snapshot, *, spent_nanos: int, cap_nanos: int, status: int, sub: str = ""
) -> Refused:
    """A budget that leaves no room; `sub` is the model or the length of the window, where the kind has one."""
    key = snapshot.key
    # A repr of a float is the shortest text of it, as JSON writes it.
    spent, cap = repr(money.dollars(spent_nanos)), repr(money.dollars(cap_nanos))
    counted = f"Current cost: {spent}, Max budget: {cap}"
    messages = {
        "key": f"Budget has been exceeded! Key={key['key_alias'] or 'key'} ({key['key_name']}) {counted}",
        "key_model": f"LiteLLM Virtual Key: {key['token']}, key_alias: {key['key_alias']}, "
        f"exceeded budget for model={sub}",
        "key_window": f"ExceededBudget: Key over {sub} budget. Spend=${spent}, Limit=${cap}",
        "team": f"Budget has been exceeded! Team={key['team_id']} {counted}",
        "team_model": f"LiteLLM Team: {key['team_id']}, exceeded budget for model={sub}",
        "team_window": f"ExceededBudget: Team={key['team_id']} over {sub} budget. Spend=${spent}, Limit=${cap}",
        "member": f"Budget has been exceeded! TeamMember={key['user_id']}:{key['team_id']} {counted}",
        "user": f"ExceededBudget: User={key['user_id']} over budget. Spend={spent}, Budget={cap}",
        "user_model": f"LiteLLM User: {key['user_id']}, exceeded budget for model={sub}",
        "organization": f"Budget has been exceeded! Organization={snapshot.organization_id} {counted}",
    }
    return Refused(Code.BUDGET_EXCEEDED, status, "budget_exceeded", messages[kind])


def rate_refused(
    kind: ScopeKind,
    snapshot: Snapshot,
    *,
    unit: Unit,
    limit: int,
    remaining: int,
    reset_at: datetime,
    now: datetime,
    sub: str = "",
) -> Refused:
    """A minute that leaves no room; `reset_at` is its end, `sub` the model, where the kind has one."""
    return _throttled(Code.RATE_LIMITED, kind, snapshot, unit, limit, remaining, reset_at, now, sub)


def concurrency_refused(
    kind: ScopeKind, snapshot: Snapshot, *, limit: int, reset_at: datetime, now: datetime
) -> Refused:
    """No parallel request left; `reset_at` is when the first of those under way ends by time alone."""
    unit = "max_parallel_requests"
    return _throttled(Code.CONCURRENCY_EXCEEDED, kind, snapshot, unit, limit, 0, reset_at, now, "")


def never_fitting(refused: Refused, asked: str, limit: str) -> Refused:
    """The same refusal for a call that asks for more than there ever is: it names no time to come back."""
    message = f"{refused.message}. The call asks for {asked} of a limit of {limit}: it will never fit"
    headers = tuple(header for header in refused.headers if header[0] != "retry-after")
    return replace(refused, message=message, headers=headers)


def held_back(refused: Refused, held: str, asked: str) -> Refused:
    """The same refusal where the spend alone leaves room: what is held for calls under way does not."""
    return replace(refused, message=f"{refused.message}. Held for calls under way: {held}, asked for: {asked}")


def holds_lost(until: datetime) -> Refused:
    """The installation's choice: no budgeted call before every hold of before has ended by time."""
    message = f"Calls with a budget wait until {iso(until)}: what was held for earlier ones was lost with Redis."
    return Refused(Code.HOLDS_LOST, 503, "internal_server_error", message)


# How LiteLLM calls what a rate counts.
_RATE_SCOPES = {
    "key": "api_key",
    "key_model": "model_per_key",
    "team": "team",
    "team_model": "model_per_team",
    "member": "team_member",
    "user": "user",
    "user_model": "model_per_user",
    "organization": "organization",
    "organization_model": "model_per_organization",
}


def _throttled(
    code: Code,
    kind: ScopeKind,
    snapshot: Snapshot,
    unit: str,
    limit: int,
    remaining: int,
    reset_at: datetime,
    now: datetime,
    sub: str,
) -> Refused:
    reset = f"{reset_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    message = (
        f"Rate limit exceeded for {_RATE_SCOPES[kind]}: {_counted(kind, snapshot, sub)}. Limit type: {unit}. "
        f"Current limit: {limit}, Remaining: {remaining}. Limit resets at: {reset}"
    )
    # The time that is left, where LiteLLM always says the window's length.
    wait = max(1, math.ceil((reset_at - now).total_seconds()))
    headers = (("retry-after", str(wait)), ("rate_limit_type", unit), ("reset_at", reset))
    return Refused(code, 429, "throttling_error", message, headers=headers)


def _counted(kind: ScopeKind, snapshot: Snapshot, sub: str) -> str:
    key = snapshot.key
    named: dict[str, Any] = {
        "key": key["token"],
        "team": key["team_id"],
        "member": f"{key['team_id']}:{key['user_id']}",
        "user": key["user_id"],
        "organization": snapshot.organization_id,
    }
    return f"{named[kind.removesuffix('_model')]}:{sub}" if kind.endswith("_model") else named[kind]
