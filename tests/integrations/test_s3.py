"""S3: what is signed with the right key lies in the bucket; a repeat lies in the same place."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence

import pytest

from app.domain.standard_payload import Log
from app.integrations.destinations import DeliveryResult
from app.integrations.s3 import S3
from tests.integrations.ends import BUCKET, outbound, pointed_at
from tests.integrations.moto_s3 import ObjectStore, object_store
from tests.integrations.probes import LOG_ID, NOW, PROBE_ID, a_log, a_probe
from tests.integrations.receivers import Receiver, answer

KEYS = {"s3_access_key_id": "AKIA", "s3_secret_access_key": "distinctive-secret"}


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as found:
        yield found


def send(variables: dict[str, str], logs: Sequence[Log]) -> DeliveryResult:
    return S3().send(variables, logs, outbound())


@pytest.mark.parametrize("folder", ["", "team/search", "a b/ü&+(1)/$x", "ends in a slash/"])
def test_a_log_alone_is_a_file_of_its_day_by_its_id(store: ObjectStore, folder: str):
    variables = {**store.variables, "s3_bucket_name": f"{BUCKET}/{folder}"}

    result = send(variables, [a_log()])

    name = f"{folder.strip('/')}/2026-11-18/{LOG_ID}.json".removeprefix("/")
    assert (result.ok, result.http_status, result.reason) == (True, 200, None)
    assert json.loads(store.content(name)) == a_log().payload


def test_the_test_log_goes_as_any_other(store: ObjectStore):
    assert send(store.variables, [a_probe()]).ok

    assert json.loads(store.content(f"2026-11-18/{PROBE_ID}.json")) == a_probe().payload


def test_a_batch_is_one_file_and_a_repeat_puts_it_again(store: ObjectStore):
    variables = {**store.variables, "s3_bucket_name": f"{BUCKET}/batches"}
    logs = [a_log(f"call-{number}") for number in range(3)]

    results = [send(variables, logs), send(variables, logs), send(variables, logs[:2])]

    assert [result.ok for result in results] == [True] * 3
    names = [name for name in store.names() if name.startswith("batches/")]
    contents = [[json.loads(line)["id"] for line in store.content(name).splitlines()] for name in names]
    assert all(name.startswith("batches/2026-11-18/batch-1795009653123-") for name in names)
    assert sorted(contents) == [["call-0", "call-1"], ["call-0", "call-1", "call-2"]]


@pytest.mark.parametrize("log_id", ["../../etc/passwd", "a/b", ".", "..", "a?b", "x" * 200, "ü", ""])
def test_an_id_that_is_no_plain_name_never_leads_out_of_its_day(store: ObjectStore, log_id: str):
    variables = {**store.variables, "s3_bucket_name": f"{BUCKET}/ids"}

    assert send(variables, [a_log(log_id)]).ok

    assert f"ids/2026-11-18/{a_log(log_id).uuid}.json" in store.names()


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        (
            {"s3_secret_access_key": "wrong"},
            403,
            "the credentials were refused: HTTP 403 (SignatureDoesNotMatch)",
        ),
        ({"s3_access_key_id": "AKIAWRONG"}, 403, "the credentials were refused: HTTP 403 (InvalidAccessKeyId)"),
        ({"s3_bucket_name": "another-bucket"}, 404, "HTTP 404 (NoSuchBucket)"),
    ],
)
def test_wrong_credentials_are_told_in_s3s_own_words(
    store: ObjectStore, changed: dict[str, str], status: int, reason: str
):
    result = send({**store.variables, **changed}, [a_probe()])

    assert (result.ok, result.http_status, result.reason, result.retryable) == (False, status, reason, False)


def test_an_access_key_that_may_not_write_is_told(store: ObjectStore):
    result = send({**store.variables, **store.powerless}, [a_probe()])

    assert (result.http_status, result.reason) == (403, "the credentials were refused: HTTP 403 (AccessDenied)")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<Error><Code>SlowDown</Code></Error>", "HTTP 503 (SlowDown)"),
        (b"<Error><Code>distinctive-secret</Code></Error>", "HTTP 503"),
        (b"<Error><Code>DistinctiveSecret</Code></Error>", "HTTP 503"),
        (b"<html>", "HTTP 503"),
    ],
)
def test_no_more_of_an_error_is_told_than_a_code_of_s3s_own(body: bytes, told: str):
    with Receiver(answer(503, body, Retry_After="9")) as receiver:
        result = send(pointed_at("s3", receiver.url), [a_probe()])

    assert (result.reason, result.retryable, result.retry_after_seconds) == (told, True, 9.0)


def test_the_digests_of_the_content_go_along():
    with Receiver() as receiver:
        assert send(pointed_at("s3", f"{receiver.url}/prefix/"), [a_log("call-1")]).ok

    (request,) = receiver.received
    assert (request.method, request.path) == ("PUT", f"/prefix/{BUCKET}/2026-11-18/call-1.json")
    assert request.headers["content-md5"] == base64.b64encode(hashlib.md5(request.body).digest()).decode()
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()
    assert request.headers["x-amz-date"] == f"{NOW:%Y%m%dT%H%M%SZ}"
    assert request.headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIADISTINCTIVE/20261118/us-east-1/s3/aws4_request, "
        "SignedHeaders=content-md5;content-type;host;x-amz-content-sha256;x-amz-date, Signature="
    )


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"s3_bucket_name": "logs"}, "logs.s3.us-east-1.amazonaws.com"),
        ({"s3_bucket_name": "logs/a", "s3_region": "eu-west-1"}, "logs.s3.eu-west-1.amazonaws.com"),
        ({"s3_bucket_name": "logs", "s3_region": "cn-north-1"}, "logs.s3.cn-north-1.amazonaws.com.cn"),
        # The certificate of the host stands for one label only.
        ({"s3_bucket_name": "my.logs", "s3_region": "eu-west-1"}, "s3.eu-west-1.amazonaws.com"),
    ],
)
def test_without_an_endpoint_the_bucket_of_the_region_is_called(variables: dict[str, str], host: str):
    asked: list[tuple[str, int]] = []

    def resolve(name: str, port: int) -> Sequence[str]:
        asked.append((name, port))
        return []

    result = S3().send(KEYS | variables, [a_probe()], outbound(resolve=resolve))

    assert asked == [(host, 443)]
    assert (result.reason, result.retryable) == ("the host name cannot be resolved", True)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        *(
            ({"s3_bucket_name": name}, "s3_bucket_name names no bucket")
            for name in (
                *(
                    "",
                    "/",
                    "a",
                    "Bucket",
                    "../bucket",
                    "bucket?x=1",
                    "b" * 64,
                    "evil.com#",
                    "evil.com:80",
                    "a@b.example",
                ),
                *("-bucket", "bucket-", "a..b", "bucket/../other", "bucket/.", "bucket\\x", "b%2fc", "bucket\n"),
            )
        ),
        *(
            ({"s3_bucket_name": "logs", "s3_region": region}, "s3_region names no region")
            for region in (
                "evil.com/",
                "evil.com",
                "us-east-1.evil.com#",
                "a@b",
                "us east",
                "-",
                "us-east-1\n",
                "ü",
            )
        ),
        *(
            ({"s3_bucket_name": "logs", "s3_endpoint_url": url}, reason)
            for url, reason in (
                ("https://evil.example/?x=", "s3_endpoint_url must not hold a query"),
                ("http://10.0.0.1", "refused: the address is not public and not allowed here"),
                ("minio.internal", "refused: it is not a URL"),
                ("file:///etc", "refused: only http and https are spoken"),
            )
        ),
    ],
)
def test_nothing_is_sent_where_a_setting_would_lead_elsewhere(variables: dict[str, str], reason: str):
    asked: list[str] = []
    result = S3().send(KEYS | variables, [a_probe()], outbound(resolve=lambda host, _: asked.append(host) or []))

    assert (result.ok, result.reason, result.retryable) == (False, reason, False)
    assert asked == []


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_missing_credentials_are_told(missing: str):
    result = send({"s3_bucket_name": "logs", **KEYS, missing: ""}, [a_probe()])

    assert result.reason == "s3_access_key_id and s3_secret_access_key are needed"
