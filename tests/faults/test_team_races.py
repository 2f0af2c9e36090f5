"""A team that ends while keys are made in it: exactly as if one had come after the other."""

import uuid
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.models import deleted_keys, keys
from tests.clients import MASTER_KEY
from tests.faults.web import PATIENT_SECONDS, Caller, Pair, Reply, all_at_once

pytestmark = pytest.mark.processes

SOME = 16


@pytest.fixture
def pair(patient_pair: Pair) -> Pair:
    return patient_pair


@pytest.mark.parametrize("ending", ["/team/delete", "/team/member_delete"])
def test_no_key_outlives_the_team_or_the_membership_in_which_it_was_made(
    pair: Pair, shared: Database, ending: str
) -> None:
    team, user = f"team-{uuid.uuid4()}", f"user-{uuid.uuid4()}"
    with Caller(pair.webs[0]) as master:
        member = {"user_id": user, "role": "user"}
        grants = ["/key/generate"]
        made = master.post("/team/new", team_id=team, members_with_roles=[member], team_member_permissions=grants)
        assert made.status == 200
        own = master.post("/key/generate", user_id=user).body["key"]
    whole: dict[str, Any] = {"team_ids": [team]}
    sent = whole if ending == "/team/delete" else {"team_id": team, "user_id": user}
    barrier = Barrier(SOME)

    def send(index: int) -> Reply:
        ends = index == SOME // 2
        with Caller(pair.webs[index % 2], key=MASTER_KEY if ends else own, seconds=PATIENT_SECONDS) as caller:
            caller.get("/health/liveliness")  # the connection is made
            barrier.wait(60)
            if ends:
                return caller.post(ending, **sent)
            return caller.post("/key/generate", team_id=team)

    replies = all_at_once([partial(send, index) for index in range(SOME)])

    statuses = [reply.status for reply in replies]
    assert statuses.pop(SOME // 2) == 200
    assert set(statuses) <= {200, 400}
    with shared.read() as connection:
        left, archived = (
            connection.execute(select(func.count()).select_from(table).where(table.c.team_id == team)).scalar_one()
            for table in (keys, deleted_keys)
        )
    assert (left, archived) == (0, statuses.count(200))
