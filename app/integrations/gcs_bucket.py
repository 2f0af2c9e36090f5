"""Google Cloud Storage: one object per batch of logs, uploaded as the service account that the owner has given.

The account is the JSON text of its key file. A path on this machine, or this machine's own account, is never used.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.domain.standard_payload import Log
from app.integrations.batches import batch_name, ndjson
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Outbound, Reply

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_SECONDS = 3600
# Longer keys only keep a worker busy; Google's own have 2048 bits.
_LONGEST_PEM = 8192
_LONGEST_KEY_BITS = 4096

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")

# LiteLLM's own words, which its users look for.
UNUSABLE_CREDENTIALS = (
    "Failed to load vertex credentials. Check to see if credentials containing partial/invalid information."
)


class GcsBucket:
    """Variables: gcs_bucket_name (a folder may follow a slash), gcs_path_service_account (JSON text)."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        bucket, _, folder = variables.get("gcs_bucket_name", "").strip("/").partition("/")
        if not _BUCKET.fullmatch(bucket):
            return DeliveryResult.failed("gcs_bucket_name names no bucket", outbound)
        account = _Account.parse(variables.get("gcs_path_service_account", ""))
        if account is None:
            return DeliveryResult.failed(UNUSABLE_CREDENTIALS, outbound)
        reply = account.ask_for_token(outbound.now(), outbound)
        token = reply.fields.get("access_token")
        if reply.fault is not None or not isinstance(token, str):
            return DeliveryResult.failed(_refused(reply), outbound, reply)
        return self._upload(bucket, folder, token, logs, outbound)

    def _upload(
        self, bucket: str, folder: str, token: str, logs: Sequence[Log], outbound: Outbound
    ) -> DeliveryResult:
        name = f"{batch_name(logs)}.ndjson"
        place = f"{folder.strip('/')}/{name}" if folder else name
        url = f"{self._endpoint}/upload/storage/v1/b/{quote(bucket, safe='')}/o?" + urlencode(
            {"uploadType": "media", "name": place}
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        return DeliveryResult.of(outbound.post(url, headers, ndjson(logs)), outbound)


@dataclass(frozen=True, slots=True)
class _Account:
    email: str
    key_id: str | None
    token_uri: str
    key: RSAPrivateKey = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "_Account | None":
        """Read the JSON of a service account's key file; None where it is none or is not whole."""
        try:
            fields = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(fields, dict):
            return None
        email, pem = fields.get("client_email"), fields.get("private_key")
        token_uri, key_id = fields.get("token_uri", _TOKEN_URI), fields.get("private_key_id")
        if not (isinstance(email, str) and isinstance(pem, str) and isinstance(token_uri, str) and email):
            return None
        key = _private_key(pem)
        return None if key is None else cls(email, key_id if isinstance(key_id, str) else None, token_uri, key)

    def ask_for_token(self, now: datetime, outbound: Outbound) -> Reply:
        """Trade a signed assertion for an access token."""
        issued = int(now.timestamp())
        claims = {
            "iss": self.email,
            "scope": _SCOPE,
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued + _ASSERTION_SECONDS,
        }
        header = {"alg": "RS256", "typ": "JWT", **({"kid": self.key_id} if self.key_id else {})}
        signed = f"{_base64url(orjson.dumps(header))}.{_base64url(orjson.dumps(claims))}"
        signature = self.key.sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        form = {"grant_type": _GRANT, "assertion": f"{signed}.{_base64url(signature)}"}
        return outbound.post(
            self.token_uri, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode()
        )


def _private_key(pem: str) -> RSAPrivateKey | None:
    if len(pem) > _LONGEST_PEM:
        return None
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPrivateKey) and key.key_size <= _LONGEST_KEY_BITS else None


def _refused(reply: Reply) -> str:
    """Why there is no access token; of the answer's content only the standard's own error code is told."""
    if reply.reason is not None:
        return f"the token endpoint: {reply.reason}"
    code = reply.fields.get("error")
    shown = f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
    return f"the token endpoint gave no access token: HTTP {reply.status}{shown}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
