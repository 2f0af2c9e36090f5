"""POST /organization/member_add, PATCH /organization/member_update and DELETE /organization/member_delete."""

from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.models import audit, budgets, organization_members, team_members, users
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather, without_redis
from tests.api.organizations import info, new
from tests.api.settings import NO_MONEY
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_person, add_tier, add_user, on_one_store, rows, unchanged

ROLES = ("org_admin", "internal_user", "internal_user_viewer")
METHODS = {"member_add": "POST", "member_update": "PATCH", "member_delete": "DELETE"}

# What each caller is answered who asks for a change of who belongs to the organization.
MANAGING = {
    "master": 200,
    "proxy admin": 200,
    "org admin": 200,
    "viewer": 403,
    "org member": 401,
    "team admin": 401,
    "team key": 401,
    "other org admin": 404,
}


def call(api: Api, verb: str, caller: str = MASTER_KEY, **sent: Any) -> Answer:
    return api.call(
        METHODS[verb], f"/organization/{verb}", key=caller, json={"organization_id": ORGANIZATION, **sent}
    )


def add(api: Api, *members: dict[str, Any], caller: str = MASTER_KEY, **more: Any) -> Answer:
    return call(api, "member_add", caller, member=list(members), **more)


def somebody(user_id: str, role: str = "internal_user") -> dict[str, str]:
    return {"user_id": user_id, "role": role}


def memberships(services: Services) -> dict[str, Any]:
    """The members of the organization with their roles."""
    found = rows(services.database, organization_members, organization_id=ORGANIZATION)
    return {row["user_id"]: row["user_role"] for row in found}


@pytest.fixture
def organization(api: Api) -> str:
    return str(new(api, organization_id=ORGANIZATION)["organization_id"])


# --- member_add --------------------------------------------------------------------------------------------


def test_users_join_by_id_and_by_address_and_who_is_new_becomes_a_user(
    api: Api, services: Services, organization: str
):
    add_user(services.database, "bob")
    api.post("/user/new", {"user_id": "eve", "user_email": "Eve@Example.com", "auto_create_key": False})

    answer = add(
        api,
        somebody("bob", "org_admin"),
        {"user_email": "eve@example.com", "role": "internal_user"},
        {"user_email": "new@example.com", "role": "internal_user_viewer"},
        somebody("made"),
    )

    assert answer.status == 200
    (fresh,) = (row["user_id"] for row in rows(services.database, users, email_folded="new@example.com"))
    expected = {"bob": "org_admin", "eve": "internal_user", fresh: "internal_user_viewer", "made": "internal_user"}
    assert memberships(services) == expected
    body = answer.body
    assert body["organization_id"] == organization
    assert {user["user_id"] for user in body["updated_users"]} == expected.keys()
    added = {member["user_id"]: member for member in body["updated_organization_memberships"]}
    assert {name: member["user_role"] for name, member in added.items()} == expected
    assert info(api)["members"] == body["updated_organization_memberships"]


def test_one_member_alone_may_be_sent_without_a_list(api: Api, services: Services, organization: str):
    assert call(api, "member_add", member=somebody("bob")).status == 200

    assert memberships(services) == {"bob": "internal_user"}


def test_one_who_is_a_member_is_refused_alone_and_passed_over_in_a_list(
    api: Api, services: Services, organization: str
):
    add(api, somebody("bob", "org_admin"))

    with unchanged(services.database):
        again = call(api, "member_add", member=somebody("bob"), max_budget_in_organization=1)
        nobody = add(api, somebody("bob"), max_budget_in_organization=1)
    more = add(api, somebody("bob"), somebody("eve"))

    assert again.summary == (400, "invalid_request_error", "user_id")
    assert (nobody.status, nobody.body["updated_organization_memberships"]) == (200, [])
    assert [member["user_id"] for member in more.body["updated_organization_memberships"]] == ["eve"]
    assert memberships(services) == {"bob": "org_admin", "eve": "internal_user"}


def test_a_budget_there_is_stored_in_a_tier_of_the_members_own_and_told_to_bind_nothing(
    api: Api, services: Services, organization: str
):
    answer = add(api, somebody("bob"), somebody("eve"), max_budget_in_organization=2.5)

    assert answer.headers["x-keyledger-unenforced-fields"] == "max_budget_in_organization"
    members = info(api)["members"]
    assert members == answer.body["updated_organization_memberships"]
    assert {member["max_budget_in_organization"] for member in members} == {2.5}
    assert {member["litellm_budget_table"]["max_budget"] for member in members} == {2.5}
    assert len({member["budget_id"] for member in members} | {info(api)["budget_id"]}) == 3


@pytest.mark.parametrize("amount", NO_MONEY)
@pytest.mark.parametrize("verb", ["member_add", "member_update"])
def test_a_budget_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, verb: str, amount: Any
):
    sent: dict[str, Any] = {"member": somebody("bob")} if verb == "member_add" else {"user_id": "bob"}
    with unchanged(shared_services.database):
        answer = call(shared_api, verb, max_budget_in_organization=amount, **sent)

    assert answer.summary == (400, "invalid_request_error", "max_budget_in_organization")


@pytest.mark.parametrize(
    ("verb", "sent", "location"),
    [
        ("member_add", {}, ["member"]),
        ("member_add", {"member": {"user_id": "bob"}}, ["member", "role"]),
        ("member_add", {"member": {"role": "org_admin"}}, ["member"]),
        ("member_add", {"member": somebody("bob", "proxy_admin")}, ["member", "role"]),
        ("member_add", {"member": [somebody("bob", "admin")]}, ["member", 0, "role"]),
        ("member_add", {"member": [somebody("bob")] * 501}, ["member"]),
        ("member_add", {"member": somebody("bob"), "organization_id": None}, ["organization_id"]),
        ("member_update", {"role": "org_admin"}, []),
        ("member_update", {"user_id": "bob", "role": "proxy_admin_viewer"}, ["role"]),
        ("member_delete", {}, []),
        ("member_delete", {"user_id": "bob", "organization_id": None}, ["organization_id"]),
    ],
)
def test_a_wrong_request_does_not_fit_the_schema(
    shared_api: Api, verb: str, sent: dict[str, Any], location: list[str | int]
):
    answer = call(shared_api, verb, **sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


def test_an_organizations_admin_brings_in_new_people_by_address_only(api: Api, services: Services):
    people = gather(api, services.database)

    invited = add(api, {"user_email": "new@example.com", "role": "org_admin"}, caller=people["org admin"])
    with unchanged(services.database):
        named = add(api, somebody("nobody yet"), caller=people["org admin"])

    assert invited.status == 200
    assert named.summary == (400, "invalid_request_error", "user_id")
    assert rows(services.database, users, email_folded="new@example.com")[0]["user_role"] is None


# --- member_update -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [{"user_id": "bob"}, {"user_email": "BOB@example.com"}])
def test_a_member_gets_another_role(api: Api, services: Services, organization: str, name: dict[str, str]):
    add(api, {"user_id": "bob", "user_email": "bob@example.com", "role": "internal_user"})

    answer = call(api, "member_update", role="org_admin", **name)

    assert (answer.status, answer.body["user_role"]) == (200, "org_admin")
    assert info(api)["members"] == [answer.body]


def test_a_members_budget_is_given_changed_and_taken_off_and_its_tier_with_it(
    api: Api, services: Services, organization: str
):
    add(api, somebody("bob", "org_admin"))

    given = call(api, "member_update", user_id="bob", max_budget_in_organization=1).body
    changed = call(api, "member_update", user_id="bob", max_budget_in_organization=2).body
    kept = call(api, "member_update", user_id="bob", role="internal_user").body
    taken = call(api, "member_update", user_id="bob", max_budget_in_organization=None).body

    found = [body["max_budget_in_organization"] for body in (given, changed, kept, taken)]
    assert found == [1, 2, 2, None]
    assert given["budget_id"] == changed["budget_id"] == kept["budget_id"] != taken["budget_id"]
    assert (taken["budget_id"], taken["user_role"]) == (None, "internal_user")
    assert [row["budget_id"] for row in rows(services.database, budgets)] == [info(api)["budget_id"]]


def test_a_tier_that_others_share_is_not_changed_through_a_member(api: Api, services: Services):
    add_tier(services.database, "gold", max_budget_nanos=9 * NANOS, tpm_limit=5)
    add_organization(services.database, ORGANIZATION)
    add(api, somebody("bob"), somebody("eve"))
    with services.database.transaction() as transaction:
        transaction.execute(organization_members.update().values(budget_id="gold"))

    bob = call(api, "member_update", user_id="bob", max_budget_in_organization=1).body
    eve = call(api, "member_delete", user_id="eve").body

    assert (bob["max_budget_in_organization"], bob["litellm_budget_table"]["tpm_limit"]) == (1, 5)
    assert eve["max_budget_in_organization"] == 9
    # The last one that was linked to it took it along.
    left = {row["budget_id"] for row in rows(services.database, budgets)}
    assert left == {bob["budget_id"], f"tier of {ORGANIZATION}"}


# --- member_delete -----------------------------------------------------------------------------------------


def test_who_leaves_an_organization_keeps_its_keys_and_its_teams(api: Api, services: Services, organization: str):
    api.post("/team/new", {"team_id": TEAM, "organization_id": ORGANIZATION})
    add(api, somebody("bob", "org_admin"), max_budget_in_organization=1)
    api.post("/team/member_add", {"team_id": TEAM, "member": {"user_id": "bob", "role": "user"}})
    key = api.generate(user_id="bob", organization_id=ORGANIZATION)["key"]

    answer = call(api, "member_delete", user_id="bob")

    assert (answer.body["user_id"], answer.body["max_budget_in_organization"]) == ("bob", 1)
    assert info(api)["members"] == []
    assert api.info(key)["organization_id"] == ORGANIZATION
    assert [row["user_id"] for row in rows(services.database, team_members)] == ["bob"]
    assert [row["budget_id"] for row in rows(services.database, budgets)] == [info(api)["budget_id"]]


@pytest.mark.parametrize("verb", ["member_update", "member_delete"])
@pytest.mark.parametrize(
    ("name", "param"), [({"user_id": "nobody"}, "user_id"), ({"user_email": "no@example.com"}, "user_email")]
)
def test_who_is_no_member_is_not_found(
    api: Api, services: Services, organization: str, verb: str, name: dict[str, str], param: str
):
    add_user(services.database, "nobody")

    with unchanged(services.database):
        assert call(api, verb, **name).summary == (404, "not_found_error", param)


# --- rights ------------------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize("verb", METHODS)
def test_proxy_admins_and_the_organizations_own_admins_say_who_belongs_to_it(
    api: Api, services: Services, verb: str
):
    people = gather(api, services.database)
    for number, (caller, expected) in enumerate(MANAGING.items()):
        user_id = f"user {number}"
        add(api, somebody(user_id)) if verb != "member_add" else add_user(services.database, user_id)
        sent = {"member": somebody(user_id)} if verb == "member_add" else {"user_id": user_id}

        answer = call(api, verb, people[caller], **sent)

        assert (caller, answer.status) == (caller, expected)


@pytest.mark.parametrize("verb", METHODS)
def test_an_organization_out_of_sight_answers_like_one_that_does_not_exist(
    api: Api, services: Services, verb: str
):
    people = gather(api, services.database)
    sent = {"member": somebody("org member")} if verb == "member_add" else {"user_id": "org member"}
    answers, costs = [], []
    call(api, verb, people["other org admin"], **sent)
    for organization_id in (ORGANIZATION, "hidden"):
        with statements(services.database) as found, unchanged(services.database):
            answers.append(
                call(api, verb, people["other org admin"], **{**sent, "organization_id": organization_id})
            )
        costs.append(len(found))

    seen, unknown = answers
    assert seen.summary == unknown.summary == (404, "not_found_error", "organization_id")
    assert seen.error["message"].replace(ORGANIZATION, "hidden") == unknown.error["message"]
    assert costs[0] == costs[1]


def test_an_organizations_admin_is_one_from_the_answer_on_and_no_longer(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION)
    bob = add_person(api, services.database, "bob")
    update = {"organization_id": ORGANIZATION, "organization_alias": "By Bob"}

    def tried() -> int:
        return api.call("PATCH", "/organization/update", key=bob, json=update).status

    found = [tried()]
    for verb, sent in (
        ("member_add", {"member": somebody("bob", "org_admin")}),
        ("member_update", {"user_id": "bob", "role": "internal_user"}),
        ("member_update", {"user_id": "bob", "role": "org_admin"}),
        ("member_delete", {"user_id": "bob"}),
    ):
        assert call(api, verb, **sent).status == 200
        found.append(tried())

    assert found == [401, 200, 401, 200, 401]


# --- audit, outages and costs ------------------------------------------------------------------------------


def test_every_change_of_who_belongs_is_one_row_of_the_audit(api: Api, services: Services, organization: str):
    add(api, somebody("bob"), somebody("eve"))
    call(api, "member_update", user_id="bob", role="org_admin")
    call(api, "member_delete", user_id="bob")

    found = rows(services.database, audit, entity="organization")[1:]
    assert [(row["action"], row["entity_id"]) for row in found] == [(verb, ORGANIZATION) for verb in METHODS]
    added, changed, removed = found
    assert [member["user_id"] for member in added["after"]["members_added"]] == ["bob", "eve"]
    assert (changed["before"]["member"]["user_role"], changed["after"]["member"]["user_role"]) == (
        "internal_user",
        "org_admin",
    )
    assert (removed["before"]["member"]["user_id"], removed["after"]) == ("bob", {"member": None})


@on_one_store
@pytest.mark.parametrize("verb", METHODS)
def test_without_redis_nobody_comes_or_goes(
    api: Api, services: Services, settings: Settings, clock: MovableClock, organization: str, verb: str
):
    add(api, somebody("bob"))
    sent = {"member": somebody("eve")} if verb == "member_add" else {"user_id": "bob", "role": "org_admin"}

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert call(cut_off, verb, **sent).status == 503


@pytest.mark.parametrize("count", [1, 20])
def test_adding_twenty_takes_as_many_statements_as_adding_one(
    api: Api, services: Services, organization: str, count: int
):
    with statements(services.database) as added:
        add(api, *(somebody(f"user {number}") for number in range(count)), max_budget_in_organization=1)
    with statements(services.database) as updated:
        call(api, "member_update", user_id="user 0", role="org_admin", max_budget_in_organization=2)
    with statements(services.database) as deleted:
        call(api, "member_delete", user_id="user 0")

    assert (len(added), len(updated), len(deleted)) == (13, 13, 11)
