"""A start of day and a zone of one's own: on keys, tiers, teams, members, users and organizations."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from app.clock import iso
from tests.api.calls import limit, spent, verify
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import on_one_store

TOKYO = {"budget_duration": "1d", "budget_start_time": "06:00", "budget_timezone": "Asia/Tokyo"}
# The clock of the tests stands at noon UTC of a day: nine in the evening in Tokyo, so the next six o'clock is near.
FIELDS = ("budget_duration", "budget_start_time", "budget_timezone")


class Entity(NamedTuple):
    """How one is made with limits, changed, and read."""

    make: Callable[[Api, dict[str, Any]], Answer]
    change: Callable[[Api, dict[str, Any]], Answer]
    read: Callable[[Api], dict[str, Any]]


def _team(api: Api) -> dict[str, Any]:
    return api.get("/team/info", team_id="t").body["team_info"]


def _with_member(api: Api, limits: dict[str, Any]) -> Answer:
    api.post("/team/new", {"team_id": "t"})
    return api.post("/team/member_add", {"team_id": "t", "member": {"user_id": "m", "role": "user"}, **limits})


def _member(api: Api) -> dict[str, Any]:
    (found,) = (
        each for each in api.get("/team/info", team_id="t").body["team_memberships"] if each["user_id"] == "m"
    )
    return {**found["litellm_budget_table"], "budget_reset_at": found["budget_reset_at"]}


def _key_token(api: Api) -> str:
    return api.get("/key/list", key_alias="k").body["keys"][0]


ENTITIES = {
    "key": Entity(
        lambda api, limits: api.post("/key/generate", {"key_alias": "k", **limits}),
        lambda api, limits: api.post("/key/update", {"key": _key_token(api), **limits}),
        lambda api: api.info(_key_token(api)),
    ),
    "tier": Entity(
        lambda api, limits: api.post("/budget/new", {"budget_id": "b", **limits}),
        lambda api, limits: api.post("/budget/update", {"budget_id": "b", **limits}),
        lambda api: api.post("/budget/info", {"budgets": ["b"]}).body[0],
    ),
    "team": Entity(
        lambda api, limits: api.post("/team/new", {"team_id": "t", **limits}),
        lambda api, limits: api.post("/team/update", {"team_id": "t", **limits}),
        _team,
    ),
    "member": Entity(
        _with_member,
        lambda api, limits: api.post("/team/member_update", {"team_id": "t", "user_id": "m", **limits}),
        _member,
    ),
    "user": Entity(
        lambda api, limits: api.post("/user/new", {"user_id": "u", "auto_create_key": False, **limits}),
        lambda api, limits: api.post("/user/update", {"user_id": "u", **limits}),
        lambda api: api.get("/user/info", user_id="u").body["user_info"],
    ),
    "organization": Entity(
        lambda api, limits: api.post(
            "/organization/new", {"organization_id": "o", "organization_alias": "o", **limits}
        ),
        lambda api, limits: api.call("PATCH", "/organization/update", json={"organization_id": "o", **limits}),
        lambda api: api.get("/organization/info", organization_id="o").body["litellm_budget_table"],
    ),
}
every_entity = pytest.mark.parametrize("entity", ENTITIES.values(), ids=ENTITIES)


def six_in_tokyo(now: datetime) -> datetime:
    """The next 06:00 of Tokyo, which has no daylight saving: 21:00 UTC of the day before."""
    at = now.astimezone(UTC).replace(hour=21, minute=0, second=0, microsecond=0)
    return at if at > now else at + timedelta(days=1)


@every_entity
def test_a_window_follows_the_calendar_of_its_budget(api: Api, clock: MovableClock, entity: Entity) -> None:
    made = entity.make(api, TOKYO)
    assert made.status == 200, made

    found = entity.read(api)

    assert {name: found[name] for name in FIELDS} == TOKYO
    assert found["budget_reset_at"] == iso(six_in_tokyo(clock.now()))


@every_entity
def test_another_zone_moves_the_reset_and_a_null_goes_back_to_the_installations(
    api: Api, clock: MovableClock, entity: Entity
) -> None:
    entity.make(api, TOKYO)

    changed = entity.change(api, {"budget_timezone": "UTC"})
    assert changed.status == 200, changed
    moved = entity.read(api)
    entity.change(api, {"budget_start_time": None, "budget_timezone": None})
    plain = entity.read(api)

    assert (moved["budget_start_time"], moved["budget_timezone"]) == ("06:00", "UTC")
    now = clock.now()
    six = now.replace(hour=6, minute=0, second=0, microsecond=0)
    assert moved["budget_reset_at"] == iso(six if six > now else six + timedelta(days=1))
    assert {name: plain[name] for name in FIELDS} == {**dict.fromkeys(FIELDS), "budget_duration": "1d"}
    assert plain["budget_reset_at"] == iso(
        now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    )


@every_entity
@on_one_store
def test_whether_a_budget_rolls_over_is_its_own_to_say(api: Api, entity: Entity) -> None:
    assert entity.make(api, {**TOKYO, "budget_rollover": True}).status == 200
    shown = [entity.read(api)]
    for sent in ({"budget_rollover": False}, {"budget_timezone": "UTC"}, {"budget_rollover": None}):
        changed = entity.change(api, sent)
        assert changed.status == 200, changed
        shown.append(entity.read(api))

    assert [found["budget_rollover"] for found in shown] == [True, False, False, None]
    assert {found["budget_duration"] for found in shown} == {"1d"}


@on_one_store
@pytest.mark.parametrize(("own", "told"), [(True, True), (False, False), (None, False)])
def test_a_preview_tells_whether_the_window_rolls_over(api: Api, own: bool | None, told: bool) -> None:
    sent = {"budget_duration": "1d"} | ({} if own is None else {"budget_rollover": own})
    api.post("/team/new", {"team_id": "t", **sent})

    assert preview(api, **sent)["budget_rollover"] is told
    assert preview(api, team_id="t")["budget_rollover"] is told


@every_entity
@pytest.mark.parametrize(
    ("limits", "param"),
    [
        ({**TOKYO, "budget_timezone": "Mars/Base"}, "budget_timezone"),
        ({**TOKYO, "budget_timezone": "../../etc/passwd"}, "budget_timezone"),
        ({**TOKYO, "budget_start_time": "25:00"}, "budget_start_time"),
        ({**TOKYO, "budget_start_time": "6"}, "budget_start_time"),
        ({"budget_timezone": "Asia/Tokyo"}, "budget_duration"),
        ({"budget_start_time": "06:00"}, "budget_duration"),
        ({"budget_rollover": True}, "budget_duration"),
        ({"budget_rollover": False}, "budget_duration"),
        ({**TOKYO, "budget_duration": "1d UTC"}, "budget_duration"),
    ],
)
@on_one_store
def test_a_calendar_that_cannot_be_is_refused(
    api: Api, entity: Entity, limits: dict[str, Any], param: str
) -> None:
    answer = entity.make(api, {"max_budget": 5, **limits} if "max_budget_in_team" not in limits else limits)

    assert answer.summary == (400, answer.error["type"], param), answer


def test_the_clock_moves_the_window_at_its_own_hour_and_every_number_agrees(api: Api, clock: MovableClock) -> None:
    key = api.generate(max_budget=10, **TOKYO)["key"]
    spent(api, key, 4)
    end = six_in_tokyo(clock.now())

    clock.set(end - timedelta(seconds=1))
    before = (api.info(key)["spend"], limit(verify(api, key, 1), "key")["used"])
    clock.set(end)
    after = (api.info(key)["spend"], limit(verify(api, key, 1), "key")["used"])

    assert (before, after) == ((4, 4), (0, 0))


@on_one_store
def test_a_tier_gives_its_calendar_to_the_keys_that_are_linked_to_it(api: Api, clock: MovableClock) -> None:
    api.post("/budget/new", {"budget_id": "tokyo", "max_budget": 10, **TOKYO})
    key = api.generate(budget_id="tokyo")["key"]
    own = api.generate(budget_id="tokyo", budget_duration="1d")["key"]

    assert api.info(key)["budget_reset_at"] == iso(six_in_tokyo(clock.now()))
    assert api.info(own)["budget_reset_at"] != api.info(key)["budget_reset_at"]


# --- the preview ---------------------------------------------------------------------------------------------------


def preview(api: Api, **query: Any) -> dict[str, Any]:
    answer = api.call("GET", "/budget/calendar", query=query)
    assert answer.status == 200, answer
    return answer.body


@on_one_store
def test_a_spelling_is_previewed_with_its_next_ten_resets(api: Api, clock: MovableClock) -> None:
    found = preview(api, budget_duration="1mo", budget_timezone="Europe/Berlin", budget_start_time="06:00")

    assert (found["budget_duration"], found["budget_timezone"], found["budget_start_time"]) == (
        ("1mo", "Europe/Berlin", "06:00")
    )  # fmt: skip
    assert found["armed_at"] == iso(clock.now())
    assert found["window"] == {"start": "2026-11-01T05:00:00.000000Z", "end": found["resets"][0]}
    assert found["resets"] == [
        *("2026-12-01T05:00:00.000000Z", "2027-01-01T05:00:00.000000Z", "2027-02-01T05:00:00.000000Z"),
        *("2027-03-01T05:00:00.000000Z", "2027-04-01T04:00:00.000000Z", "2027-05-01T04:00:00.000000Z"),
        *("2027-06-01T04:00:00.000000Z", "2027-07-01T04:00:00.000000Z", "2027-08-01T04:00:00.000000Z"),
        "2027-09-01T04:00:00.000000Z",
    ]


@on_one_store
def test_odd_lengths_are_counted_from_the_moment_that_is_sent(api: Api) -> None:
    found = preview(api, budget_duration="3d", armed_at="2026-11-16T10:00:00Z", count=2)

    assert found["window"]["start"] == "2026-11-16T00:00:00.000000Z"
    assert found["resets"] == ["2026-11-19T00:00:00.000000Z", "2026-11-22T00:00:00.000000Z"]


@pytest.mark.parametrize("name", ["key", "tier", "team", "member", "user", "organization"])
def test_what_has_a_budget_is_previewed_by_its_name(api: Api, clock: MovableClock, name: str) -> None:
    ENTITIES[name].make(api, {**TOKYO, "budget_duration": "7d"})
    clock.advance(timedelta(days=20))
    named = {
        "key": {"key": _key_token(api)} if name == "key" else {},
        "tier": {"budget_id": "b"},
        "team": {"team_id": "t"},
        "member": {"team_id": "t", "user_id": "m"},
        "user": {"user_id": "u"},
        "organization": {"organization_id": "o"},
    }[name]

    found = preview(api, **named, count=3)

    assert (found["budget_duration"], found["budget_timezone"]) == ("7d", "Asia/Tokyo")
    assert found["resets"][0] == ENTITIES[name].read(api)["budget_reset_at"] == found["window"]["end"]
    assert len(found["resets"]) == 3


@on_one_store
@pytest.mark.parametrize("of", ["key", "team", "user"])
def test_budgets_for_models_are_previewed_beside_that_of_their_holder(
    api: Api, clock: MovableClock, of: str
) -> None:
    budgets = {"m": {"max_budget": 1, "budget_duration": "3d"}, "n": {"max_budget": 1}}
    ENTITIES[of].make(api, {"model_max_budget": {"m": budgets["m"]}})
    clock.advance(timedelta(days=1))
    changed = ENTITIES[of].change(api, {"model_max_budget": {**budgets, "o": budgets["m"]}})
    assert changed.status == 200, changed

    named = {"key": "key", "team": "team_id", "user": "user_id"}[of]
    found = preview(api, **{named: _key_token(api) if of == "key" else of[0]}, count=2)

    assert (found["budget_duration"], found["resets"], found["budget_limits"]) == (None, [], [])
    assert {model: entry["resets"] for model, entry in found["model_max_budget"].items()} == {
        "m": ["2026-11-21T00:00:00.000000Z", "2026-11-24T00:00:00.000000Z"],
        "n": [],
        "o": ["2026-11-22T00:00:00.000000Z", "2026-11-25T00:00:00.000000Z"],
    }


def test_a_membership_that_is_none_has_no_calendar(api: Api) -> None:
    _with_member(api, TOKYO)

    assert api.get("/budget/calendar", team_id="t", user_id="nobody").summary[0] == 404
    assert api.get("/budget/calendar", team_id="unknown", user_id="m").summary[0] == 404


@on_one_store
def test_a_key_with_a_tier_is_previewed_by_the_tiers_window(api: Api) -> None:
    api.post("/budget/new", {"budget_id": "b", **TOKYO})
    key = api.generate(budget_id="b")["key"]

    assert preview(api, key=key)["resets"][0] == api.info(key)["budget_reset_at"]


@on_one_store
def test_what_never_resets_has_no_window_and_no_resets(api: Api) -> None:
    found = preview(api, key=api.generate(max_budget=1)["key"])

    assert (found["budget_duration"], found["window"], found["resets"]) == (None, None, [])
    assert (found["budget_timezone"], found["budget_start_time"]) == ("UTC", "00:00:00")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"budget_duration": "1d", "team_id": "t"},
        {"team_id": "t", "budget_id": "b"},
        {"budget_duration": "30 days"},
        {"budget_duration": "0d"},
        {"budget_duration": "1d", "budget_timezone": "Mars/Base"},
        {"budget_timezone": "UTC"},
        {"armed_at": "2026-11-16T10:00:00Z"},
    ],
)
@on_one_store
def test_a_preview_of_nothing_that_can_be_is_a_400(api: Api, query: dict[str, Any]) -> None:
    assert api.get("/budget/calendar", **query).status == 400


@on_one_store
@pytest.mark.parametrize("at", ["0001-01-01", "1000-12-31T23:59:59Z", "8999-01-01", "9999-12-31"])
def test_an_arming_at_which_no_window_may_be_computed_does_not_fit(api: Api, at: str) -> None:
    answer = api.get("/budget/calendar", **{**TOKYO, "armed_at": at})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", "armed_at"])
