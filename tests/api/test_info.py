"""GET /key/info: one key as it is at this instant, for those who may see it."""

from datetime import timedelta

import pytest

from app.container import Services
from app.domain import minting
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_secret_in_grace, add_team, add_tier, add_user

COLUMNS = """
    key_name key_alias soft_budget_cooldown spend total_spend expires models aliases config router_settings user_id
    team_id agent_id project_id permissions max_parallel_requests metadata blocked tpm_limit rpm_limit tpd_limit
    max_budget budget_duration budget_reset_at allowed_cache_controls allowed_routes key_type policies
    access_group_ids model_spend model_max_budget budget_fallbacks budget_id organization_id object_permission_id
    created_at created_by updated_at updated_by settings_updated_at last_active rotation_count auto_rotate
    rotation_interval last_rotation_at key_rotation_at budget_limits litellm_budget_table
    litellm_organization_table litellm_project_table object_permission jwt_key_mappings status
""".split()  # noqa: SIM905 - a column of names reads better


def info(api: Api, reference: str | None, caller: str = MASTER_KEY):
    return api.call("GET", "/key/info", key=caller, query={} if reference is None else {"key": reference})


def test_it_holds_every_column_that_clients_read_and_no_token(api: Api):
    made = api.generate()

    answer = info(api, made["key"])

    assert set(COLUMNS) <= answer.body["info"].keys()
    assert "token" not in answer.body["info"]


def test_the_key_is_echoed_as_it_was_asked_for(api: Api):
    made, _other = api.generate(), api.generate()

    shown = [info(api, made["key"]), info(api, made["token"]), info(api, None, caller=made["key"])]

    assert [answer.body["key"] for answer in shown] == [made["key"], made["token"], made["token"]]
    assert {answer.body["info"]["key_id"] for answer in shown} == {made["key_id"]}


@pytest.mark.parametrize("reference", ["sk-unknown-key-0000", "0" * 64, "", "an alias", MASTER_KEY])
def test_an_unknown_key_is_not_found(shared_api: Api, reference: str):
    answer = info(shared_api, reference)

    assert answer.summary == (404, "not_found_error", "key")
    assert answer.error["message"] == "Key not found in database"


def test_the_master_key_has_no_row_of_its_own(shared_api: Api):
    assert info(shared_api, None).summary == (404, "not_found_error", "key")


def test_a_deleted_key_is_not_found(api: Api):
    made = api.generate()
    api.post("/key/delete", {"keys": [made["key"]]})

    assert info(api, made["key"]).status == 404
    assert info(api, made["token"]).status == 404


def test_a_former_secret_names_and_opens_its_key_until_the_instant_at_which_its_grace_ends(
    api: Api, services: Services, clock: MovableClock
):
    made, former = api.generate(key_alias="rotated"), "sk-former-secret-of-it"
    add_secret_in_grace(services.database, made["key_id"], former, clock.now() + timedelta(seconds=60))

    clock.advance(59.999999)
    during = info(api, former), info(api, None, caller=former), info(api, minting.digest(former))
    clock.advance(0.000001)
    after = info(api, former), info(api, None, caller=former), info(api, minting.digest(former))

    assert [answer.body["info"]["key_alias"] for answer in during] == ["rotated"] * 3
    assert during[1].body["key"] == made["token"]
    assert [answer.status for answer in after] == [404, 401, 404]
    assert info(api, made["key"]).status == 200


def test_the_status_follows_the_clock(api: Api, clock: MovableClock):
    key = api.generate(duration="10s")["key"]

    seen = [api.info(key)["status"]]
    clock.advance(10)
    seen.append(api.info(key)["status"])
    api.post("/key/block", {"key": key})
    seen.append(api.info(key)["status"])

    assert seen == ["active", "expired", "revoked"]


def test_the_spend_of_a_window_that_has_passed_reads_as_zero_before_any_job_runs(api: Api, clock: MovableClock):
    key = api.generate(budget_duration="1d", spend=2)["key"]
    before = api.info(key)

    clock.advance(3600 * 24)

    after = api.info(key)
    assert (before["spend"], after["spend"]) == (2, 0)
    assert (before["total_spend"], after["total_spend"]) == (2, 2)
    assert after["budget_reset_at"] == "2026-11-20T00:00:00.000000Z"


def test_a_spend_without_a_window_stays(api: Api, clock: MovableClock):
    key = api.generate(spend=2)["key"]

    clock.advance(3600 * 24 * 1000)

    assert api.info(key)["spend"] == 2


def test_a_correction_counts_in_the_window_that_it_was_made_in(api: Api, clock: MovableClock):
    key = api.generate(budget_duration="1d", spend=2)["key"]
    clock.advance(3600 * 24)

    api.post("/key/update", {"key": key, "spend": 0.5})

    shown = api.info(key)
    assert (shown["spend"], shown["total_spend"]) == (0.5, 2.5)


def test_a_tier_is_shown_whole(api: Api, services: Services):
    tier = add_tier(services.database, "gold", max_budget_nanos=10**9, tpm_limit=7, budget_duration="1d")

    shown = info(api, api.generate(budget_id=tier)["key"]).body["info"]["litellm_budget_table"]

    assert (shown["budget_id"], shown["max_budget"], shown["tpm_limit"]) == (tier, 1, 7)


# --- who may see it ----------------------------------------------------------------------------------------


def test_a_member_of_the_team_and_its_service_account_see_each_key_of_the_team(api: Api, services: Services):
    member = add_person(api, services.database, "member")
    add_team(services.database, "team", {"member": "user"})
    robot = api.generate(team_id="team", metadata={"service_account_id": "robot"})["key"]
    target = api.generate(team_id="team", user_id="other")

    assert info(api, target["key"], caller=member).status == 200
    assert info(api, target["token"], caller=robot).status == 200


@pytest.mark.parametrize("role", ["proxy_admin", "proxy_admin_viewer"])
def test_an_administrator_and_a_viewer_see_every_key(api: Api, services: Services, role: str):
    caller = add_person(api, services.database, "boss", role)
    target = api.generate(user_id="other")

    assert info(api, target["key"], caller=caller).status == 200


def test_an_owner_sees_its_own_keys_and_no_others(api: Api, services: Services):
    caller = add_person(api, services.database, "me")
    mine, foreign = api.generate(user_id="me"), api.generate(user_id="other")

    assert info(api, mine["token"], caller=caller).status == 200
    assert info(api, foreign["token"], caller=caller).status == 404


def test_a_key_without_an_owner_sees_itself_and_no_other_ownerless_key(api: Api):
    one, other = api.generate(), api.generate()

    assert info(api, one["key"], caller=one["key"]).status == 200
    assert info(api, one["token"], caller=one["key"]).status == 200
    assert info(api, other["token"], caller=one["key"]).status == 404


def test_a_team_key_whose_owner_has_left_is_no_window_into_the_team(api: Api, services: Services):
    add_user(services.database, "gone")
    add_team(services.database, "team", {})
    caller = api.generate(user_id="gone", team_id="team")["key"]
    target = api.generate(team_id="team", user_id="other")

    assert info(api, None, caller=caller).status == 200
    assert info(api, target["key"], caller=caller).status == 404
