"""The destinations themselves, on loopback: those that a test can ask what arrived, and those that only check."""

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from gcp_storage_emulator.server import create_server

from app.domain.outbound import Allowance
from app.integrations.outbound import Fence, Outbound, Resolver, system_resolver
from tests.clocks import MovableClock
from tests.integrations.probes import NOW
from tests.integrations.receivers import Answer, Received, Receiver, answer, closed_port

BUCKET = "keyledger-test-logs"
TOKEN = "ya29.access-token-of-the-tests"
EMAIL = "logs@project.iam.gserviceaccount.com"
PUBLIC, SECRET = "pk-lf-of-the-tests", "sk-lf-distinctive-langfuse-secret"
DD, LANGSMITH, BEARER = "distinctive-datadog-key", "distinctive-langsmith-key", "Bearer distinctive-token"


def outbound(
    seconds: float = 5, *, allow: str = "127.0.0.1", resolve: Resolver = system_resolver, now: datetime = NOW
) -> Outbound:
    """A delivery that may reach loopback."""
    return Fence(Allowance.parse(allow), seconds, resolve, clock=MovableClock(now)).open()


def pointed_at(name: str, url: str) -> dict[str, str]:
    """The variables of a callback whose first call goes to `url`."""
    parts = urlsplit(url)
    return {
        "datadog": {
            "dd_agent_host": str(parts.hostname),
            "dd_agent_port": str(parts.port or 80),
            "dd_api_key": DD,
        },
        "gcs_bucket": {"gcs_bucket_name": BUCKET, "gcs_path_service_account": service_account(f"{url}/token")},
        "generic_api": {"generic_api_endpoint": url, "generic_api_headers": f"Authorization={BEARER}"},
        "langfuse": {"langfuse_public_key": PUBLIC, "langfuse_secret_key": SECRET, "langfuse_host": url},
        "langsmith": {"langsmith_base_url": url, "langsmith_api_key": LANGSMITH},
        "otel": {"otel_endpoint": url, "otel_headers": f"Authorization={quote(BEARER)}"},
        "s3": {
            "s3_endpoint_url": url,
            "s3_bucket_name": BUCKET,
            "s3_access_key_id": "AKIADISTINCTIVE",
            "s3_secret_access_key": "distinctive-s3-secret",
        },
    }[name]


NAMES = ("datadog", "gcs_bucket", "generic_api", "langfuse", "langsmith", "otel", "s3")


# --- Google -----------------------------------------------------------------------------------------------------


@cache
def rsa_key(owner: str = "ours") -> RSAPrivateKey:
    """A private key; another for each owner."""
    return generate_private_key(65537, 2048)


def pem_of(key: Any, password: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden).decode()


def service_account(token_uri: Any, **changed: Any) -> str:
    """The JSON text of a service account's key file."""
    fields = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "key-1",
        "private_key": pem_of(rsa_key()),
        "client_email": EMAIL,
        "token_uri": token_uri,
    } | changed
    return json.dumps({name: value for name, value in fields.items() if value is not None})


@contextmanager
def token_endpoint(now: float | None = None) -> Iterator[Receiver]:
    """Gives an access token for an assertion that our service account has signed, as RFC 7523 asks."""
    with Receiver() as receiver:

        def trade(request: Received) -> Answer:
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
                return answer(400, {"error": "unsupported_grant_type"})
            if not _is_ours(form["assertion"], f"{receiver.url}/token", now):
                return answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
            return answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3599})

        receiver.routes["/token"] = trade
        yield receiver


def _is_ours(assertion: str, audience: str, now: float | None) -> bool:
    header, claims, signature = (_decoded(part) for part in assertion.split("."))
    fields = json.loads(claims)
    try:
        rsa_key().public_key().verify(
            signature, assertion.rpartition(".")[0].encode(), PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    return (
        json.loads(header) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
        and fields["iss"] == EMAIL
        and fields["aud"] == audience
        and "devstorage.read_write" in fields["scope"]
        and fields["exp"] == fields["iat"] + 3600
        and (now is None or fields["iat"] == int(now))
    )


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@dataclass(frozen=True)
class Storage:
    """A storage emulator with one bucket."""

    url: str

    def names(self) -> list[str]:
        with urlopen(f"{self.url}/storage/v1/b/{BUCKET}/o", timeout=60) as reply:
            return sorted(item["name"] for item in json.load(reply).get("items", []))

    def content(self, name: str) -> bytes:
        with urlopen(f"{self.url}/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media", timeout=60) as reply:
            content: bytes = reply.read()
            return content


@contextmanager
def storage() -> Iterator[Storage]:
    port = closed_port()
    with create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET):
        yield Storage(f"http://127.0.0.1:{port}")


# --- Langfuse ---------------------------------------------------------------------------------------------------


@contextmanager
def langfuse(traces: Answer | None = None, batch: Answer | None = None) -> Iterator[Receiver]:
    """A Langfuse server of today; with `traces` of a 404, one of yesterday."""
    expected = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()

    def guarded(reply: Answer) -> Any:
        def check(request: Received) -> Answer:
            if request.headers.get("authorization") != expected:
                return answer(401, {"message": "Invalid credentials", "secret": SECRET})
            return reply

        return check

    projects = answer(200, {"data": [{"id": "p", "name": "tests"}]})
    with Receiver(answer(404)) as receiver:
        receiver.routes |= {
            "/api/public/projects": guarded(projects),
            "/api/public/otel/v1/traces": guarded(
                answer(200, Content_Type="application/x-protobuf") if traces is None else traces
            ),
            "/api/public/ingestion": guarded(
                answer(207, {"successes": [{"id": "a", "status": 201}], "errors": []}) if batch is None else batch
            ),
        }
        yield receiver


# --- those that check a header and take what comes ----------------------------------------------------------------


@contextmanager
def guarded(path: str, header: str, value: str, taken: Answer, refused: int = 401) -> Iterator[Receiver]:
    """Takes what comes to this path with this header; anything else is refused, with what was sent in the answer."""

    def check(request: Received) -> Answer:
        given = request.headers.get(header)
        return taken if given == value else answer(refused, {"errors": [f"not {given}", f"but {value}"]})

    with Receiver(answer(404), routes={path: check}) as receiver:
        yield receiver


@contextmanager
def datadog() -> Iterator[Receiver]:
    """The log intake, as an agent of the owner's has it too."""
    with guarded("/api/v2/logs", "dd-api-key", DD, answer(202, {}), refused=403) as receiver:
        yield receiver


@contextmanager
def langsmith() -> Iterator[Receiver]:
    with guarded("/api/v1/runs/batch", "x-api-key", LANGSMITH, answer(202, {"message": "taken"})) as receiver:
        yield receiver


@contextmanager
def collector(taken: Answer | None = None) -> Iterator[Receiver]:
    """An OpenTelemetry collector."""
    whole = answer(200, Content_Type="application/x-protobuf")
    with guarded("/v1/traces", "authorization", BEARER, whole if taken is None else taken) as receiver:
        yield receiver


def unpacked(request: Received) -> Any:
    """The JSON of a compressed request."""
    assert request.headers["content-encoding"] == "gzip"
    return json.loads(gzip.decompress(request.body))
