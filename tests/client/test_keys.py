"""The reference's own client, unchanged, finds in this service what it expects of its own."""

import json

from tests.client.conftest import MASTER_KEY, ReferenceClient


def test_generate_info_update_list_and_delete_do_what_the_client_says(client: ReferenceClient) -> None:
    made = client.call(
        "keys", "generate", models=["gpt-4o"], aliases={"fast": "gpt-4o"}, spend=1.5, duration="24h",
        key_alias="from-the-client", user_id="client-user", config={"a": 1},
    )  # fmt: skip
    info = client.call("keys", "info", key=made["key"])["info"]
    client.call("keys", "update", key=made["key"], models=["gpt-4o", "o3"], spend=2.5, key_alias="renamed")
    updated = client.call("keys", "info", key=made["key"])["info"]
    by_alias = client.call("keys", "list", key_alias="renamed", return_full_object=True)
    deleted = client.call("keys", "delete", keys=[made["key"]])
    gone = client.outcome("keys", "info", key=made["key"])

    assert made["key"].startswith("sk-")
    assert (info["models"], info["aliases"], info["spend"], info["config"]) == (
        ["gpt-4o"],
        {"fast": "gpt-4o"},
        1.5,
        {"a": 1},
    )
    assert info["expires"] is not None
    assert (updated["models"], updated["spend"], updated["key_alias"]) == (["gpt-4o", "o3"], 2.5, "renamed")
    assert by_alias["total_count"] == 1
    assert by_alias["keys"][0]["token"] == made["token"]
    assert deleted == {"deleted_keys": [made["key"]]}
    assert gone == {"raised": "HTTPError", "status": 404}


def test_lists_page_and_filter(client: ReferenceClient) -> None:
    made = [client.call("keys", "generate", key_alias=f"page-{n}", team_id="paged") for n in range(3)]

    first = client.call("keys", "list", page=1, size=2, team_id="paged")
    second = client.call("keys", "list", page=2, size=2, team_id="paged", include_team_keys=False)
    by_hash = client.call("keys", "list", key_hash=made[0]["token"])

    assert first["keys"] + second["keys"] == [key["token"] for key in reversed(made)]
    assert (first["total_count"], first["total_pages"]) == (3, 2)
    assert by_hash["keys"] == [made[0]["token"]]


def test_a_delete_by_alias_sends_the_other_list_as_null(client: ReferenceClient) -> None:
    client.call("keys", "generate", key_alias="by-alias")

    assert client.call("keys", "delete", key_aliases=["by-alias"]) == {"deleted_keys": ["by-alias"]}


def test_a_revoked_key_is_unauthorized(client: ReferenceClient) -> None:
    made = client.call("keys", "generate", key_alias="revoked")
    client.call("keys", "delete", keys=[made["key"]])

    assert client.outcome("keys", "list", caller=made["key"]) == {"raised": "UnauthorizedError"}


def test_health_tells_the_version(client: ReferenceClient) -> None:
    assert client.call("health", "get_server_version") == "1.109.1"
    assert client.call("health", "get_readiness")["db"] == "connected"


def test_models_are_those_of_the_key(client: ReferenceClient) -> None:
    made = client.call("keys", "generate", models=["gpt-4o", "o3"])

    listed = client.call("models", "list", caller=made["key"])

    assert [model["id"] for model in listed] == ["gpt-4o", "o3"]


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_generates_lists_and_deletes(client: ReferenceClient) -> None:
    made = client.command(
        "keys", "generate", "--models", "gpt-4o", "--duration", "7d", "--key-alias", "by-command"
    )
    as_json = client.command("keys", "list", "--key-alias", "by-command", "--format", "json")
    as_table = client.command("keys", "list", "--key-alias", "by-command")
    deleted = client.command("keys", "delete", "--key-aliases", "by-command")
    after = client.command("keys", "list", "--key-alias", "by-command", "--format", "json")

    assert [run.returncode for run in (made, as_json, as_table, deleted, after)] == [0] * 5, made.stderr
    assert json.loads(as_json.stdout)["keys"][0]["key_alias"] == "by-command"
    assert "by-command" in as_table.stdout
    assert json.loads(after.stdout)["keys"] == []


def test_the_command_says_which_server_it_talks_to(client: ReferenceClient) -> None:
    told = client.command("version")

    assert told.returncode == 0
    assert "1.109.1" in told.stdout


def test_a_wrong_key_is_an_error_of_the_command(client: ReferenceClient) -> None:
    refused = client.command("keys", "list", caller="sk-wrong-0123456789")

    assert refused.returncode != 0


def test_import_copies_the_keys_of_one_service_to_another(
    client: ReferenceClient, other_client: ReferenceClient
) -> None:
    for n in range(3):
        client.call(
            "keys", "generate", key_alias=f"imported-{n}", models=["gpt-4o"], spend=0.5, user_id="importer"
        )

    done = other_client.command("keys", "import", "--source-base-url", client.url, "--source-api-key", MASTER_KEY)
    copied = other_client.call("keys", "list", user_id="importer", return_full_object=True)

    assert done.returncode == 0, done.stderr
    assert sorted(key["key_alias"] for key in copied["keys"]) == [f"imported-{n}" for n in range(3)]
    assert {key["spend"] for key in copied["keys"]} == {0.5}
    assert all(key["models"] == ["gpt-4o"] for key in copied["keys"])
