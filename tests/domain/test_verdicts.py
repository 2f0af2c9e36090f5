"""Every check of a call: what it refuses in which words, and which of several refusals is given."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import model_access, verdicts
from app.domain.refusals import Code, Refused
from app.domain.verdicts import Call
from tests.domain.snapshots import NOW, snapshot_of

GUARDED = {"metadata": {"guardrails": {"modify_guardrails": False}}}


def refusal(call=None, **parts):
    return verdicts.refusal(snapshot_of(**parts), call or Call(model="gpt-4o"), NOW)


def unavailable(model):
    return (
        f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
        "Check the models available to you and try again."
    )


def test_an_unknown_key_is_refused_by_the_first_and_only_rule():
    (rule,) = verdicts.rules(None, Call(model="gpt-4o"), NOW)
    assert rule.refused == Refused(
        Code.UNKNOWN, 401, "token_not_found_in_db", "Authentication Error, Invalid API key provided.", "key"
    )


def test_an_unlimited_key_may_make_every_call():
    call = Call("gpt-4o", ("o1",), "/v1/responses", frozenset(), ("ttl",), (), ("t",), ("v",), ("m",), ("x",), "u")
    assert refusal(call) is None
    assert refusal(call, team={}, user={}, organization={}, member_models=[], reach={}, team_reach={}) is None


@pytest.mark.parametrize(
    ("parts", "call", "expected"),
    [
        (
            {"blocked": True},
            {},
            Refused(
                Code.BLOCKED,
                401,
                "auth_error",
                "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
            ),
        ),
        (
            {"models": ["o1"]},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "key_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"models": ["gpt-4o"]},
            {"fallbacks": ("gpt-4o", "o1")},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "key_model_access_denied", unavailable("o1"), "model"),
        ),
        (
            {"reach": {"models": ["o1"]}},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "key_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"user": {"metadata": {"scim_active": False}}},
            {},
            Refused(Code.OWNER_DEACTIVATED, 401, "auth_error", "Authentication Error, User=u1 is deactivated."),
        ),
        (
            {"expires_at": NOW},
            {},
            Refused(
                Code.EXPIRED,
                401,
                "expired_key",
                "Authentication Error - Expired Key. Key Expiry time 2026-05-06T07:08:09.000000Z "
                "and current time 2026-05-06T07:08:09.000000Z",
                "sk-...abcd",
            ),
        ),
        (
            {"allowed_routes": ["/embeddings", "info_routes"]},
            {"route": "/chat/completions"},
            Refused(
                Code.ROUTE_NOT_ALLOWED,
                403,
                "auth_error",
                "Virtual key is not allowed to call this route. Only allowed to call routes: "
                "['/embeddings', 'info_routes']. Tried to call route: /chat/completions",
                detail="Virtual key is not allowed to call this route. Only allowed to call routes: "
                "['/embeddings', 'info_routes']. Tried to call route: /chat/completions",
            ),
        ),
        (
            {"team": {"blocked": True}},
            {},
            Refused(
                Code.TEAM_BLOCKED,
                401,
                "auth_error",
                "Authentication Error, Team=t1 is blocked. Update via `/team/unblock` if you're an admin.",
            ),
        ),
        (
            {"team": {"models": ["o1"]}},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "team_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"team": {}, "team_reach": {"models": ["o1"]}},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "team_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"team": {"models": ["o1"]}, "models": ["all-team-models"]},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "team_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"team": {}, "user": {}, "member_models": ["o1"]},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "team_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"organization": {"models": ["o1"]}},
            {},
            Refused(
                Code.MODEL_NOT_ALLOWED,
                403,
                "org_model_access_denied",
                unavailable("gpt-4o"),
                "model",
            ),
        ),
        (
            {"user": {"models": ["o1"]}},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "user_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"user": {"models": ["no-default-models", "gpt-4o"]}},
            {},
            Refused(Code.MODEL_NOT_ALLOWED, 403, "key_model_access_denied", unavailable("gpt-4o"), "model"),
        ),
        (
            {"team": GUARDED},
            {"guardrails": ()},
            Refused(
                Code.GUARDRAILS_NOT_ALLOWED,
                403,
                "auth_error",
                "Your team does not have permission to modify guardrails.",
            ),
        ),
        (
            {"reach": {"vector_stores": ["v1", "v2"]}},
            {"vector_stores": ("v1", "v3")},
            Refused(
                Code.VECTOR_STORE_NOT_ALLOWED,
                401,
                "key_vector_store_access_denied",
                "User not allowed to access vector store. Tried to access v3. Only allowed to access ['v1', 'v2']",
            ),
        ),
        (
            {"team": {}, "team_reach": {"vector_stores": ["v1"]}},
            {"vector_stores": ("v2",)},
            Refused(
                Code.VECTOR_STORE_NOT_ALLOWED,
                401,
                "team_vector_store_access_denied",
                "User not allowed to access vector store. Tried to access v2. Only allowed to access ['v1']",
            ),
        ),
        (
            {"metadata": {"allowed_tools": ["a"]}},
            {"tools": ("a", "b")},
            Refused(
                Code.TOOL_NOT_ALLOWED,
                403,
                "tool_access_denied",
                "Tool(s) ['b'] are not in the allowed tools list for this key/team.",
                "tools",
            ),
        ),
        (
            {"team": {"metadata": {"allowed_tools": ["a"]}}, "metadata": {"allowed_tools": ["a", "b"]}},
            {"tools": ("a", "b")},
            Refused(
                Code.TOOL_NOT_ALLOWED,
                403,
                "tool_access_denied",
                "Tool(s) ['b'] are not in the allowed tools list for this key/team.",
                "tools",
            ),
        ),
        (
            {"reach": {"blocked_tools": ["b"]}},
            {"tools": ("a", "b")},
            Refused(
                Code.TOOL_NOT_ALLOWED,
                403,
                "tool_access_denied",
                "Tool(s) ['b'] are blocked for this key/team.",
                "tools",
            ),
        ),
        (
            {"team": {}, "team_reach": {"mcp_servers": ["m1"]}},
            {"mcp_servers": ("m1", "m2")},
            Refused(
                Code.MCP_SERVER_NOT_ALLOWED,
                403,
                "auth_error",
                "Not allowed to reach MCP server 'm2'. Only allowed to reach ['m1']",
                "mcp_servers",
            ),
        ),
        (
            {"metadata": {"enforced_params": ["user"]}},
            {},
            Refused(
                Code.PARAMETER_MISSING,
                400,
                "invalid_request_error",
                "BadRequest please pass param=user in request body. This is a required param",
                "user",
            ),
        ),
        (
            {"metadata": {"enforced_params": ["user", "metadata.trace"]}},
            {"user": "someone", "params": frozenset({"metadata"})},
            Refused(
                Code.PARAMETER_MISSING,
                400,
                "invalid_request_error",
                "BadRequest please pass param=[metadata][trace] in request body. This is a required param",
                "metadata.trace",
            ),
        ),
        (
            {"allowed_cache_controls": ["no-cache"]},
            {"cache": ("no-cache", "ttl")},
            Refused(
                Code.CACHE_CONTROL_NOT_ALLOWED,
                403,
                "permission_error",
                "Not allowed to set ttl as a cache control. Contact admin to change permissions.",
            ),
        ),
    ],
)
def test_a_rule_refuses_in_the_reference_s_words(parts, call, expected):
    assert refusal(Call(**{"model": "gpt-4o"} | call), **parts) == expected


@pytest.mark.parametrize(
    ("parts", "call"),
    [
        ({"blocked": False}, {}),
        ({"models": ["o1"]}, {"model": None}),
        ({"models": ["gpt-4o"]}, {"fallbacks": ("gpt-4o",)}),
        ({"models": ["all-team-models"]}, {}),
        ({"models": ["all-team-models"], "team_id": "no row"}, {}),
        ({"models": ["all-team-models"], "team": {"models": ["gpt-4o"]}}, {}),
        ({"models": ["all-proxy-models"], "team": {"models": ["*"]}}, {}),
        ({"user": {"metadata": {"scim_active": True}}}, {}),
        ({"expires_at": NOW + timedelta(microseconds=1)}, {}),
        ({"allowed_routes": ["/v1/chat/completions"]}, {}),
        ({"allowed_routes": ["/chat/completions"]}, {}),
        ({"allowed_routes": ["llm_api_routes"]}, {}),
        ({"allowed_routes": ["/v1/*"]}, {"route": "/v1/embeddings"}),
        ({"team": {"models": ["gpt-4o"]}, "user": {"models": ["o1"]}}, {}),
        ({"team": {}, "user": {"models": ["no-default-models"]}}, {}),
        ({"user": {"models": ["no-default-models"]}}, {"model": None}),
        ({"team": GUARDED}, {"guardrails": None}),
        ({"team": {"metadata": {"guardrails": ["pii"]}}}, {"guardrails": ("pii",)}),
        ({"team": {"metadata": {"guardrails": {"modify_guardrails": True}}}}, {"guardrails": ()}),
        ({"reach": {"vector_stores": []}}, {"vector_stores": ("v",)}),
        ({"metadata": {"allowed_tools": ["a"]}}, {"tools": ("a",)}),
        ({"metadata": {"allowed_tools": []}}, {"tools": ("a",)}),
        ({"metadata": {"enforced_params": ["user", "model", "tools", "metadata.tags", "metadata"]}},
         {"user": "u", "tools": ("a",), "tags": ("x",)}),
        ({"metadata": {"enforced_params": ["a", "a.b"]}}, {"params": frozenset({"a.b"})}),
        ({"metadata": {"enforced_params": [None, 3], "allowed_tools": {"a": 1}}}, {"tools": ("b",)}),
        ({"allowed_cache_controls": []}, {"cache": ("ttl",)}),
    ],
)  # fmt: skip
def test_a_rule_lets_pass_what_it_does_not_restrict(parts, call):
    assert refusal(Call(**{"model": "gpt-4o"} | call), **parts) is None


# A limit of each rule, in the order in which the rules refuse.
LIMITS = [
    ("key_blocked", {"blocked": True}),
    ("key_models", {"models": ["none"]}),
    ("key_object_models", {"reach": {"models": ["none"]}}),
    ("owner_active", {"user": {"metadata": {"scim_active": False}}}),
    ("key_expiry", {"expires_at": NOW - timedelta(days=1)}),
    ("key_routes", {"allowed_routes": ["/none"]}),
    ("team_blocked", {"team": {"blocked": True}}),
    ("team_models", {"team": {"models": ["none"]}}),
    ("team_object_models", {"team": {}, "team_reach": {"models": ["none"]}}),
    ("member_models", {"team": {}, "member_models": ["none"]}),
    ("organization_models", {"organization": {"models": ["none"]}}),
    ("user_models", {"user": {"models": ["none"]}}),
    ("guardrails", {"team": GUARDED}),
    ("key_vector_stores", {"reach": {"vector_stores": ["none"]}}),
    ("team_vector_stores", {"team": {}, "team_reach": {"vector_stores": ["none"]}}),
    ("key_tools", {"metadata": {"allowed_tools": ["none"]}}),
    ("team_tools", {"team": {"metadata": {"allowed_tools": ["none"]}}}),
    ("key_mcp_servers", {"reach": {"mcp_servers": ["none"]}}),
    ("team_mcp_servers", {"team": {}, "team_reach": {"mcp_servers": ["none"]}}),
    ("enforced_params", {"metadata": {"enforced_params": ["none"]}}),
    ("cache_controls", {"allowed_cache_controls": ["none"]}),
]
ALL_OF_A_CALL = Call(
    model="gpt-4o",
    route="/chat/completions",
    cache=("ttl",),
    guardrails=("pii",),
    tools=("a",),
    vector_stores=("v",),
    mcp_servers=("m",),
)


def together(*limits):
    """All these limits on one key; of its team, its owner and what they reach, each field is taken."""
    parts = {}
    for limit in limits:
        for name, value in limit.items():
            parts[name] = merged(parts[name], value) if isinstance(parts.get(name), dict) else value
    return parts


def merged(one, other):
    return one | {
        name: merged(one[name], value) if isinstance(one.get(name), dict) and isinstance(value, dict) else value
        for name, value in other.items()
    }


def refusing(parts):
    found = verdicts.rules(snapshot_of(**parts), ALL_OF_A_CALL, NOW)
    return [rule.name for rule in found if rule.refused is not None]


def test_explain_sees_every_rule_in_the_order_in_which_they_refuse():
    names = [rule.name for rule in verdicts.rules(snapshot_of(), ALL_OF_A_CALL, NOW)]
    assert names == ["key_exists", *(name for name, _ in LIMITS)]


@pytest.mark.parametrize(("name", "limit"), LIMITS)
def test_a_limit_is_refused_by_its_own_rule_alone(name, limit):
    assert refusing(limit) == [name]


def test_of_two_refusals_the_one_that_comes_first_is_given():
    for place, (name, limit) in enumerate(LIMITS):
        for later, other in LIMITS[place + 1 :]:
            expected = [name] if later == "user_models" and "team" in limit else [name, later]
            expected = [later] if name == "user_models" and "team" in other else expected
            assert refusing(together(limit, other)) == expected


@given(st.lists(st.sampled_from(LIMITS), unique_by=lambda limit: limit[0]), st.sampled_from(LIMITS))
def test_one_more_restriction_never_lets_a_call_pass(limits, one_more):
    # A team takes the place of its owner's own list, so that list is no restriction beside one.
    chosen = [parts for name, parts in limits if name != "user_models"]
    before, after = refusing(together(*chosen)), refusing(together(*chosen, one_more[1]))
    assert set(before) <= set(after)


@given(st.lists(st.sampled_from(LIMITS), unique_by=lambda limit: limit[0]))
def test_the_refusal_is_that_of_the_first_rule_that_refuses(limits):
    snapshot = snapshot_of(**together(*(parts for _, parts in limits)))
    refused = [rule.refused for rule in verdicts.rules(snapshot, ALL_OF_A_CALL, NOW) if rule.refused]
    assert verdicts.refusal(snapshot, ALL_OF_A_CALL, NOW) == next(iter(refused), None)


NAMES = st.sampled_from(["gpt-4o", "o1", "fast", "quick", "claude-3"])
LISTS = st.lists(NAMES | st.sampled_from(["openai/*", "gpt-*", "all-team-models"]), max_size=3)
ALIASES = st.dictionaries(NAMES, NAMES)


@given(ALIASES, LISTS, LISTS, NAMES)
def test_an_alias_of_a_key_opens_nothing_that_its_target_would_not(aliases, models, team_models, model):
    target = aliases.get(model, model)
    aliased = refusal(Call(model=model), aliases=aliases, models=models, team={"models": team_models})
    plain = refusal(Call(model=target), models=models, team={"models": team_models})
    assert (aliased is None) == (plain is None)


@given(ALIASES, ALIASES, LISTS, LISTS, NAMES)
def test_no_alias_leads_out_of_the_lists_of_team_and_organization(
    aliases, team_aliases, team, organization, model
):
    snapshot = snapshot_of(
        aliases=aliases,
        team={"models": team, "model_aliases": team_aliases},
        organization={"models": organization},
    )
    reached = model_access.resolved_model(snapshot, model)
    if verdicts.refusal(snapshot, Call(model=model), NOW) is None:
        assert model_access.opens(team, reached)
        assert model_access.opens(organization, reached)


@pytest.mark.parametrize(
    ("parts", "allowed"),
    [
        ({"aliases": {"fast": "gpt-4o"}, "models": ["gpt-4o"]}, True),
        ({"aliases": {"fast": "o1"}, "models": ["fast"]}, False),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}}, "models": ["fast"]}, True),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}}, "models": ["gpt-4o"]}, True),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}}, "models": ["o1"]}, False),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}, "models": ["fast"]}}, False),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}, "models": ["gpt-4o"]}}, True),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}}, "member_models": ["fast"]}, True),
        ({"team": {"model_aliases": {"fast": "gpt-4o"}}, "organization": {"models": ["fast"]}}, False),
    ],
)
def test_an_alias_is_judged_by_what_it_reaches(parts, allowed):
    assert (refusal(Call(model="fast"), **parts) is None) is allowed


@given(st.lists(st.sampled_from(LIMITS), unique_by=lambda limit: limit[0]))
def test_no_rule_shows_a_secret(limits):
    """The digest opens nothing, but an explanation has no use for it either."""
    snapshot = snapshot_of(**together(*(parts for _, parts in limits)))
    assert snapshot.key["token"] not in repr(list(verdicts.rules(snapshot, ALL_OF_A_CALL, NOW)))
