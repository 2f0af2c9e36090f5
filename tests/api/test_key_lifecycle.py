"""A key from its making to its end, over HTTP."""

from tests.clients import Api


def test_a_generated_key_opens_its_own_info(api: Api) -> None:
    made = api.generate(key_alias="first", max_budget=1.5)

    answer = api.get("/key/info", made["key"])

    assert answer.status == 200
    assert answer.body["key"] == made["token"]
    assert answer.body["info"]["max_budget"] == 1.5


def test_a_deleted_key_opens_nothing_and_is_archived(api: Api) -> None:
    made = api.generate(key_alias="gone")

    deleted = api.post("/key/delete", {"keys": [made["key"], "sk-unknown"]})

    assert deleted.body == {"deleted_keys": [made["key"]]}
    assert api.get("/key/info", made["key"]).summary == (401, "token_not_found_in_db", "key")
    assert api.get("/key/list", status="deleted").body["keys"] == [made["token"]]
