"""Sealing: what a stored secret reveals (nothing), and who can open it."""

import base64
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.config import Settings
from app.container import build
from app.db import Database
from app.domain.callbacks import SEALED_PREFIX
from app.domain.masking import MASK
from app.domain.minting import Secret
from app.models import audit, deleted_keys, events, keys
from app.services.sealing.sealing import CannotOpen, Sealer, is_sealed
from tests.apps import app_over
from tests.clients import Api
from tests.stores import count

OLD, NEW = Secret("the-old-salt-key"), Secret("the-new-salt-key")
NAME = "langfuse_secret_key"
# Every secret of these tests, in one recognisable family.
PLAINTEXTS = {
    "langfuse_public_key": "distinctive-public",
    "langfuse_secret_key": "distinctive-secret",
    "gcs_path_service_account": '{"private_key": "distinctive-account"}',
    "generic_api_headers": "Authorization=distinctive-header",
}
LOGGING = [
    {
        "callback_name": "langfuse",
        "callback_type": "success",
        "callback_vars": {**PLAINTEXTS, "langfuse_host": "https://lf.example"},
    }
]
MASKED = [
    {
        **LOGGING[0],
        "callback_vars": {**dict.fromkeys(PLAINTEXTS, MASK), "langfuse_host": "https://lf.example"},
    }
]


# --- the sealer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plaintext", ["", "s", "sk-1", "pä€\n\x00", "x" * 100_000])
def test_what_was_sealed_opens_to_itself(plaintext: str):
    sealer = Sealer(OLD)

    sealed = sealer.seal(NAME, plaintext)

    assert is_sealed(sealed)
    assert sealer.open(NAME, sealed) == plaintext
    assert sealer.holds(NAME, sealed, plaintext)
    assert not sealer.holds(NAME, sealed, plaintext + "x")


def test_a_sealed_text_shows_neither_the_secret_nor_that_two_are_the_same():
    sealer = Sealer(OLD)

    one, other = sealer.seal(NAME, "distinctive"), sealer.seal(NAME, "distinctive")

    assert "distinctive" not in one + str(base64.urlsafe_b64decode(one.rpartition(":")[2]))
    assert one != other


def test_the_same_salt_key_opens_in_another_process():
    assert Sealer(Secret(OLD.reveal())).open(NAME, Sealer(OLD).seal(NAME, "s")) == "s"


def test_another_salt_key_says_so_and_opens_nothing():
    sealed = Sealer(OLD).seal(NAME, "s")

    with pytest.raises(CannotOpen, match="it was sealed with another salt key"):
        Sealer(NEW).open(NAME, sealed)
    assert not Sealer(NEW).holds(NAME, sealed, "s")


def test_the_previous_salt_key_opens_and_never_seals():
    both = Sealer(NEW, OLD)

    assert both.open(NAME, Sealer(OLD).seal(NAME, "s")) == "s"
    assert Sealer(NEW).open(NAME, both.seal(NAME, "s")) == "s"


def test_a_secret_under_another_name_does_not_open():
    sealed = Sealer(OLD).seal(NAME, "s")

    with pytest.raises(CannotOpen, match="damaged, or belongs to another name"):
        Sealer(OLD).open("generic_api_headers", sealed)


def test_a_text_that_was_changed_or_is_none_of_ours_does_not_open():
    sealer = Sealer(OLD)
    sealed = sealer.seal(NAME, "secret")
    head, _, payload = sealed.rpartition(":")
    broken = base64.urlsafe_b64encode(base64.urlsafe_b64decode(payload)[:-1] + b"\x00").decode()

    for text in (f"{head}:{broken}", f"{head}:", f"{head}:!", f"{head}:{payload[:8]}", f"{head}:é"):
        with pytest.raises(CannotOpen):
            sealer.open(NAME, text)
    for text in ("sealed:", "sealed:1", "sealed:2:a:b", "sealed::"):
        with pytest.raises(CannotOpen):
            sealer.open(NAME, text)


def test_a_text_that_was_never_sealed_is_itself():
    assert Sealer(OLD).open(NAME, "sk-clear") == "sk-clear"


def test_resealing_moves_to_the_new_key_once():
    both = Sealer(NEW, OLD)

    moved = both.reseal(NAME, Sealer(OLD).seal(NAME, "s"))

    assert Sealer(NEW).open(NAME, moved) == "s"
    assert both.reseal(NAME, moved) == moved
    assert Sealer(NEW).open(NAME, both.reseal(NAME, "clear")) == "clear"


def test_a_sealer_is_not_printed_with_its_key():
    assert OLD.reveal() not in repr(vars(Sealer(OLD)))


# --- at rest and in answers -----------------------------------------------------------------------------------


def everything(database: Database) -> str:
    """All that SQL holds about keys, as text."""
    with database.read() as connection:
        tables = [connection.execute(select(table)).all() for table in (keys, deleted_keys, audit, events)]
    return str(tables)


def stored_variables(database: Database) -> dict[str, str]:
    with database.read() as connection:
        metadata = connection.execute(select(keys.c.metadata)).scalar_one()
    variables: dict[str, str] = metadata["logging"][0]["callback_vars"]
    return variables


def test_no_secret_is_at_rest_or_in_any_answer(api: Api, database: Database):
    made = api.generate(metadata={"logging": LOGGING, "team": "search"}, key_alias="logged")
    answers: list[Any] = [made]

    answers.append(api.info(made["key"]))
    answers.append(api.info(made["key"], caller=made["key"]))
    answers.append(api.post("/key/update", {"key": made["key"], "tags": ["a"]}).body)
    answers.append(api.get("/key/list", return_full_object=True).body)
    answers.append(api.post("/key/block", {"key": made["key"]}).body)
    answers.append(api.post("/key/unblock", {"key": made["key"]}).body)
    made = api.post("/key/regenerate", {"key": made["key"]}).body
    answers.append(made)
    assert all(text.startswith(SEALED_PREFIX) for text in _secrets(stored_variables(database)).values())
    api.post("/key/delete", {"keys": [made["key"]]})
    answers.append(api.get("/key/list", status="deleted", return_full_object=True).body)

    shown = [answer["keys"][0] if "keys" in answer else answer for answer in answers]
    assert [answer["metadata"]["logging"] for answer in shown] == [MASKED] * 9
    assert "distinctive" not in str(answers)
    assert SEALED_PREFIX not in str(answers)
    assert count(database, audit) > 3
    assert count(database, events) > 3
    assert "distinctive" not in everything(database)


def _secrets(variables: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in variables.items() if name in PLAINTEXTS}


def test_no_secret_is_in_the_files_of_the_store(
    sqlite_url: str, settings: Settings, redis_url: str, sqlite_folder: Path
):
    services = build(Settings.parse({**_environment(settings), "DATABASE_URL": sqlite_url}))
    Api(app_over(services)).generate(metadata={"logging": LOGGING})
    services.close()

    files = [path for path in sqlite_folder.iterdir() if path.is_file()]
    assert files
    assert not any(b"distinctive" in path.read_bytes() for path in files)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "REDIS_URL": settings.redis_url,
        "KEYLEDGER_MASTER_KEY": settings.master_key.reveal(),
        "KEYLEDGER_SALT_KEY": settings.salt_key.reveal(),
    }


def test_sending_back_what_info_showed_keeps_every_secret(api: Api, database: Database):
    made = api.generate(metadata={"logging": LOGGING})
    before = stored_variables(database)

    updated = api.post("/key/update", {"key": made["key"], "metadata": api.info(made["key"])["metadata"]})

    assert updated.status == 200
    assert updated.body["metadata"]["logging"] == MASKED
    assert stored_variables(database) == before


def test_the_audit_tells_that_a_secret_was_changed_and_not_what_it_was(api: Api, database: Database):
    made = api.generate(metadata={"logging": LOGGING})
    changed = [{**LOGGING[0], "callback_vars": {**LOGGING[0]["callback_vars"], NAME: "distinctive-other"}}]

    api.post("/key/update", {"key": made["key"], "metadata": {"logging": changed}})
    api.post("/key/update", {"key": made["key"], "metadata": {"logging": changed}})

    with database.read() as connection:
        rows = connection.execute(
            select(audit.c.before, audit.c.after).where(audit.c.action == "update").order_by(audit.c.audit_id)
        ).all()
    assert [row.after for row in rows] == [{"metadata": {"logging": MASKED}}, {}]
    assert rows[0].before == {"metadata": {"logging": MASKED}}
    assert "distinctive" not in everything(database)


def test_callbacks_go_with_the_metadata_that_held_them(api: Api, database: Database):
    made = api.generate(metadata={"logging": LOGGING})

    kept = api.post("/key/update", {"key": made["key"], "tags": ["a"]})
    null = api.post("/key/update", {"key": made["key"], "metadata": {"logging": None, "a": 1}})
    gone = api.post("/key/update", {"key": made["key"], "metadata": {}})

    assert kept.body["metadata"] == {"logging": MASKED, "tags": ["a"]}
    assert null.body["metadata"] == {"a": 1}
    assert gone.body["metadata"] == {}


@pytest.mark.parametrize(
    "logging",
    [
        {"callback_name": "langfuse"},
        [{"callback_vars": {}}],
        [{"callback_name": "carrier-pigeon"}],
        [{"callback_name": "langfuse", "callback_type": "sometimes"}],
        [{"callback_name": "langfuse", "callback_vars": {"langfuse_pasword": "x"}}],
        [{"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": "os.environ/HOME"}}],
        [{"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": "****"}}],
    ],
)
def test_callbacks_that_could_never_work_are_a_400_on_metadata(api: Api, logging: Any):
    made = api.generate()

    answers = [
        api.post("/key/generate", {"metadata": {"logging": logging}}),
        api.post("/key/update", {"key": made["key"], "metadata": {"logging": logging}}),
    ]

    assert [answer.summary for answer in answers] == [(400, "invalid_request_error", "metadata")] * 2
    assert api.info(made["key"])["metadata"] == {}


def test_nothing_of_the_servers_environment_reaches_a_key(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "distinctive-environment")
    monkeypatch.setenv("LANGFUSE_HOST", "https://distinctive.example")

    api.generate(metadata={"logging": [{"callback_name": "langfuse", "callback_vars": {}}]})

    assert stored_variables(database) == {}
    assert "distinctive" not in everything(database)
