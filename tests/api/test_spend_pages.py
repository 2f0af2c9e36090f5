"""Reports page by page and as tables, what they cost, and what cannot be asked."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from app.db import Database
from tests.api.spending import CURSOR, DAYS, REPORTS, STATEMENTS, TODAY, YESTERDAY, World, cost, lines
from tests.clients import Api
from tests.clocks import START
from tests.factories import add_charges, charge, on_one_store


@pytest.fixture
def world(api: Api, database: Database) -> World:
    return World(api, database)


# --- page by page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/spend/logs", "/user/daily/activity"])
@pytest.mark.parametrize("by", ["cursor", "page"])
def test_pages_hold_every_row_once(api: Api, world: World, path: str, by: str):
    query: dict[str, Any] = {**REPORTS[path], "page_size": 1}
    spends = []
    for number in range(1, 4):
        answer = api.get(path, **query)
        spends += (
            [row["spend"] for row in answer.body]
            if path == "/spend/logs"
            else [answer.body["metadata"]["total_spend"]]
        )
        assert (CURSOR in answer.headers) == (number < 3)
        if path != "/spend/logs":
            assert answer.body["metadata"]["total_pages"] == 3
            assert answer.body["metadata"]["has_more"] == (number < 3)
        query |= {"cursor": answer.headers.get(CURSOR)} if by == "cursor" else {"page": number + 1}

    assert sorted(spends) == [0.1, 0.2, 2.0]


def test_a_cursor_is_not_thrown_off_by_what_is_charged_meanwhile(api: Api, world: World, database: Database):
    first = api.get("/spend/logs", page_size=1)
    add_charges(database, charge(world.bob["key_id"], 9, START + timedelta(seconds=1)))

    second = api.get("/spend/logs", page_size=1, cursor=first.headers[CURSOR])

    assert [row["spend"] for row in second.body] == [2.0]


@pytest.mark.parametrize("path", ["/spend/keys", "/spend/tags", "/global/spend/keys"])
def test_pages_of_sums_go_by_number(api: Api, world: World, path: str):
    sizes = "limit" if path == "/global/spend/keys" else "page_size"
    pages = [api.get(path, page=number, **{sizes: 1}).body for number in (1, 2, 3)]

    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]


@pytest.mark.parametrize("path", REPORTS)
def test_a_report_of_three_hundred_takes_as_many_statements_as_one_of_one(
    api: Api, services: Services, database: Database, path: str
):
    key_id = api.generate(user_id="ann", team_id="t")["key_id"]
    made = [
        charge(f"k{n}", user_id="ann", team_id="t", model=f"m{n}", tags=[f"t{n}"], end_user="e")
        for n in range(300)
    ]
    costs = []
    for charges in ([charge(key_id, user_id="ann", team_id="t", tags=["x"], end_user="e")], made):
        add_charges(database, *charges)
        costs.append(cost(services, api, path, **REPORTS[path]))

    assert costs[0] == costs[1] == STATEMENTS[path]


# --- what cannot be asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/user/daily/activity", {}, "start_date"),
        ("/team/daily/activity", {"start_date": TODAY}, "start_date"),
        ("/user/daily/activity", {"start_date": TODAY, "end_date": YESTERDAY}, "start_date"),
        ("/spend/tags", {"start_date": TODAY, "end_date": YESTERDAY}, "start_date"),
        ("/spend/logs", {"cursor": "nonsense"}, "cursor"),
        ("/spend/logs", {"cursor": "é"}, "cursor"),
        ("/spend/logs", {"cursor": "WyJhIiwxXQ"}, "cursor"),  # ["a",1]
        ("/spend/logs", {"cursor": "WyIyMDI2LTExLTE4IiwxXQ"}, "cursor"),  # a day, no instant
        ("/spend/logs", {"cursor": "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwxXQ"}, "cursor"),  # before all time
        ("/user/daily/activity", {**DAYS, "cursor": "WyJhIl0"}, "cursor"),
        ("/user/daily/activity", {**DAYS, "cursor": "WyJcdTAwMDAiLCIiLCIiLCIiLCIiLCIiXQ"}, "cursor"),  # a NUL
    ],
)
@on_one_store
def test_what_makes_no_sense_is_refused(api: Api, path: str, query: dict[str, str], param: str):
    assert api.get(path, **query).summary == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    "query",
    [
        {"start_date": "yesterday"},
        {"start_date": "20261118"},
        {"start_date": "2026-02-30"},
        {"end_date": "2026-11-18T00:00:00"},
        {"page": "0"},
        {"page_size": "1001"},
        {"format": "xml"},
        {"tags": ",".join("x" * 101)},
    ],
)
@on_one_store
def test_what_does_not_fit_the_schema_is_refused(api: Api, query: dict[str, str]):
    assert api.get("/spend/logs", **query).status == 422


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_edges_of_time_can_be_asked_for(api: Api, world: World, day: str):
    for path in REPORTS:
        assert api.get(path, start_date=day, end_date=day).status == 200, path
        assert api.get(path, end_date=day, start_date="0001-01-01").status == 200, path


def test_a_summary_that_would_be_too_much_is_refused(api: Api, database: Database):
    add_charges(database, *(charge("k", 1e-9, model=f"m{number}") for number in range(10_001)))

    assert api.get("/spend/logs", **DAYS).summary == (400, "invalid_request_error", "start_date")
    assert api.get("/spend/logs", **DAYS, model="m7").body[0]["spend"] == 1e-9


# --- as a table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REPORTS)
def test_every_report_is_a_table_on_request(api: Api, world: World, path: str):
    asked = api.get(path, **REPORTS[path], format="csv")
    accepted = api.call("GET", path, query=REPORTS[path], headers={"Accept": "text/csv"})

    for answer in (asked, accepted):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    plain = api.call("GET", path, query={**REPORTS[path], "format": "json"}, headers={"Accept": "text/csv"})
    assert plain.headers["content-type"] == "application/json"
    assert api.call("GET", path, query=REPORTS[path], headers={"Accept": "*/*"}).body == plain.body


def test_a_table_holds_what_the_report_holds(api: Api, world: World):
    def table(path: str, **query: str) -> list[dict[str, str]]:
        return lines(api.get(path, **query, format="csv").body)

    charges = table("/spend/logs")
    assert [(row["request_id"], row["spend"], row["request_tags"]) for row in charges[:2]] == [
        ("one", "0.1", '["x","y"]'),
        ("two", "2.0", '["x"]'),
    ]
    days = table("/user/daily/activity", **DAYS, user_id="ann")
    assert [(row["date"], row["key_alias"], row["model"], row["spend"], row["api_requests"]) for row in days] == [
        (TODAY, "ann", "openai/gpt-4o", "0.1", "1"),
        (YESTERDAY, "ann", "m", "0.2", "1"),
    ]
    assert [row["token"] for row in table("/spend/keys")] == [row["token"] for row in api.get("/spend/keys").body]
    assert {(row["date"], row["model"], row["spend"]) for row in table("/spend/logs", **DAYS)} == {
        (YESTERDAY, "m", "0.2"),
        (TODAY, "openai/gpt-4o", "0.1"),
        (TODAY, "m", "2.0"),
    }


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", '=HYPERLINK("http://x";"y")']
)
@on_one_store
def test_no_name_becomes_a_formula_in_a_spreadsheet(api: Api, database: Database, name: str):
    add_charges(database, charge("k", tags=[name], end_user=name, model=name, request_id=name))

    for path in ("/spend/tags", "/spend/end_users", "/spend/logs"):
        (row,) = lines(api.get(path, format="csv").body)
        assert f"'{name}" in row.values(), path
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_an_amount_is_written_out_and_no_formula(api: Api, world: World, database: Database):
    add_charges(database, charge(world.bob["key_id"], 1e-9, START + timedelta(hours=1)))

    answer = api.get("/spend/logs", format="csv", page_size=1)

    assert lines(answer.body)[0]["spend"] == "0.000000001"
    assert answer.headers[CURSOR]
