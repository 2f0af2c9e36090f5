"""May this key make this call? Every check but those that count: budgets, rates and parallel requests.

The order is LiteLLM's, so that of several reasons it is the same one that is given: blocked before models, models
before expiry, expiry before routes, the key before its team. A call is judged by what it says of itself, and what
it leaves out is not used: a call without a model, such as a listing of models, is not judged by models.

Lists of the key and of its team bind together; none of them takes off what another one forbids.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import model_access, refusals, routes
from app.domain.instants import iso
from app.domain.refusals import Level, ModelList, Refused
from app.domain.snapshots import Snapshot

# One route with two names.
_CHAT = ("/chat/completions", "/v1/chat/completions")


@dataclass(frozen=True, slots=True)
class Call:
    """What a gateway says of a call before it makes it."""

    model: str | None = None
    # Models that the caller names for the case that the first one fails.
    fallbacks: tuple[str, ...] = ()
    # A call that names no route is a chat completion.
    route: str | None = None
    # Names that the request's body holds: `a`, or `a.b` for b inside a.
    params: frozenset[str] = frozenset()
    # Names inside the body's `cache`.
    cache: tuple[str, ...] = ()
    # None where the body does not speak of guardrails; an empty list would switch them off.
    guardrails: tuple[str, ...] | None = None
    tools: tuple[str, ...] = ()
    vector_stores: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    # The end user, as the body names it.
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One check, what it looked at, and its refusal where it refused."""

    name: str
    inputs: Mapping[str, Any]
    refused: Refused | None


def rules(snapshot: Snapshot | None, call: Call, now: datetime) -> Iterator[Rule]:
    """Each check in its order, made only when it is asked for; None is the snapshot of an unknown key."""
    if snapshot is None:
        yield Rule("key_exists", {"exists": False}, refusals.unknown_key())
        return
    yield Rule("key_exists", {"exists": True}, None)
    yield _key_blocked(snapshot)
    yield from _key_models(snapshot, call)
    yield _owner_active(snapshot)
    yield _key_expiry(snapshot, now)
    yield _key_routes(snapshot, call)
    yield _team_blocked(snapshot)
    yield from _models_around(snapshot, call)
    yield _guardrails(snapshot, call)
    yield from _objects(snapshot, call)
    yield _enforced_params(snapshot, call)
    yield _cache_controls(snapshot, call)


def refusal(snapshot: Snapshot | None, call: Call, now: datetime) -> Refused | None:
    """The first refusal among the rules; None where all of them let the call pass."""
    return next((rule.refused for rule in rules(snapshot, call, now) if rule.refused is not None), None)


def _key_blocked(snapshot: Snapshot) -> Rule:
    blocked = bool(snapshot.key["blocked"])
    return Rule("key_blocked", {"blocked": blocked}, refusals.key_blocked() if blocked else None)


def _owner_active(snapshot: Snapshot) -> Rule:
    user_id = snapshot.key["user_id"]
    active = snapshot.owner_is_active
    inputs = {"user_id": user_id, "active": active}
    return Rule("owner_active", inputs, None if active else refusals.owner_deactivated(user_id))


def _key_expiry(snapshot: Snapshot, now: datetime) -> Rule:
    key = snapshot.key
    expires_at = key["expires_at"]
    expired = expires_at is not None and expires_at <= now
    refused = refusals.key_expired(key["key_name"], expires_at, now) if expired else None
    return Rule("key_expiry", {"expires": iso(expires_at), "now": iso(now)}, refused)


def _key_routes(snapshot: Snapshot, call: Call) -> Rule:
    allowed = snapshot.key["allowed_routes"]
    asked = _CHAT if call.route is None else (call.route,)
    covered = not allowed or any(routes.covered(route, allowed) for route in asked)
    refused = None if covered else refusals.route_not_allowed(allowed, asked[0])
    return Rule("key_routes", {"allowed_routes": allowed, "route": asked[0]}, refused)


def _team_blocked(snapshot: Snapshot) -> Rule:
    team = snapshot.team or {}
    blocked = bool(team.get("blocked"))
    refused = refusals.team_blocked(team["team_id"]) if blocked else None
    return Rule("team_blocked", {"team_id": team.get("team_id"), "blocked": blocked}, refused)


def _key_models(snapshot: Snapshot, call: Call) -> Iterator[Rule]:
    models = snapshot.key["models"]
    yield _models("key_models", "key", snapshot, call, models)
    reach = (snapshot.object_permission or {}).get("models", ())
    yield _models("key_object_models", "key", snapshot, call, reach)


def _models_around(snapshot: Snapshot, call: Call) -> Iterator[Rule]:
    """The lists of the team, of the owner's place in it, of the organization, and of the owner."""
    team, reach = snapshot.team or {}, snapshot.team_object_permission or {}
    yield _models("team_models", "team", snapshot, call, team.get("models", ()))
    yield _models("team_object_models", "team", snapshot, call, reach.get("models", ()))
    member = (snapshot.member_tier or {}).get("allowed_models", ())
    yield _models("member_models", "member", snapshot, call, member)
    organization = (snapshot.organization or {}).get("models", ())
    yield _models("organization_models", "organization", snapshot, call, organization)
    yield _user_models(snapshot, call)


def _user_models(snapshot: Snapshot, call: Call) -> Rule:
    """The owner's own list binds a personal key only: in a team, the team's does."""
    models = snapshot.user["models"] if snapshot.user is not None and snapshot.team is None else ()
    if call.model is not None and model_access.NO_MODELS in models:
        # As of the key: that is what LiteLLM says of an owner who may call no model at all.
        refused = refusals.model_not_allowed("key", call.model)
        return Rule("user_models", {"models": models, "model": call.model}, refused)
    return _models("user_models", "user", snapshot, call, models)


def _models(name: str, whose: ModelList, snapshot: Snapshot, call: Call, models: Any) -> Rule:
    """Whether a list opens the model that is called and every fallback, each by what it is in truth."""
    asked = (() if call.model is None else (call.model,)) + call.fallbacks
    refused = None
    if models:
        denied = (model for model in asked if not _opened(whose, snapshot, models, model))
        refused = next((refusals.model_not_allowed(whose, model) for model in denied), None)
    return Rule(name, {"models": models, "model": call.model, "fallbacks": call.fallbacks}, refused)


# Lists that stand under a team's: its aliases are names that they may hold.
_UNDER_TEAM = frozenset({"key", "member"})


def _opened(whose: ModelList, snapshot: Snapshot, models: Any, model: str) -> bool:
    opens = model_access.key_opens if whose == "key" else model_access.opens
    if opens(models, model_access.resolved_model(snapshot, model)):
        return True
    return whose in _UNDER_TEAM and opens(models, model_access.own_name(snapshot, model))


def _guardrails(snapshot: Snapshot, call: Call) -> Rule:
    team_settings = (snapshot.team or {}).get("metadata", {}).get("guardrails")
    kept = isinstance(team_settings, Mapping) and team_settings.get("modify_guardrails") is False
    refused = refusals.guardrails_not_allowed() if kept and call.guardrails is not None else None
    return Rule("guardrails", {"guardrails": call.guardrails, "modify_guardrails": not kept}, refused)


def _objects(snapshot: Snapshot, call: Call) -> Iterator[Rule]:
    """What key and team may reach beside models; an empty list restricts nothing."""
    levels: tuple[tuple[Level, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("key", snapshot.object_permission or {}, snapshot.key["metadata"]),
        ("team", snapshot.team_object_permission or {}, (snapshot.team or {}).get("metadata", {})),
    )
    for level, reach, _ in levels:
        yield _vector_stores(level, call, reach.get("vector_stores") or ())
    for level, reach, metadata in levels:
        yield _tools(level, call, _texts(metadata.get("allowed_tools")), reach.get("blocked_tools") or ())
    for level, reach, _ in levels:
        yield _mcp_servers(level, call, reach.get("mcp_servers") or ())


def _vector_stores(level: Level, call: Call, allowed: Any) -> Rule:
    denied = next((store for store in call.vector_stores if allowed and store not in allowed), None)
    refused = None if denied is None else refusals.vector_store_not_allowed(level, denied, allowed)
    inputs = {"allowed": allowed, "vector_stores": call.vector_stores}
    return Rule(f"{level}_vector_stores", inputs, refused)


def _tools(level: Level, call: Call, allowed: tuple[str, ...], blocked: Any) -> Rule:
    unlisted = [tool for tool in call.tools if allowed and tool not in allowed]
    stopped = [tool for tool in call.tools if tool in blocked]
    refused = None
    if unlisted:
        refused = refusals.tool_not_allowed(unlisted)
    elif stopped:
        refused = refusals.tool_blocked(stopped)
    return Rule(f"{level}_tools", {"allowed": allowed, "blocked": blocked, "tools": call.tools}, refused)


def _mcp_servers(level: Level, call: Call, allowed: Any) -> Rule:
    denied = next((server for server in call.mcp_servers if allowed and server not in allowed), None)
    refused = None if denied is None else refusals.mcp_server_not_allowed(denied, allowed)
    return Rule(f"{level}_mcp_servers", {"allowed": allowed, "mcp_servers": call.mcp_servers}, refused)


def _enforced_params(snapshot: Snapshot, call: Call) -> Rule:
    enforced = _texts(snapshot.key["metadata"].get("enforced_params"))
    present = _present(call) if enforced else frozenset()
    missing = next((name for name in enforced if name not in present), None)
    refused = None if missing is None else refusals.parameter_missing(missing)
    return Rule("enforced_params", {"enforced_params": enforced, "params": sorted(present)}, refused)


def _present(call: Call) -> frozenset[str]:
    """Every name that the body is known to hold: those listed, what surrounds them, and what the call tells."""
    told = {
        "model": call.model,
        "user": call.user,
        "guardrails": call.guardrails is not None,
        "tools": call.tools,
        "cache": call.cache,
        "metadata.tags": call.tags,
    }
    names = call.params | {name for name, value in told.items() if value}
    return names | {name.partition(".")[0] for name in names}


def _cache_controls(snapshot: Snapshot, call: Call) -> Rule:
    allowed = snapshot.key["allowed_cache_controls"]
    denied = next((control for control in call.cache if allowed and control not in allowed), None)
    refused = None if denied is None else refusals.cache_control_not_allowed(denied)
    return Rule("cache_controls", {"allowed": allowed, "cache": call.cache}, refused)


def _texts(listed: Any) -> tuple[str, ...]:
    """The texts of a list in metadata, which may hold any JSON; a bare text is a list of it."""
    if isinstance(listed, str):
        return (listed,)
    return tuple(entry for entry in listed if isinstance(entry, str)) if isinstance(listed, list) else ()
