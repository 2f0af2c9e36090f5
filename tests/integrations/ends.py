"""The destinations themselves, on loopback: Google's storage with its token endpoint, and Langfuse, old and new."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote
from urllib.request import urlopen

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from gcp_storage_emulator.server import create_server

from app.domain.outbound import Allowance
from app.integrations.outbound import Fence, Outbound
from tests.clocks import MovableClock
from tests.integrations.probes import NOW
from tests.integrations.receivers import Answer, Received, Receiver, answer, closed_port

BUCKET = "keyledger-test-logs"
TOKEN = "ya29.access-token-of-the-tests"
EMAIL = "logs@project.iam.gserviceaccount.com"
PUBLIC, SECRET = "pk-lf-of-the-tests", "sk-lf-distinctive-langfuse-secret"


def outbound(seconds: float = 5) -> Outbound:
    """A delivery that may reach loopback."""
    return Fence(Allowance.parse("127.0.0.1"), seconds, clock=MovableClock(NOW)).open()


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
        with urlopen(f"{self.url}/storage/v1/b/{BUCKET}/o", timeout=10) as reply:
            return sorted(item["name"] for item in json.load(reply).get("items", []))

    def content(self, name: str) -> bytes:
        with urlopen(f"{self.url}/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media", timeout=10) as reply:
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
