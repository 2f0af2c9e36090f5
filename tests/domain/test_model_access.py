"""Which models a list opens, and what aliases stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import model_access
from tests.domain.snapshots import snapshot_of

NAMES = st.sampled_from(["gpt-4o", "openai/gpt-4o", "claude-3", "anthropic/claude-3", "mine", "fast", "o1", "?"])
ENTRIES = NAMES | st.sampled_from(
    ["openai/*", "*", "gpt-*", "all-proxy-models", "no-default-models", "cl*-3", "[m]*"]
)


@pytest.mark.parametrize(
    ("models", "model", "expected"),
    [
        ([], "gpt-4o", True),
        (["gpt-4o"], "gpt-4o", True),
        (["gpt-4o"], "gpt-4", False),
        (["gpt-4o"], "GPT-4o", False),
        (["gpt-4o"], "openai/gpt-4o", False),
        (["openai/gpt-4o"], "gpt-4o", False),
        (["*"], "anything/at all", True),
        (["all-proxy-models"], "anything", True),
        (["no-default-models"], "gpt-4o", False),
        (["openai/*"], "openai/gpt-4o", True),
        (["openai/*"], "gpt-4o", True),
        (["openai/*"], "o3-mini", True),
        (["openai/*"], "text-embedding-3-small", True),
        (["openai/*"], "gpt-internal", False),
        (["openai/*"], "my-gpt-4o", False),
        (["openai/*"], "azure/gpt-4o", False),
        (["openai/gpt-4*"], "gpt-4o", True),
        (["openai/gpt-3*"], "gpt-4o", False),
        (["anthropic/*"], "claude-sonnet-4-5", True),
        (["anthropic/*"], "gpt-4o", False),
        (["vertex_ai/*"], "gemini-2.0-flash", True),
        (["cohere/*"], "command-r", True),
        (["*/gpt-4o"], "azure/gpt-4o", True),
        (["bedrock/*/claude*"], "bedrock/eu/claude-3", True),
        (["gpt-?"], "gpt-4", False),
        (["gpt-?*"], "gpt-?x", True),
        (["gpt-[4]*"], "gpt-4o", False),
        (["gpt.4*"], "gpt-4o", False),
        (["gpt-*"], "a gpt-4", False),
        (["group"], "gpt-4o", False),
        (["group", "gpt-4o"], "gpt-4o", True),
    ],
)
def test_a_list_opens_a_model(models, model, expected):
    assert model_access.opens(models, model) is expected


@pytest.mark.parametrize("model", ["gpt-4o", "anything"])
def test_a_key_may_leave_the_answer_to_its_team(model):
    assert model_access.key_opens(["all-team-models", "mine"], model)
    assert not model_access.opens(["all-team-models", "mine"], model)


@given(st.lists(ENTRIES, min_size=1), NAMES, st.data())
def test_a_shorter_list_that_is_not_empty_opens_no_more(models, model, data):
    fewer = data.draw(st.lists(st.sampled_from(models), min_size=1))
    assert model_access.opens(models, model) or not model_access.opens(fewer, model)


def test_a_hostile_pattern_ends():
    """Tried in every way that it could fit, it would outlast the universe."""
    assert not model_access.fits("a*" * 40 + "b", "a" * 5000)


@pytest.mark.parametrize(
    ("aliases", "team_aliases", "model", "expected"),
    [
        ({}, None, "fast", "fast"),
        ({"fast": "gpt-4o"}, None, "fast", "gpt-4o"),
        ({"fast": "gpt-4o"}, None, "slow", "slow"),
        ({}, {"fast": "claude-3"}, "fast", "claude-3"),
        ({"fast": "quick"}, {"quick": "claude-3"}, "fast", "claude-3"),
        ({"fast": "gpt-4o"}, {"fast": "claude-3"}, "fast", "gpt-4o"),
        ({"fast": "quick", "quick": "gpt-4o"}, None, "fast", "quick"),
        ({"fast": "fast"}, {}, "fast", "fast"),
        ({"fast": None}, {"fast": 3}, "fast", "fast"),
        ({"fast": ""}, {"fast": ["gpt-4o"]}, "fast", "fast"),
    ],
)
def test_an_alias_stands_for_its_target(aliases, team_aliases, model, expected):
    team = None if team_aliases is None else {"model_aliases": team_aliases}
    assert model_access.resolved_model(snapshot_of(aliases=aliases, team=team), model) == expected
