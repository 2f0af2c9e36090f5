"""Thresholds of budgets: each is told once in a window, however the charges fall into folds."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.payloads import of_crossing
from app.domain.scopes import Scope, ScopeKind
from app.domain.thresholds import (
    Caps,
    Crossing,
    CrossingKind,
    Threshold,
    alert_percentages,
    crossings,
    projected,
    thresholds,
)
from app.domain.windows import Window

KEY = Scope(ScopeKind.KEY, "k")
START = datetime(2026, 11, 18, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=10))
# Too early in the window for any projection.
EARLY = START + timedelta(hours=1)
CAPS = Caps(max_nanos=1_000, soft_nanos=500, alert_percentages=(50, 80))

amounts = st.integers(min_value=0, max_value=2_000)
caps = st.builds(
    Caps,
    st.none() | st.integers(0, 3_000),
    st.none() | st.integers(0, 3_000),
    st.lists(st.integers(1, 100), max_size=3).map(tuple),
)


def found(caps: Caps, before: int | None, after: int, now: datetime = EARLY) -> list[Crossing]:
    return crossings(KEY, caps, WINDOW, before=before, after=after, now=now)


def kinds(crossed: list[Crossing]) -> list[tuple[str, int | None]]:
    return [(crossing.threshold.kind.value, crossing.threshold.percentage) for crossing in crossed]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0, 499, []),
        (0, 500, [("soft_budget_crossed", None), ("max_budget_alert", 50)]),
        (500, 799, []),
        (799, 800, [("max_budget_alert", 80)]),
        (800, 850, [("threshold_crossed", 85)]),
        (850, 949, []),
        (949, 950, [("threshold_crossed", 95)]),
        (950, 1_000, [("budget_crossed", None)]),
        (1_000, 5_000, []),
        (900, 100, []),
        (
            0,
            1_000,
            [
                ("soft_budget_crossed", None),
                ("max_budget_alert", 50),
                ("max_budget_alert", 80),
                ("threshold_crossed", 85),
                ("threshold_crossed", 95),
                ("budget_crossed", None),
            ],
        ),
    ],
)
def test_a_threshold_is_crossed_where_the_spend_comes_from_below_to_it_or_above(
    before: int, after: int, expected: list[tuple[str, int | None]]
):
    assert kinds(found(CAPS, before, after)) == expected


@given(caps, st.lists(amounts, max_size=12), st.data())
def test_whatever_the_folds_each_threshold_is_told_exactly_once(caps: Caps, charges: list[int], data: Any):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(charges)), max_size=5)) | {0, len(charges)})
    total = [0, *accumulate(charges)]

    told = Counter(
        crossing.fact for first, last in pairwise(cuts) for crossing in found(caps, total[first], total[last])
    )

    reached = {Crossing(KEY, WINDOW, each, 0).fact for each in thresholds(caps) if each.nanos <= total[-1]}
    assert told == Counter(reached)


@given(caps, amounts)
def test_what_stands_crossed_has_the_facts_of_what_charges_have_crossed(caps: Caps, spend: int):
    by_charges, as_it_stands = found(caps, 0, spend), found(caps, None, spend)

    assert [crossing.fact for crossing in as_it_stands] == [crossing.fact for crossing in by_charges]


@given(caps, caps, amounts)
def test_equal_facts_are_equal_scopes_windows_and_thresholds(one: Caps, other: Caps, spend: int):
    later = Window(WINDOW.end, WINDOW.end + timedelta(days=10))
    crossed = [
        crossing
        for scope in (KEY, Scope(ScopeKind.TEAM, "k"), Scope(ScopeKind.KEY, "k:"))
        for window in (WINDOW, later, None)
        for caps in (one, other)
        for crossing in crossings(scope, caps, window, before=None, after=spend, now=EARLY)
    ]

    meant = {(crossing.scope, crossing.window, crossing.threshold) for crossing in crossed}
    assert len({crossing.fact for crossing in crossed}) == len(meant)


@pytest.mark.parametrize(
    ("window", "threshold", "expected"),
    [
        (WINDOW, Threshold(CrossingKind.SOFT, 5), "soft_budget_crossed:key:k::2026-11-18T00:00:00+00:00:5"),
        (None, Threshold(CrossingKind.HARD, 5), "budget_crossed:key:k:::5"),
        (None, Threshold(CrossingKind.NEAR, 850, 85), "threshold_crossed:key:k:::85:850"),
    ],
)
def test_a_fact_names_what_it_is(window: Window | None, threshold: Threshold, expected: str):
    assert Crossing(KEY, window, threshold, 9).fact == expected


def test_a_holder_that_is_made_again_crosses_its_thresholds_again():
    made = (EARLY, EARLY + timedelta(seconds=1))
    threshold = Threshold(CrossingKind.HARD, 5)

    assert len({Crossing(KEY, WINDOW, threshold, 9, since=since).fact for since in made}) == 2


def test_a_budget_of_nothing_is_crossed_by_the_first_nano_dollar_and_not_before():
    nothing = Caps(0, 0)

    assert found(nothing, None, 0) == []
    assert {kind for kind, _ in kinds(found(nothing, 0, 1))} == {
        "soft_budget_crossed",
        "threshold_crossed",
        "budget_crossed",
    }


def test_a_percentage_that_is_no_whole_amount_is_not_reached_below_it():
    assert [each.nanos for each in thresholds(Caps(3)) if each.percentage == 85] == [3]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, (80,)),
        ({"max_budget_alert_emails": {"90": ["a@x"], "50": ["b@x"]}}, (50, 90)),
        ({"max_budget_alert_emails": {"0": [], "101": [], "1e1": [], "-5": [], "²": [], "5.5": []}}, (80,)),
        ({"max_budget_alert_emails": ["50"]}, (80,)),
        ({"max_budget_alert_emails": None}, (80,)),
        ({"max_budget_alert_emails": {"9" * 5_000: []}}, (80,)),
    ],
)
def test_the_percentages_of_a_key_go_before_the_setting(metadata: dict[str, Any], expected: tuple[int, ...]):
    assert alert_percentages(metadata, (80,)) == expected


# --- projection --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "spend", "projects"),
    [
        (0.9, 400, False),  # before a tenth of the window
        (1, 100, True),
        (1, 50, False),  # exactly the cap in the end
        (1, 51, True),
        (5, 250, False),
        (5, 499, True),
        (5, 500, False),  # reached
        (10, 499, False),  # over
        (-1, 499, False),
        (5, 0, False),
    ],
)
def test_a_window_that_will_pass_its_soft_cap_in_a_straight_line_is_told(days: float, spend: int, projects: bool):
    now = START + timedelta(days=days)

    crossed = found(Caps(soft_nanos=500), spend, spend, now)

    assert kinds(crossed) == ([("projected_limit_exceeded", None)] if projects else [])


def test_a_projection_tells_what_the_window_comes_to_and_when_the_cap_is_passed():
    projection = projected(Caps(soft_nanos=500), WINDOW, 200, START + timedelta(days=2))

    assert projection is not None
    assert (projection.spend_nanos, projection.exceeded_at) == (1_000, START + timedelta(days=5))


def test_nothing_is_projected_without_a_window_or_without_a_soft_cap():
    later = START + timedelta(days=5)

    assert projected(Caps(soft_nanos=500), None, 499, later) is None
    assert projected(Caps(max_nanos=500), WINDOW, 499, later) is None


@given(st.integers(1, 10**16), st.integers(1, 10**16), st.integers(1, 864_000 - 1))
def test_a_projected_cap_is_passed_within_the_window_and_by_what_is_projected(soft: int, spend: int, seconds: int):
    projection = projected(Caps(soft_nanos=soft), WINDOW, spend, START + timedelta(seconds=seconds))

    if projection is not None:
        assert projection.spend_nanos >= soft
        assert START + timedelta(seconds=seconds) <= projection.exceeded_at <= WINDOW.end


# --- what the event says -----------------------------------------------------------------------------------


def test_an_alert_names_those_who_asked_for_its_percentage():
    asked = {"50": ["a@x", " b@x ", 5], "80": "c@x, d@x", "90": {"e@x": 1}}
    whose = {"key_alias": "a", "token": "hash", "metadata": {"secret": "s"}, "max_budget_alert_emails": asked}

    told = [of_crossing(crossing, whose, CAPS) for crossing in found(CAPS, 0, 810)]

    assert [fields.get("max_budget_alert_emails") for fields in told] == [
        None,
        {"50": ["a@x", "b@x"]},
        {"80": ["c@x", "d@x"]},
    ]
    assert not any("metadata" in fields for fields in told)


def test_a_crossing_tells_threshold_window_and_caps_in_dollars():
    (crossing,) = found(Caps(max_nanos=2_000_000_000), 1_800_000_000, 1_900_000_000)

    fields = of_crossing(crossing, {"team_id": "t"}, Caps(max_nanos=2_000_000_000))

    assert fields == {
        **dict.fromkeys(("token", "key_name", "key_alias", "user_id", "user_email", "team_alias")),
        **dict.fromkeys(("organization_id", "organization_alias", "soft_budget")),
        **dict.fromkeys(("projected_spend", "projected_exceeded_date")),
        "team_id": "t",
        "spend": 1.9,
        "max_budget": 2.0,
        "threshold": 1.9,
        "percentage": 95,
        "window_start": "2026-11-18T00:00:00.000000Z",
        "window_end": "2026-11-28T00:00:00.000000Z",
    }
