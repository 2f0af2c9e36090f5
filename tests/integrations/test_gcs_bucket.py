"""Google Cloud Storage: a signed assertion becomes a token, and a token an object in the bucket."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.standard_payload import TEST_MODEL
from app.integrations.destinations import DeliveryResult
from app.integrations.gcs_bucket import UNUSABLE_CREDENTIALS, GcsBucket
from tests.integrations.ends import (
    BUCKET,
    TOKEN,
    outbound,
    pem_of,
    rsa_key,
    service_account,
    storage,
    token_endpoint,
)
from tests.integrations.probes import NOW, a_log, a_probe
from tests.integrations.receivers import Receiver, answer, silence

OBJECT = re.compile(r"2026-11-18/batch-1795009653123-[0-9a-f]{8}\.ndjson")


def send(endpoint: str, account: str | None, bucket: str = BUCKET, seconds: float = 5) -> DeliveryResult:
    variables = {"gcs_bucket_name": bucket} | ({} if account is None else {"gcs_path_service_account": account})
    return GcsBucket(endpoint).send(variables, [a_probe()], outbound(seconds))


@pytest.mark.parametrize(("bucket", "folder"), [(BUCKET, ""), (f"{BUCKET}/team/search/", "team/search/")])
def test_right_credentials_leave_an_object_in_the_bucket(bucket: str, folder: str):
    with storage() as google, token_endpoint(NOW.timestamp()) as tokens:
        result = send(google.url, service_account(f"{tokens.url}/token"), bucket)
        (name,) = google.names()
        content = google.content(name)

    assert (result.ok, result.http_status, result.reason) == (True, 200, None)
    assert name.startswith(folder)
    assert OBJECT.fullmatch(name.removeprefix(folder))
    assert json.loads(content)["model"] == TEST_MODEL
    assert content.endswith(b"}\n")


def test_a_batch_is_one_object_a_log_a_line_and_a_repeat_writes_it_again():
    logs = [a_log(f"call-{number}") for number in range(3)]
    with storage() as google, token_endpoint(NOW.timestamp()) as tokens:
        variables = {
            "gcs_bucket_name": BUCKET,
            "gcs_path_service_account": service_account(f"{tokens.url}/token"),
        }
        results = [GcsBucket(google.url).send(variables, logs, outbound()) for _ in range(2)]
        (name,) = google.names()
        content = google.content(name)

    assert [result.ok for result in results] == [True, True]
    assert OBJECT.fullmatch(name)
    assert [json.loads(line) for line in content.splitlines()] == [log.payload for log in logs]


def test_the_assertion_is_of_now_however_old_the_logs_are():
    later = NOW + timedelta(hours=5)
    with Receiver(answer(200, {})) as google, token_endpoint(later.timestamp()) as tokens:
        variables = {
            "gcs_bucket_name": BUCKET,
            "gcs_path_service_account": service_account(f"{tokens.url}/token"),
        }
        result = GcsBucket(google.url).send(variables, [a_log()], outbound(now=later))

    assert result.ok


def test_the_token_goes_along_with_the_upload():
    with Receiver(answer(200, {})) as google, token_endpoint() as tokens:
        result = send(google.url + "/", service_account(f"{tokens.url}/token"), f"{BUCKET}/a&b c")

    assert result.ok
    (request,) = google.received
    parts = urlsplit(request.path)
    query = parse_qs(parts.query)
    assert parts.path == f"/upload/storage/v1/b/{BUCKET}/o"
    assert query["uploadType"] == ["media"]
    assert query["name"][0].startswith("a&b c/2026-11-18/")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_another_key_than_the_accounts_is_refused_by_the_token_endpoint():
    with Receiver() as google, token_endpoint() as tokens:
        account = service_account(f"{tokens.url}/token", private_key=pem_of(rsa_key("somebody else")))
        result = send(google.url, account)

    assert (result.ok, result.http_status) == (False, 400)
    assert result.reason == "the token endpoint gave no access token: HTTP 400 (invalid_grant)"
    assert google.connections == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(200, {"token_type": "Bearer"}), "the token endpoint gave no access token: HTTP 200"),
        (answer(200, {"access_token": 5}), "the token endpoint gave no access token: HTTP 200"),
        (answer(200, b"<html>"), "the token endpoint gave no access token: HTTP 200"),
        (
            answer(403, {"error": "Private words of a server, at length"}),
            "the token endpoint gave no access token: HTTP 403",
        ),
        (answer(400, {"error": {"code": 1}}), "the token endpoint gave no access token: HTTP 400"),
        (silence, "the token endpoint: no answer within 0.5 s"),
    ],
)
def test_no_more_of_the_token_endpoints_answer_is_told_than_its_error_code(reply: Any, reason: str):
    with Receiver(reply) as tokens:
        seconds = 0.5 if reply is silence else 5
        result = send("http://127.0.0.1:1", service_account(tokens.url), seconds=seconds)

    assert (result.ok, result.reason) == (False, reason)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((status, f"the credentials were refused: HTTP {status}") for status in (401, 403)),
        *((status, f"HTTP {status}") for status in (404, 500)),
    ],
)
def test_an_upload_that_is_refused_is_told_with_its_status(status: int, reason: str):
    with Receiver(answer(status)) as google, token_endpoint() as tokens:
        result = send(google.url, service_account(f"{tokens.url}/token"))

    assert (result.ok, result.http_status, result.reason) == (False, status, reason)


def test_a_bucket_that_does_not_exist_is_told():
    with storage() as google, token_endpoint() as tokens:
        result = send(google.url, service_account(f"{tokens.url}/token"), "another-bucket")

    assert (result.ok, result.http_status) == (False, 404)


def test_the_token_endpoint_of_the_account_is_fenced():
    result = send("http://127.0.0.1:1", service_account("http://169.254.169.254/token"))

    assert result.reason == "the token endpoint: refused: the address is not public and not allowed here"


NOWHERE = "http://127.0.0.1:1"
CUT_PEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "account",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("/etc/keyledger/account.json", id="a path"),
        pytest.param(
            "~/.config/gcloud/application_default_credentials.json", id="a path of this machine's account"
        ),
        pytest.param("{}", id="empty object"),
        pytest.param("[]", id="list"),
        pytest.param("null", id="null"),
        pytest.param('{"type": "service_account"}', id="type alone"),
        pytest.param(service_account(NOWHERE, client_email=None), id="no mail"),
        pytest.param(service_account(NOWHERE, client_email=""), id="empty mail"),
        pytest.param(service_account(NOWHERE, private_key=None), id="no key"),
        pytest.param(service_account(NOWHERE, private_key="no PEM"), id="no PEM"),
        pytest.param(service_account(NOWHERE, private_key=CUT_PEM), id="cut PEM"),
        pytest.param(
            service_account(NOWHERE, private_key=pem_of(ec.generate_private_key(ec.SECP256R1()))),
            id="another kind",
        ),
        pytest.param(service_account(NOWHERE, private_key=pem_of(rsa_key(), b"password")), id="locked"),
        pytest.param(service_account(NOWHERE, private_key=pem_of(rsa_key()) + "x" * 8192), id="too long"),
        pytest.param(service_account(5), id="no token address"),
    ],
)
def test_credentials_that_are_partial_or_a_path_are_unusable(account: str | None):
    result = send("http://127.0.0.1:1", account)

    assert (result.ok, result.http_status, result.reason) == (False, None, UNUSABLE_CREDENTIALS)


@pytest.mark.parametrize("bucket", ["", "/", "a", "Bucket", "../bucket", "bucket?x=1", "b" * 300])
def test_a_bucket_name_that_is_none_sends_nothing(bucket: str):
    result = send("http://127.0.0.1:1", service_account("http://127.0.0.1:1"), bucket)

    assert (result.ok, result.reason) == (False, "gcs_bucket_name names no bucket")
