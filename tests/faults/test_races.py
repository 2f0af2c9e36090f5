"""Requests that arrive at once, at two web processes: exactly as if one had come after the other."""

from collections import Counter
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.domain import minting
from app.models import audit, budget_state, deleted_keys, events, key_secrets, keys, ledger, object_permissions
from app.services.accounts import spends
from tests.faults.web import PATIENT_SECONDS, Caller, Pair, Reply, all_at_once

pytestmark = pytest.mark.processes

MANY = 200
SOME = 24


@pytest.fixture
def pair(patient_pair: Pair) -> Pair:
    return patient_pair


def together(pair: Pair, path: str, bodies: list[dict[str, Any]]) -> list[Reply]:
    """Send all requests in the same moment, each on a connection of its own, to both processes by turns."""
    barrier = Barrier(len(bodies))

    def send(index: int, body: dict[str, Any]) -> Reply:
        with Caller(pair.webs[index % 2], seconds=PATIENT_SECONDS) as caller:
            caller.get("/health/liveliness")  # the connection is made
            barrier.wait(60)
            return caller.post(path, **body)

    return all_at_once([partial(send, index, body) for index, body in enumerate(bodies)])


def statuses(replies: list[Reply]) -> Counter[int]:
    return Counter(reply.status for reply in replies)


def key_id_of(database: Database, key: str) -> str:
    with database.read() as connection:
        token = key_secrets.c.token == minting.digest(key)
        return str(connection.execute(select(key_secrets.c.key_id).where(token)).scalar_one())


def actions(database: Database, key_id: str) -> list[Any]:
    """The audit of a key but for its creation, in its order."""
    with database.read() as connection:
        of_key = (audit.c.entity_id == key_id) & (audit.c.action != "generate")
        return list(connection.execute(select(audit).where(of_key).order_by(audit.c.audit_id)).mappings())


def test_one_of_two_hundred_gets_an_alias(pair: Pair, shared: Database) -> None:
    replies = together(pair, "/key/generate", [{"key_alias": "wanted by all"}] * MANY)

    assert statuses(replies) == {200: 1, 400: MANY - 1}
    errors = {
        (error["type"], error["param"], "wanted by all" in error["message"])
        for error in (reply.body["error"] for reply in replies if reply.status == 400)
    }
    assert errors == {("bad_request_error", "key_alias", True)}
    with shared.read() as connection:
        stored = select(func.count()).select_from(keys).where(keys.c.key_alias == "wanted by all")
        assert connection.execute(stored).scalar_one() == 1


def test_one_of_two_hundred_gets_a_key_of_its_choice(pair: Pair, shared: Database) -> None:
    chosen = "sk-chosen-by-two-hundred-callers"

    replies = together(pair, "/key/generate", [{"key": chosen, "tpm_limit": index} for index in range(MANY)])

    assert statuses(replies) == {200: 1, 409: MANY - 1}
    (winner,) = (reply.body for reply in replies if reply.status == 200)
    with shared.read() as connection:
        stored = connection.execute(
            select(keys.c.tpm_limit).join(key_secrets).where(key_secrets.c.token == minting.digest(chosen))
        ).scalars()
        assert list(stored) == [winner["tpm_limit"]]


def test_a_key_is_deleted_once(pair: Pair, shared: Database) -> None:
    key = pair.generate()
    key_id = key_id_of(shared, key)

    replies = together(pair, "/key/delete", [{"keys": [key]}] * SOME)

    assert statuses(replies) == {200: 1, 404: SOME - 1}
    assert [row["action"] for row in actions(shared, key_id)] == ["delete"]
    with shared.read() as connection:
        for table, column in ((deleted_keys, deleted_keys.c.key_id), (events, events.c.entity_id)):
            of_key = select(func.count()).select_from(table).where(column == key_id)
            extra = 1 if table is events else 0  # the event of its creation
            assert connection.execute(of_key).scalar_one() == 1 + extra


def test_keys_deleted_by_several_callers_in_any_order_are_each_deleted_once(pair: Pair, shared: Database) -> None:
    keys_ = [pair.generate() for _ in range(6)]

    replies = together(
        pair, "/key/delete", [{"keys": keys_[index % 6 :] + keys_[: index % 6]} for index in range(SOME)]
    )

    assert statuses(replies).keys() <= {200, 404}
    deleted = [key for reply in replies if reply.status == 200 for key in reply.body["deleted_keys"]]
    assert sorted(deleted) == sorted(keys_)


def test_a_key_that_is_changed_while_it_is_deleted_is_gone_and_archived_as_it_was_last(
    pair: Pair, shared: Database
) -> None:
    key = pair.generate(tpm_limit=0)
    key_id = key_id_of(shared, key)
    barrier = Barrier(SOME)

    def send(index: int) -> Reply:
        with Caller(pair.webs[index % 2], seconds=PATIENT_SECONDS) as caller:
            barrier.wait(60)
            if index == SOME // 2:
                return caller.post("/key/delete", keys=[key])
            return caller.post("/key/update", key=key, tpm_limit=index + 1)

    replies = all_at_once([partial(send, index) for index in range(SOME)])

    assert statuses(replies).keys() <= {200, 404}
    assert replies[SOME // 2].status == 200
    with shared.read() as connection:
        left = connection.execute(select(keys.c.key_id).where(keys.c.key_id == key_id)).all()
        archived = connection.execute(
            select(deleted_keys.c.tpm_limit).where(deleted_keys.c.key_id == key_id)
        ).scalar_one()
    done = actions(shared, key_id)
    assert left == []
    assert done[-1]["action"] == "delete"
    assert len(done) == statuses(replies)[200]
    assert archived == (done[-2]["after"]["tpm_limit"] if len(done) > 1 else 0)


def test_changes_of_different_fields_are_all_kept(pair: Pair, shared: Database) -> None:
    key = pair.generate(key_alias="changed by many")
    changed: dict[str, Any] = {
        "max_budget": 12.5,
        "tpm_limit": 7,
        "rpm_limit": 8,
        "max_parallel_requests": 9,
        "models": ["m"],
        "aliases": {"a": "b"},
        "user_id": "u",
        "budget_duration": "30d",
        "key_alias": "changed",
        "blocked": True,
        # Kept together in one column, so each writer must see what the one before has written.
        "tags": ["t"],
        "guardrails": ["g"],
        "enforced_params": ["p"],
        "model_rpm_limit": {"m": 1},
        "model_tpm_limit": {"m": 2},
        "prompts": ["q"],
    }

    replies = together(pair, "/key/update", [{"key": key, name: value} for name, value in changed.items()])

    assert statuses(replies) == {200: len(changed)}
    with Caller(pair.webs[1]) as caller:
        info = caller.get(f"/key/info?key={minting.digest(key)}").body["info"]
    seen = {name: info.get(name, info["metadata"].get(name)) for name in changed}
    assert seen == changed
    assert len(actions(shared, key_id_of(shared, key))) == len(changed)


def test_every_block_and_unblock_that_changed_something_is_in_the_audit_once(pair: Pair, shared: Database) -> None:
    key = pair.generate()
    key_id = key_id_of(shared, key)

    blocked = together(pair, "/key/block", [{"key": key}] * SOME)
    unblocked = together(pair, "/key/unblock", [{"key": key}] * SOME)
    both = [
        reply
        for round_ in range(3)
        for reply in together(pair, "/key/block" if round_ % 2 else "/key/unblock", [{"key": key}] * 2)
    ]

    assert statuses([*blocked, *unblocked, *both]) == {200: 2 * SOME + 6}
    assert [row["action"] for row in actions(shared, key_id)] == ["block", "unblock", "block", "unblock"]


def test_blocks_and_unblocks_at_once_end_in_one_of_both(pair: Pair, shared: Database) -> None:
    key = pair.generate(blocked=False)
    key_id = key_id_of(shared, key)
    barrier = Barrier(SOME)

    def change(index: int) -> int:
        with Caller(pair.webs[index // 2 % 2], seconds=PATIENT_SECONDS) as caller:
            barrier.wait(60)
            return caller.post("/key/block" if index % 2 else "/key/unblock", key=key).status

    answers = all_at_once([partial(change, index) for index in range(SOME)])

    assert set(answers) == {200}
    states = [(row["before"]["blocked"], row["after"]["blocked"]) for row in actions(shared, key_id)]
    with shared.read() as connection:
        final = connection.execute(select(keys.c.blocked).where(keys.c.key_id == key_id)).scalar_one()
    assert states == [(index % 2 == 1, index % 2 == 0) for index in range(len(states))], "not one after the other"
    assert final is (len(states) % 2 == 1)


def test_corrections_of_a_spend_at_once_add_up(pair: Pair, shared: Database) -> None:
    key = pair.generate()
    key_id = key_id_of(shared, key)

    replies = together(pair, "/key/update", [{"key": key, "spend": index + 1} for index in range(SOME)])

    assert statuses(replies) == {200: SOME}, [reply.body for reply in replies if reply.status != 200]
    with shared.read() as connection:
        charged = connection.execute(
            select(func.sum(ledger.c.amount_nanos)).where(ledger.c.key_id == key_id)
        ).scalar_one()
        account = spends.account_part(
            connection.execute(
                select(*spends.account_columns()).where(
                    budget_state.c.scope == "key", budget_state.c.scope_id == key_id
                )
            )
            .mappings()
            .one()
        )
    assert account is not None
    assert account["window_spend_nanos"] + account["pending_nanos"] == charged
    assert account["lifetime_spend_nanos"] + account["pending_lifetime_nanos"] == charged


def test_object_permissions_set_at_once_leave_one_behind(pair: Pair, shared: Database) -> None:
    key = pair.generate()
    key_id = key_id_of(shared, key)

    replies = together(
        pair,
        "/key/update",
        [{"key": key, "object_permission": {"vector_stores": [f"race-{index}"]}} for index in range(SOME)],
    )

    assert statuses(replies) == {200: SOME}
    with shared.read() as connection:
        rows = connection.execute(select(object_permissions)).mappings().all()
        mine = connection.execute(select(keys.c.object_permission_id).where(keys.c.key_id == key_id)).scalar_one()
    of_race = [row for row in rows if any(name.startswith("race-") for name in row["vector_stores"])]
    assert [row["object_permission_id"] for row in of_race] == [mine]
