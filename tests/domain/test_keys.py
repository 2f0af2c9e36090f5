"""What a key's columns become: the pure rules of keys.columns_of."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import budgets, keys
from app.domain.increases import TEMPORARY_FIELDS, temporary_increase
from app.domain.instants import iso
from app.domain.keys import (
    FOLDED_FIELDS,
    LIST_FIELDS,
    OBJECT_FIELDS,
    PLAIN_FIELDS,
    REFERENCE_FIELDS,
    columns_of,
)
from app.domain.minting import Secret
from app.domain.values import InvalidAlias, InvalidValue
from app.domain.windows import Calendar
from app.services.sealing.sealing import Sealer

NOW = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
DOLLAR = 1_000_000_000
VAULT = Sealer(Secret("salt"))

# A key as an update finds it.
STORED: dict[str, Any] = {
    "metadata": {"own": 1, "tags": ["old"]},
    "budget_limits": [{"budget_duration": "1d", "max_budget": 1.0, "reset_at": "2026-11-19T00:00:00.000000Z"}],
}
both_ways = pytest.mark.parametrize("stored", [None, STORED], ids=["creating", "updating"])


def columns(stored: Mapping[str, Any] | None = None, **sent: Any) -> dict[str, Any]:
    return columns_of(sent, stored, CALENDAR, NOW, VAULT)


def refused(stored: Mapping[str, Any] | None = None, **sent: Any) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        columns(stored, **sent)
    return caught.value


# --- each kind of field: a value, a null, nothing ----------------------------------------------------------


def test_no_field_is_of_two_kinds():
    kinds = [
        LIST_FIELDS,
        OBJECT_FIELDS,
        PLAIN_FIELDS,
        REFERENCE_FIELDS,
        FOLDED_FIELDS,
        TEMPORARY_FIELDS,
        budgets.LIMIT_FIELDS,
    ]

    assert [one & other for one, other in combinations(kinds, 2)] == [frozenset()] * 21


@both_ways
def test_what_is_not_sent_is_not_touched(stored: Mapping[str, Any] | None):
    assert columns(stored) == {}


@both_ways
@pytest.mark.parametrize("field", sorted(LIST_FIELDS))
def test_the_null_of_a_list_is_the_empty_list(stored: Mapping[str, Any] | None, field: str):
    assert columns(stored, **{field: None}) == {field: []}
    assert columns(stored, **{field: ["a"]}) == {field: ["a"]}


@both_ways
@pytest.mark.parametrize("field", sorted(OBJECT_FIELDS))
def test_the_null_of_an_object_is_the_empty_object(stored: Mapping[str, Any] | None, field: str):
    assert columns(stored, **{field: None}) == {field: {}}
    assert columns(stored, **{field: {"a": 1}}) == {field: {"a": 1}}


@both_ways
@pytest.mark.parametrize("field", sorted(PLAIN_FIELDS | budgets.RATE_FIELDS))
def test_the_null_of_a_plain_column_clears_it(stored: Mapping[str, Any] | None, field: str):
    assert columns(stored, **{field: None}) == {field: None}
    assert columns(stored, **{field: 0}) == {field: 0}


@both_ways
@pytest.mark.parametrize("field", sorted(REFERENCE_FIELDS))
def test_the_empty_text_names_nothing(stored: Mapping[str, Any] | None, field: str):
    assert columns(stored, **{field: ""}) == {field: None}
    assert columns(stored, **{field: None}) == {field: None}
    assert columns(stored, **{field: "a name"}) == {field: "a name"}


@both_ways
@pytest.mark.parametrize("field", sorted(budgets.MONEY_FIELDS))
def test_an_amount_becomes_nano_dollars_and_its_null_clears(stored: Mapping[str, Any] | None, field: str):
    assert columns(stored, **{field: Decimal("0.5")}) == {f"{field}_nanos": DOLLAR // 2}
    assert columns(stored, **{field: Decimal(0)}) == {f"{field}_nanos": 0}
    assert columns(stored, **{field: None}) == {f"{field}_nanos": None}
    assert refused(stored, **{field: Decimal(-1)}).param == field


@both_ways
def test_fields_that_are_no_columns_are_passed_over(stored: Mapping[str, Any] | None):
    assert columns(stored, object_permission={"models": ["a"]}, spend=Decimal(1), send_invite_email=True) == {}


sent_fields = st.fixed_dictionaries(
    {},
    optional={
        **{field: st.sampled_from([None, ["a"]]) for field in LIST_FIELDS},
        **{field: st.sampled_from([None, {"a": 1}]) for field in OBJECT_FIELDS},
        **{field: st.sampled_from([None, "x"]) for field in PLAIN_FIELDS | FOLDED_FIELDS},
        **{field: st.sampled_from([None, "", "x"]) for field in REFERENCE_FIELDS},
        **{field: st.sampled_from([None, 5]) for field in budgets.RATE_FIELDS},
        **{field: st.sampled_from([None, Decimal(5)]) for field in budgets.MONEY_FIELDS},
        "duration": st.sampled_from([None, "1d"]),
        "budget_duration": st.sampled_from([None, "1d"]),
    },
)


@settings(max_examples=60)
@given(sent_fields, sent_fields, st.sampled_from([None, STORED]))
def test_two_updates_leave_what_one_with_both_leaves(
    first: dict[str, Any], second: dict[str, Any], stored: dict[str, Any] | None
):
    """A merge patch: fields do not meddle with one another, but for metadata, which a later one replaces."""
    first = {name: value for name, value in first.items() if name != "metadata"}
    second = {name: value for name, value in second.items() if name != "metadata"}
    start = stored or {"metadata": {}, "budget_limits": None}

    one = {**start, **columns_of(first, start, CALENDAR, NOW, VAULT)}
    two = {**one, **columns_of(second, one, CALENDAR, NOW, VAULT)}

    assert two == {**start, **columns_of({**first, **second}, start, CALENDAR, NOW, VAULT)}


@settings(max_examples=60)
@given(sent_fields)
def test_sending_a_change_again_changes_nothing(sent: dict[str, Any]):
    once = {**STORED, **columns_of(sent, STORED, CALENDAR, NOW, VAULT)}

    assert {**once, **columns_of(sent, once, CALENDAR, NOW, VAULT)} == once


# --- folded into metadata ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(FOLDED_FIELDS))
def test_a_folded_field_is_an_entry_of_the_metadata(field: str):
    assert columns(**{field: ["a"]}) == {"metadata": {field: ["a"]}}
    assert columns(**{field: ["a"]}, metadata={"own": 2, field: {"beaten": 1}}) == {
        "metadata": {"own": 2, field: ["a"]}
    }
    assert columns(**{field: None}) == {"metadata": {}}


def test_updating_a_folded_field_keeps_the_other_entries():
    assert columns(STORED, tags=["new"])["metadata"] == {"own": 1, "tags": ["new"]}
    assert columns(STORED, guardrails=["g"])["metadata"] == {"own": 1, "tags": ["old"], "guardrails": ["g"]}


def test_the_null_of_a_folded_field_takes_its_entry_off():
    assert columns(STORED, tags=None)["metadata"] == {"own": 1}
    assert columns(STORED, guardrails=None)["metadata"] == STORED["metadata"]


def test_sent_metadata_replaces_all_of_it():
    assert columns(STORED, metadata={"x": 1})["metadata"] == {"x": 1}
    assert columns(STORED, metadata=None)["metadata"] == {}
    assert columns(STORED, metadata={"x": 1}, tags=["new"])["metadata"] == {"x": 1, "tags": ["new"]}


def test_what_is_stored_is_never_changed_in_place():
    stored = {"metadata": {"own": 1}, "budget_limits": None}
    sent = {"metadata": {"x": 1}}

    columns_of({"tags": ["a"]}, stored, CALENDAR, NOW, VAULT)
    columns_of({"tags": ["a"], **sent}, stored, CALENDAR, NOW, VAULT)

    assert (stored["metadata"], sent["metadata"]) == ({"own": 1}, {"x": 1})


# --- service accounts --------------------------------------------------------------------------------------

ACCOUNT = {"metadata": {"service_account_id": "bot", "own": 1}, "budget_limits": None}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"metadata": {"x": 1}}, {"service_account_id": "bot", "x": 1}),
        ({"metadata": {"service_account_id": "bot"}}, {"service_account_id": "bot"}),
        ({"metadata": None}, {"service_account_id": "bot"}),
        ({"tags": ["a"]}, {"service_account_id": "bot", "own": 1, "tags": ["a"]}),
    ],
)
def test_a_service_account_stays_what_it_is(sent: dict[str, Any], expected: dict[str, Any]):
    assert columns(ACCOUNT, **sent)["metadata"] == expected


@pytest.mark.parametrize("other", ["someone", None, "", 1])
def test_a_service_account_cannot_become_another(other: object):
    assert refused(ACCOUNT, metadata={"service_account_id": other}).param == "metadata"


@both_ways
def test_a_key_can_be_made_a_service_account(stored: Mapping[str, Any] | None):
    assert columns(stored, metadata={"service_account_id": "bot"})["metadata"] == {"service_account_id": "bot"}


# --- temporary increases -----------------------------------------------------------------------------------


def test_an_increase_is_kept_with_its_end():
    found = columns(STORED, temp_budget_increase=Decimal("0.1"), temp_budget_expiry=SOON)

    assert found == {
        "metadata": {
            **STORED["metadata"],
            "temp_budget_increase": 0.1,
            "temp_budget_expiry": "2026-11-18T14:47:33.000000Z",
        },
        "increase_ends_at": SOON,
    }


@pytest.mark.parametrize(
    "sent",
    [
        {"temp_budget_increase": None, "temp_budget_expiry": None},
        {"temp_budget_increase": None},
        {"temp_budget_expiry": None},
    ],
)
def test_the_null_of_either_half_takes_the_increase_off(sent: dict[str, Any]):
    raised = {**STORED, **columns(STORED, temp_budget_increase=Decimal(1), temp_budget_expiry=SOON)}

    assert columns(raised, **sent) == {"metadata": STORED["metadata"], "increase_ends_at": None}


@pytest.mark.parametrize(
    ("amount", "until", "param"),
    [
        (Decimal(0), SOON, "temp_budget_increase"),
        (Decimal("0.0000000001"), SOON, "temp_budget_increase"),
        (Decimal(-1), SOON, "temp_budget_increase"),
        (Decimal("NaN"), SOON, "temp_budget_increase"),
        (Decimal("9000000.000000001"), SOON, "temp_budget_increase"),
        (Decimal(1), NOW, "temp_budget_expiry"),
        (Decimal(1), NOW - timedelta(days=1), "temp_budget_expiry"),
    ],
)
def test_an_increase_that_raises_nothing_is_refused(amount: Decimal, until: datetime, param: str):
    assert refused(STORED, temp_budget_increase=amount, temp_budget_expiry=until).param == param


@pytest.mark.parametrize(
    ("metadata", "now", "expected"),
    [
        ({}, NOW, 0),
        ({"temp_budget_increase": 1.5, "temp_budget_expiry": SOON.isoformat()}, NOW, 1_500_000_000),
        (
            {"temp_budget_increase": 1.5, "temp_budget_expiry": SOON.isoformat()},
            SOON - timedelta.resolution,
            1_500_000_000,
        ),
        ({"temp_budget_increase": 1.5, "temp_budget_expiry": SOON.isoformat()}, SOON, 0),
        ({"temp_budget_increase": 1.5}, NOW, 0),
        ({"temp_budget_expiry": SOON.isoformat()}, NOW, 0),
    ],
)
def test_an_increase_counts_until_its_end(metadata: dict[str, Any], now: datetime, expected: int):
    assert temporary_increase(metadata, now) == expected


@given(st.integers(1, 2**23 * DOLLAR))
def test_an_increase_counts_to_the_nano_dollar(amount: int):
    stored = columns(STORED, temp_budget_increase=Decimal(amount).scaleb(-9), temp_budget_expiry=SOON)["metadata"]

    assert temporary_increase(stored, NOW) == amount


# --- expiry ------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    ("duration", "expires_at"),
    [
        ("30s", NOW + timedelta(seconds=30)),
        ("0s", NOW),
        ("1mo", NOW.replace(month=12)),
        ("daily", NOW + timedelta(days=1)),
    ],
)
def test_a_duration_counts_from_now_and_its_expiry_is_yet_to_be_recorded(
    stored: Mapping[str, Any] | None, duration: str, expires_at: datetime
):
    found = columns(stored, duration=duration)

    assert found == {"expires_at": expires_at, "expiry_recorded_at": None}


@pytest.mark.parametrize(
    ("stored", "duration", "expected"),
    [
        (None, None, {"expires_at": None, "expiry_recorded_at": None}),
        (STORED, None, {"expires_at": None, "expiry_recorded_at": None}),
        (STORED, "-1", {"expires_at": None, "expiry_recorded_at": None}),
        (STORED, "", {}),
    ],
)
def test_an_expiry_is_taken_off_or_left(stored: Mapping[str, Any] | None, duration: str, expected: dict[str, Any]):
    assert columns(stored, duration=duration) == expected


@pytest.mark.parametrize(
    ("stored", "duration"),
    [
        (None, ""),
        (None, "-1"),
        *((stored, bad) for stored in (None, STORED) for bad in ("1x", "-2", "30 d", "9000y", "1000000000000d")),
    ],
)
def test_an_unreadable_duration_is_refused(stored: Mapping[str, Any] | None, duration: str):
    error = refused(stored, duration=duration)

    assert (error.param, str(error).startswith(f"Invalid duration '{duration}'. ")) == ("duration", True)


# --- windows -----------------------------------------------------------------------------------------------


@both_ways
def test_a_window_is_kept_as_it_is_spelled(stored: Mapping[str, Any] | None):
    assert columns(stored, budget_duration="30d") == {"budget_duration": "30d"}
    assert columns(stored, budget_duration=None) == {"budget_duration": None}


@both_ways
@pytest.mark.parametrize("spelling", ["", "0d", "-1", "30 d", "1.5h", "1001y"])
def test_a_window_that_cannot_be_computed_is_refused(stored: Mapping[str, Any] | None, spelling: str):
    assert refused(stored, budget_duration=spelling).param == "budget_duration"


ARMED = {"armed_at": iso(NOW)}


def _limit(spelling: str | None, cap: object) -> dict[str, Any]:
    return {"budget_duration": spelling, "max_budget": cap}


def test_several_windows_are_armed_now():
    found = columns(budget_limits=[_limit("1d", Decimal(1)), _limit("30d", Decimal("2.5"))])

    assert found == {
        "budget_limits": [
            {**ARMED, "budget_duration": "1d", "max_budget": 1.0, "reset_at": "2026-11-19T00:00:00.000000Z"},
            {**ARMED, "budget_duration": "30d", "max_budget": 2.5, "reset_at": "2026-12-01T00:00:00.000000Z"},
        ]
    }


def test_a_window_that_runs_keeps_its_reset_under_another_cap():
    running = {"budget_duration": "14d", "max_budget": 1.0, "reset_at": "2026-11-21T00:00:00.000000Z"}

    found = columns(
        {**STORED, "budget_limits": [running]}, budget_limits=[_limit("14d", Decimal(9)), _limit("1h", Decimal(1))]
    )

    assert found["budget_limits"] == [
        {**running, "max_budget": 9.0},
        {**ARMED, "budget_duration": "1h", "max_budget": 1.0, "reset_at": "2026-11-18T14:00:00.000000Z"},
    ]


@both_ways
@pytest.mark.parametrize("limits", [None, []])
def test_no_windows_are_null(stored: Mapping[str, Any] | None, limits: list[Any] | None):
    assert columns(stored, budget_limits=limits) == {"budget_limits": None}


@both_ways
@pytest.mark.parametrize(
    "limit",
    [
        _limit(None, Decimal(1)),
        _limit("1d", None),
        _limit("", Decimal(1)),
        _limit("0d", Decimal(1)),
        _limit("1d", Decimal(-1)),
    ],
)
def test_a_window_needs_a_length_and_a_cap(stored: Mapping[str, Any] | None, limit: dict[str, Any]):
    assert refused(stored, budget_limits=[limit]).param == "budget_limits"


@pytest.mark.parametrize(
    "budget",
    [
        {},
        {"budget_limit": 0.0005, "time_period": "30d"},
        {"max_budget": "1.5", "budget_duration": "1d", "anything": [1]},
        {"tpm_limit": 0, "rpm_limit": 5},
        {"budget_limit": None, "time_period": None, "tpm_limit": None},
    ],
)
def test_a_models_budget_is_kept_as_it_was_sent(budget: dict[str, Any]):
    assert columns(model_max_budget={"gpt-4o": budget}) == {"model_max_budget": {"gpt-4o": budget}}


@pytest.mark.parametrize(
    "budget",
    [
        5,
        None,
        [],
        {"budget_limit": -1},
        {"budget_limit": True},
        {"max_budget": "much"},
        {"budget_limit": 9_000_001},
        {"time_period": "soon"},
        {"time_period": "0d"},
        {"time_period": 30},
        {"tpm_limit": -1},
        {"tpm_limit": 1.5},
        {"rpm_limit": True},
        {"rpm_limit": "5"},
    ],
)
def test_a_models_budget_that_could_not_be_enforced_is_refused(budget: Any):
    assert refused(model_max_budget={"gpt-4o": budget}).param == "model_max_budget"


@both_ways
def test_the_null_of_model_budgets_is_none_of_them(stored: Mapping[str, Any] | None):
    assert columns(stored, model_max_budget=None) == {"model_max_budget": {}}


# --- rotation ----------------------------------------------------------------------------------------------

OFF = {"auto_rotate": False, "rotation_interval": None, "key_rotation_at": None}


@both_ways
def test_rotation_is_due_an_interval_from_now(stored: Mapping[str, Any] | None):
    assert columns(stored, auto_rotate=True, rotation_interval="30d") == {
        "auto_rotate": True,
        "rotation_interval": "30d",
        "key_rotation_at": NOW + timedelta(days=30),
    }


@both_ways
@pytest.mark.parametrize("interval", ["1h", "hourly", "3600s", "60m", "1mo"])
def test_an_hour_is_the_shortest_interval(stored: Mapping[str, Any] | None, interval: str):
    assert columns(stored, auto_rotate=True, rotation_interval=interval)["rotation_interval"] == interval


@both_ways
@pytest.mark.parametrize(
    "sent",
    [
        {"auto_rotate": False},
        {"auto_rotate": None},
        {"rotation_interval": "30d"},
        {"auto_rotate": False, "rotation_interval": "30d"},
        {"auto_rotate": None, "rotation_interval": None},
    ],
)
def test_without_rotation_an_interval_is_kept_and_nothing_due(
    stored: Mapping[str, Any] | None, sent: dict[str, Any]
):
    assert columns(stored, **sent) == {**OFF, "rotation_interval": sent.get("rotation_interval")}


@both_ways
@pytest.mark.parametrize("interval", [None, "", "0s", "0mo", "1s", "3599s", "59m", "1x", "-1", "9000y"])
def test_rotation_needs_an_interval_that_can_be_kept(stored: Mapping[str, Any] | None, interval: str | None):
    assert refused(stored, auto_rotate=True, rotation_interval=interval).param == "rotation_interval"
    if interval is not None:
        for others in ({}, {"auto_rotate": False}):
            assert refused(stored, rotation_interval=interval, **others).param == "rotation_interval"


ON = {"auto_rotate": True, "rotation_interval": "30d"}
ROTATING = {**STORED, **ON, "key_rotation_at": NOW + timedelta(days=3)}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"rotation_interval": "7d"}, {"rotation_interval": "7d", "key_rotation_at": NOW + timedelta(days=7)}),
        (
            {"rotation_interval": "720h"},
            {"rotation_interval": "720h", "key_rotation_at": NOW + timedelta(days=30)},
        ),
        # What is said again changes nothing.
        ({"auto_rotate": True}, {}),
        (ON, {}),
        ({**ON, "tags": ["a"]}, {}),
        ({"auto_rotate": False}, {"auto_rotate": False, "key_rotation_at": None}),
        ({"auto_rotate": False, "rotation_interval": None}, OFF),
        ({"tags": ["a"]}, {}),
    ],
)
def test_half_of_a_rotation_is_sent_and_the_other_half_stays(sent: dict[str, Any], expected: dict[str, Any]):
    found = {**ROTATING, **columns(ROTATING, **sent)}

    assert {name: found[name] for name in OFF} == {**{name: ROTATING[name] for name in OFF}, **expected}


def test_a_key_that_rotates_keeps_an_interval():
    assert refused(ROTATING, rotation_interval=None).param == "rotation_interval"
    assert columns(STORED, rotation_interval=None) == OFF


def test_what_is_stored_wrongly_can_be_switched_off():
    wrong = {**ROTATING, "rotation_interval": "0s"}

    assert columns(wrong, auto_rotate=False)["key_rotation_at"] is None
    assert refused(wrong, auto_rotate=True).param == "rotation_interval"


def test_a_key_that_rotates_without_an_instant_gets_one():
    assert columns({**ROTATING, "key_rotation_at": None}, **ON)["key_rotation_at"] == NOW + timedelta(days=30)


def test_switched_on_again_a_key_rotates_by_the_interval_that_it_had():
    switched_off = {**ROTATING, **columns(ROTATING, auto_rotate=False)}

    assert columns(switched_off, auto_rotate=True) == {**ON, "key_rotation_at": NOW + timedelta(days=30)}


# --- aliases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alias",
    [
        "Billing bot (EU)",
        "caf\u00e9 \u6f22 \U0001f511",
        "a/b",
        "a..b",
        "...",
        "a/...",
        "team:app:prod",
        " ",
        "x" * 512,
    ],
)
def test_a_name_on_one_line_is_an_alias(alias: str):
    assert columns(key_alias=alias) == {"key_alias": alias}


@pytest.mark.parametrize(
    "alias",
    ["a\nb", "a\x00", "\t", "\x7f", "\x85", "a\u2028b", "..", "../a", "a/..", "a/../b", "a\\..\\b", "..\\", "/.."],
)
@both_ways
def test_an_alias_that_breaks_a_line_or_climbs_a_path_is_refused(stored: Mapping[str, Any] | None, alias: str):
    with pytest.raises(InvalidAlias) as caught:
        columns(stored, key_alias=alias)

    assert caught.value.param == "key_alias"
    assert alias not in str(caught.value) or alias == ".."


# --- lengths -----------------------------------------------------------------------------------------------


def test_a_length_is_read_or_refused_by_the_name_of_its_field():
    assert keys.length("2w", "grace_period").count == 2
    with pytest.raises(InvalidValue) as caught:
        keys.length("2 weeks", "grace_period")

    assert (caught.value.param, str(caught.value)[:35]) == ("grace_period", "Invalid grace_period '2 weeks'. Use")


def test_a_long_text_is_not_repeated_in_full():
    assert len(str(refused(duration="x" * 10_000))) < 300
