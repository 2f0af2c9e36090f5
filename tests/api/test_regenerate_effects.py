"""What is sent with a new secret takes effect, not only place."""

from datetime import timedelta

from sqlalchemy import select

from app.container import Services
from app.models import audit, events, ledger
from tests.clients import Api
from tests.clocks import MovableClock
from tests.services.capped import look

OLD = "sk-old-secret-0123456789"
NEW = "sk-new-secret-0123456789"


def regenerate(api: Api, **sent: object) -> None:
    answer = api.post("/key/regenerate", {"key": OLD, "new_key": NEW, **sent})
    assert answer.status == 200, answer


def test_the_key_is_found_by_its_new_key_alias_user_id_and_team_id(api: Api) -> None:
    api.generate(key=OLD)
    regenerate(api, key_alias="a", user_id="u", team_id="t")

    token = api.info(NEW)["key_id"]
    for filters in ({"key_alias": "a"}, {"user_id": "u"}, {"team_id": "t"}):
        found = api.get("/key/list", return_full_object="true", **filters).body["keys"]
        assert [key["key_id"] for key in found] == [token]


def test_models_are_those_of_the_new_secret(api: Api) -> None:
    api.generate(key=OLD, models=["old"])
    regenerate(api, models=["new"])

    assert [model["id"] for model in api.get("/models", NEW).body["data"]] == ["new"]


def test_a_spend_is_a_correction_in_the_ledger(api: Api, services: Services) -> None:
    api.generate(key=OLD, spend=1)
    regenerate(api, spend=0.25)

    with services.database.read() as connection:
        booked = connection.execute(select(ledger.c.amount_nanos).order_by(ledger.c.ledger_id)).scalars().all()
    assert booked == [1_000_000_000, -750_000_000]
    assert api.info(NEW)["spend"] == 0.25


def test_a_budget_duration_resets_the_spend_at_its_instant(api: Api, clock: MovableClock) -> None:
    api.generate(key=OLD)
    regenerate(api, budget_duration="1d", spend=1)
    before = api.info(NEW)["spend"]
    clock.advance(timedelta(days=1))

    assert (before, api.info(NEW)["spend"]) == (1, 0)


def test_a_soft_budget_that_is_reached_leaves_an_event(api: Api, services: Services) -> None:
    api.generate(key=OLD, spend=2)
    regenerate(api, soft_budget=1)
    look(services)

    with services.database.read() as connection:
        kinds = connection.execute(select(events.c.kind)).scalars().all()
    assert sorted(kinds) == ["key_created", "key_rotated", "soft_budget_crossed"]


def test_a_duration_refuses_the_new_secret_at_its_instant(api: Api, clock: MovableClock) -> None:
    api.generate(key=OLD)
    regenerate(api, duration="1h")
    before = api.get("/key/info", NEW).status
    clock.advance(timedelta(hours=1))

    assert before == 200
    assert api.get("/key/info", NEW).summary[:2] == (401, "expired_key")


def test_a_key_that_is_blocked_with_it_is_refused(api: Api) -> None:
    api.generate(key=OLD)
    regenerate(api, blocked=True)

    assert api.get("/key/info", NEW).summary[:2] == (401, "auth_error")


def test_the_litellm_changed_by_claim_is_recorded(api: Api, services: Services) -> None:
    made = api.generate(key=OLD)
    api.post("/key/regenerate", {"key": OLD}, headers={"litellm-changed-by": "alice"})

    with services.database.read() as connection:
        row = connection.execute(
            select(audit).where(audit.c.entity_id == made["key_id"], audit.c.action == "regenerate")
        ).one()
    assert (row.changed_by, row.actor_user_id) == ("alice", "default_user_id")
    assert (row.before["token"], row.after["token"]) != (None, None)
