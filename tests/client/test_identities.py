"""What the reference's own client, unchanged, reads of teams, users and models, and does to users."""

import json

from tests.client.conftest import ReferenceClient
from tests.workers.running import Up


def test_teams_are_listed_with_their_members_models_and_budget(client: ReferenceClient, first_up: Up) -> None:
    first_up.post("/user/new", user_id="teamster", auto_create_key=False)
    first_up.post("/organization/new", organization_id="club", organization_alias="Club")
    first_up.post(
        "/team/new",
        team_id="clients",
        team_alias="Clients",
        organization_id="club",
        models=["gpt-4o"],
        max_budget=12.5,
        members_with_roles=[{"user_id": "teamster", "role": "user"}],
    )

    everything = client.call("teams", "list")
    of_user = client.call("teams", "list", user_id="teamster")
    of_organization = client.call("teams", "list", organization_id="club")

    assert "clients" in {team["team_id"] for team in everything}
    (team,) = of_user
    assert of_organization == of_user
    assert (team["team_alias"], team["models"], team["max_budget"]) == ("Clients", ["gpt-4o"], 12.5)
    assert [(member["user_id"], member["role"]) for member in team["members_with_roles"]] == [("teamster", "user")]


def test_teams_are_paged_filtered_and_sorted(client: ReferenceClient, first_up: Up) -> None:
    for number in (2, 0, 1):
        first_up.post("/team/new", team_id=f"paged-{number}", team_alias=f"Paged {number}")

    first = client.call("teams", "list_v2", team_alias="aged", page=1, page_size=2, sort_by="team_alias")
    second = client.call("teams", "list_v2", team_alias="aged", page=2, page_size=2, sort_by="team_alias")
    one = client.call("teams", "list_v2", team_id="paged-1")

    pages = [[team["team_id"] for team in page["teams"]] for page in (first, second)]
    assert pages == [["paged-0", "paged-1"], ["paged-2"]]
    assert (first["total"], first["total_pages"], first["page_size"]) == (3, 2, 2)
    assert [team["team_id"] for team in one["teams"]] == ["paged-1"]


def test_no_team_is_open_to_join_unless_a_setting_says_so(client: ReferenceClient) -> None:
    assert client.call("teams", "get_available") == []


def test_users_are_made_listed_read_and_deleted(client: ReferenceClient) -> None:
    made = client.call(
        "users",
        "create_user",
        user_data={
            "user_id": "ann",
            "user_email": "ann@example.com",
            "user_role": "internal_user",
            "max_budget": 3,
        },
    )
    listed = client.call("users", "list_users", params={"user_ids": "ann"})
    info = client.call("users", "get_user", user_id="ann")
    lean = client.call("users", "get_user_v2", user_id="ann")
    own = client.call("users", "get_user", caller=made["key"])
    client.call("users", "delete_user", user_ids=["ann"])
    gone = [client.outcome("users", method, user_id="ann") for method in ("get_user", "get_user_v2")]

    assert made["key"].startswith("sk-")
    assert [(user["user_id"], user["user_email"], user["key_count"]) for user in listed] == [
        ("ann", "ann@example.com", 1)
    ]
    assert (info["user_id"], info["user_info"]["max_budget"], len(info["keys"])) == ("ann", 3, 1)
    assert (lean["user_id"], lean["user_role"]) == ("ann", "internal_user")
    assert own["user_id"] == "ann"
    assert gone == [{"raised": "NotFoundError"}] * 2
    assert client.outcome("keys", "list", caller=made["key"]) == {"raised": "UnauthorizedError"}


def test_models_are_those_that_keys_and_teams_name(client: ReferenceClient) -> None:
    client.call("keys", "generate", models=["model-of-a-key"])

    names = {model["model_name"] for model in client.call("models", "info")}
    found = client.call("models", "get", model_name="model-of-a-key")
    missing = client.outcome("models", "get", model_name="no-such-model")
    written = client.outcome("models", "new", model_name="x", model_params={"model": "y"})

    assert "model-of-a-key" in names
    assert found["litellm_params"]["model"] == "model-of-a-key"
    assert missing == {"raised": "NotFoundError"}
    assert written == {"raised": "HTTPError", "status": 404}


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_lists_teams_and_moves_its_own_key_into_one(client: ReferenceClient, first_up: Up) -> None:
    first_up.post("/team/new", team_id="joined", team_alias="Joined", models=["gpt-4o"])
    made = client.call("keys", "generate", key_alias="joiner")

    listed = client.command("teams", "list")
    available = client.command("teams", "available")
    client.call("keys", "update", key=made["key"], team_id="joined")

    assert [run.returncode for run in (listed, available)] == [0, 0], listed.stderr
    assert "Joined" in listed.stdout
    assert client.call("keys", "info", key=made["key"])["info"]["team_id"] == "joined"


def test_the_command_creates_lists_reads_and_deletes_a_user(client: ReferenceClient) -> None:
    created = client.command("users", "create", "--email", "bob@example.com", "--alias", "Bob")
    user_id = json.loads(created.stdout)["user_id"]
    listed = client.command("users", "list")
    read = client.command("users", "get", "--id", user_id)
    deleted = client.command("users", "delete", user_id)

    assert [run.returncode for run in (created, listed, read, deleted)] == [0] * 4, created.stderr
    assert "bob@example.com" in listed.stdout
    assert client.outcome("users", "get_user", user_id=user_id) == {"raised": "NotFoundError"}


def test_the_command_shows_the_models(client: ReferenceClient) -> None:
    client.call("keys", "generate", models=["model-in-a-table"])

    listed = client.command("models", "info")

    assert listed.returncode == 0, listed.stderr
    assert "model-in-a-table" in listed.stdout
