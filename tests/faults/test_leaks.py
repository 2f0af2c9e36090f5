"""The scanner that watches the whole suite finds a planted key of each kind, and nothing where there is none."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from sqlalchemy import text

from app.db import Database
from tests import leaks
from tests.servers import PostgresServer, eventually

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-planted-Key_0123456789-abcdef"
FOUND = {KEY.encode()}


@pytest.fixture
def secrets() -> leaks.Secrets:
    """A registry of this test's own: a planted key must not fail the rest of the run."""
    secrets = leaks.Secrets()
    secrets.remember(KEY)
    return secrets


FORMS = {
    "raw": KEY,
    "in a text": f"the key {KEY}, it says",
    "with more behind": f"{KEY}more",
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, one further": base64.b64encode(b"x" + KEY.encode()).decode(),
    "base64, two further": base64.b64encode(b"xy" + KEY.encode()).decode(),
    "base64 for URLs, inside": "header." + base64.urlsafe_b64encode(b'{"key":"' + KEY.encode() + b'"}').decode(),
    "basic credentials": base64.b64encode(b"user:" + KEY.encode()).decode(),
    "percent-encoded": quote(KEY).replace("-", "%2D"),
    "percent-encoded all over": "".join(f"%{byte:02x}" for byte in KEY.encode()),
    "behind another beginning": f"sk-abcsk-{KEY}",
    "JSON-escaped": KEY.replace("-", "\\u002d").replace("_", "\\u005F"),
    "JSON-escaped all over": "".join(f"\\u00{byte:02X}" for byte in KEY.encode()),
    "JSON in JSON": json.dumps(json.dumps({"key": KEY.replace("-", "\\u002d")})),
    "base64, percent-encoded": quote(base64.b64encode(b"u:" + KEY.encode() + b"?"), safe=""),
    "base64 without padding": base64.b64encode(b"xy" + KEY.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_key_is_found_in_every_form(secrets: leaks.Secrets, form: str) -> None:
    assert secrets.inside(b"\x00before " + form.encode() + b" after\xff") == FOUND


def test_keys_of_every_length_are_found_at_every_alignment_of_base64() -> None:
    for length in range(16, 60):
        secrets, key = leaks.Secrets(), "sk-" + KEY[3:].ljust(length, "_")[: length - 3]
        secrets.remember(key)
        for before in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                assert secrets.inside(encode(b"\xff" * before + key.encode())) == {key.encode()}, (length, before)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-...cdef",
        "c2st" + "!" * 30,
        "NrLS",
        KEY[:-1],
        "sk-another-Key_0123456789-abcd",
        "b" * 64,
        KEY.lower(),
    ],
)
def test_what_is_not_the_key_is_not_found(secrets: leaks.Secrets, text: str) -> None:
    assert secrets.inside(text.encode()) == set()


def test_a_row_and_its_wal_are_searched_in_sqlite(secrets: leaks.Secrets, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    path = Path(database.url.database or "")
    before = leaks.in_sqlite(path, secrets)
    with database.transaction() as transaction:
        transaction.execute(text("CREATE TABLE planted (value TEXT)"))
        transaction.execute(text("INSERT INTO planted VALUES (:value)"), {"value": KEY})

    in_wal = leaks.in_files([path.with_name(path.name + "-wal")], secrets)
    database.close()

    assert before == set()
    assert in_wal == FOUND
    assert leaks.in_files([path], secrets) == FOUND


def test_rows_and_wal_are_searched_in_postgresql(secrets: leaks.Secrets) -> None:
    with PostgresServer() as server:
        before = leaks.in_folder(server.folder, secrets)
        server.execute("CREATE TABLE planted (value TEXT)")
        server.execute(f"INSERT INTO planted VALUES ('{KEY}')")
        server.execute("CHECKPOINT")

        assert before == set()
        assert leaks.in_files(server.folder.rglob("pg_wal/*"), secrets) == FOUND
        assert leaks.in_files(server.folder.rglob("base/*/*"), secrets) == FOUND


def test_every_kind_of_value_is_searched_in_redis(secrets: leaks.Secrets, redis_url: str) -> None:
    plants: dict[str, Callable[[Any], object]] = {
        "string": lambda client: client.set("p", KEY),
        "hash": lambda client: client.hset("p", "field", KEY),
        "list": lambda client: client.rpush("p", KEY),
        "set": lambda client: client.sadd("p", KEY),
        "zset": lambda client: client.zadd("p", {KEY: 1}),
        "stream": lambda client: client.xadd("p", {"field": KEY}),
        "field": lambda client: client.hset("p", KEY, "value"),
        "name": lambda client: client.set(f"cache:{KEY}", "1"),
    }
    with Redis.from_url(redis_url) as client:
        for kind, plant in plants.items():
            client.flushall()
            assert leaks.in_redis(redis_url, secrets) == set(), kind
            plant(client)
            assert leaks.in_redis(redis_url, secrets) == FOUND, kind
        client.flushall()


def test_a_log_line_is_searched(secrets: leaks.Secrets, tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text(f'{{"event": "refused", "credential": "{KEY}"}}\n')

    assert leaks.in_folder(tmp_path, secrets) == FOUND


def test_process_arguments_are_searched(secrets: leaks.Secrets) -> None:
    before = leaks.in_arguments(secrets)
    process = subprocess.Popen([sys.executable, "-c", "input()", KEY], stdin=subprocess.PIPE)
    try:
        during = eventually(lambda: leaks.in_arguments(secrets), 10)
    finally:
        process.communicate(b"\n")

    assert before == set()
    assert during == FOUND


def told(secrets: leaks.Secrets, path: str, answer: object, asked: str = "", status: int = 200) -> set[bytes]:
    return leaks.in_answer(path, asked.encode(), status, "", json.dumps(answer).encode(), secrets)


def test_an_answer_may_repeat_what_was_asked(secrets: leaks.Secrets) -> None:
    assert told(secrets, "/key/info", {"key": KEY}) == FOUND
    assert told(secrets, f"/key/info?key={KEY}", {"key": KEY}) == set()
    assert told(secrets, "/key/delete", {"deleted_keys": [KEY]}, asked=KEY) == set()


def test_an_error_and_a_header_may_not_even_repeat(secrets: leaks.Secrets) -> None:
    assert told(secrets, "/key/delete", {"error": {"message": f"no {KEY}"}}, asked=KEY, status=404) == FOUND
    assert leaks.in_answer("/key/delete", KEY.encode(), 200, f"x-ignored: {KEY}", b"{}", secrets) == FOUND


def test_the_answer_that_reveals_a_key_tells_it_once() -> None:
    secrets = leaks.Secrets()

    assert told(secrets, "/key/generate", {"key": KEY, "token": "t"}) == set()
    assert told(secrets, "/key/generate", {"key": KEY, "token": KEY}) == FOUND
    assert told(secrets, "/key/update", {"key": KEY}) == FOUND


def test_what_is_sent_out_is_searched_whole(secrets: leaks.Secrets) -> None:
    assert leaks.in_request("/", {"authorization": "Bearer x"}, b"{}", secrets) == set()
    assert leaks.in_request(f"/{KEY}", {}, b"", secrets) == FOUND
    assert leaks.in_request("/", {"x-note": KEY}, b"", secrets) == FOUND
    assert leaks.in_request("/", {}, json.dumps({"text": KEY}).encode(), secrets) == FOUND


@pytest.mark.parametrize("place", ["subject", "text", "page"])
def test_a_mail_is_searched_as_it_is_read(secrets: leaks.Secrets, place: str) -> None:
    said = {"subject": "s", "text": "t", "page": "p", place: f"漢 {'so much that it is folded ' * 5}{KEY}"}
    mail = EmailMessage()
    mail["Subject"] = said["subject"]
    mail.set_content(said["text"], cte="base64")
    mail.add_alternative(said["page"], subtype="html", cte="base64")
    arrived = message_from_bytes(mail.as_bytes(), policy=policy.default)

    assert leaks.in_mail(arrived, secrets) == FOUND


def test_a_key_that_a_caller_stores_as_plain_data_is_its_own_affair(secrets: leaks.Secrets) -> None:
    secrets.remember_request({"key": KEY, "metadata": {"note": KEY}})

    assert secrets.stored(KEY.encode()) == set()
    assert secrets.inside(KEY.encode()) == FOUND


# --- the watch over a whole run ------------------------------------------------------------------------------------

PLANTED = f"""
import subprocess, sys
import pytest
from tests.leaks import SECRETS
from tests.servers import eventually

SECRETS.remember("{KEY}")

def test_that_prints():
    print("a line with {KEY}")

def test_that_logs(caplog):
    import logging
    logging.getLogger("app").warning("refused %s", "{KEY}")

@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "input()", "{KEY}"], stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\\n")

@pytest.mark.processes
def test_that_tells_a_process(process):
    eventually(lambda: open(f"/proc/{{process.pid}}/cmdline").read().endswith("\\0"))

def test_that_leaves_a_file(tmp_path):
    (tmp_path / "store.db-wal").write_bytes(b"\\0{KEY}\\0")

def test_that_does_no_harm():
    pass
"""


def test_a_run_in_which_a_key_gets_out_fails_and_says_where(tmp_path: Path) -> None:
    planted = tmp_path / "test_planted.py"
    planted.write_text(PLANTED)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]

    run = subprocess.run(
        [*argv, f"--basetemp={tmp_path / 'base'}", f"--rootdir={tmp_path}", str(planted)],
        env={"PATH": os.defpath, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert run.returncode == 1
    for told in (
        "a plaintext key stands in Captured stdout call",
        "a plaintext key stands in Captured log call",
        "a plaintext key stands in the arguments of a process",
        "store.db-wal",
        "3 failed, 2 passed",
        "1 error",
    ):
        assert told in run.stdout, told
