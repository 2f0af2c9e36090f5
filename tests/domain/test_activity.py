"""Sums of days, and how they break down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.activity import Identity, Sums, days_of, provider_of

NAMES = st.sampled_from(["", "a", "p/a", "p/b"])
ROWS = st.lists(
    st.tuples(
        st.builds(Identity, st.sampled_from(["2026-01-01", "2026-01-02"]), NAMES, NAMES, NAMES, NAMES, NAMES),
        st.builds(Sums, *[st.integers(-5, 5)] * 4),
    )
)


@given(ROWS, st.sampled_from(["team_id", "user_id"]))
def test_every_breakdown_adds_up_to_what_it_breaks_down(rows: list[tuple[Identity, Sums]], entity: str):
    for day in days_of(rows, entity):
        of_day = [(identity, sums) for identity, sums in rows if identity.day == day.day]
        assert day.whole.sums == sum((sums for _, sums in of_day), Sums())
        for parts, name in ((day.models, "model"), (day.entities, entity)):
            named = [sums for identity, sums in of_day if getattr(identity, name)]
            assert sum((part.sums for part in parts.values()), Sums()) == sum(named, Sums())
        for part in (day.whole, *day.models.values(), *day.providers.values(), *day.entities.values()):
            assert sum(part.keys.values(), Sums()) == part.sums


@pytest.mark.parametrize(
    ("model", "provider"), [("openai/gpt-4o", "openai"), ("a/b/c", "a"), ("gpt-4o", ""), ("", ""), ("/m", "")]
)
def test_a_provider_is_what_stands_before_the_slash(model: str, provider: str):
    assert provider_of(model) == provider
