"""A small world of charges, and reading the reports of it."""

import csv
import io
from datetime import timedelta
from typing import Any

from app.container import Services
from app.db import Database
from tests.api.counting import statements
from tests.clients import MASTER_KEY, Api
from tests.clocks import START
from tests.factories import add_charges, charge

TODAY, YESTERDAY = "2026-11-18", "2026-11-17"
DAYS = {"start_date": YESTERDAY, "end_date": TODAY}
CURSOR = "x-keyledger-next-cursor"
REPORTS = {
    "/spend/keys": {},
    "/spend/tags": {},
    "/spend/end_users": {},
    "/spend/logs": {},
    "/global/spend/keys": {},
    "/user/daily/activity": DAYS,
    "/team/daily/activity": DAYS,
}
# Of a caller who sees all.
STATEMENTS = {
    "/spend/keys": 2,
    "/spend/tags": 1,
    "/spend/end_users": 1,
    "/spend/logs": 2,
    "/global/spend/keys": 2,
    "/user/daily/activity": 3,
    "/team/daily/activity": 3,
}


def lines(answer: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer, newline="")))


class World:
    """A key `ann` of the user ann in the team t, one `bob` without either, and three charges."""

    def __init__(self, api: Api, database: Database) -> None:
        self.ann = api.generate(key_alias="ann", user_id="ann", team_id="t")
        self.bob = api.generate(key_alias="bob")
        ann, bob = self.ann["key_id"], self.bob["key_id"]
        add_charges(
            database,
            charge(
                ann, 0.1, user_id="ann", team_id="t", organization_id="o", model="openai/gpt-4o", request_id="one",
                input_tokens=10, output_tokens=1, tags=["x", "y"], end_user="eve",
            ),
            charge(ann, 0.2, START - timedelta(days=1), user_id="ann", team_id="t", model="m", input_tokens=5),
            charge(bob, 2, START - timedelta(minutes=1), model="m", output_tokens=7, tags=["x"], request_id="two"),
        )  # fmt: skip


def cost(services: Services, api: Api, path: str, caller: str = MASTER_KEY, **query: Any) -> int:
    """How many statements an answer takes."""
    with statements(services.database) as sent:
        assert api.get(path, caller, **query).status == 200
    return len(sent)
