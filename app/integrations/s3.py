"""Amazon S3, and what speaks its protocol: one object per batch of logs, put with the owner's own access key.

A repeat of a batch puts the same object again. Where no endpoint is given, bucket and region are parts of the
host's name, so they are held to their own grammar: neither can lead to another host.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from urllib.parse import quote

from app.domain.outbound import UnusableUrl, parse
from app.domain.standard_payload import Log
from app.integrations.batches import batch_name, dumped, ndjson
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Outbound, Reply
from app.integrations.sigv4 import Signer

_USUAL_REGION = "us-east-1"
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?![.-])){1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
# What may be told of an error's content: S3's own words for what the owner can put right, and nothing else.
_CODES = frozenset(
    {
        *("AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed"),
        *("IllegalLocationConstraintException", "InvalidAccessKeyId", "InvalidBucketName", "InvalidRequest"),
        *("MethodNotAllowed", "NoSuchBucket", "PermanentRedirect", "QuotaExceeded", "RequestTimeTooSkewed"),
        *("SignatureDoesNotMatch", "SlowDown", "TemporaryRedirect"),
    }
)


class S3:
    """Variables: s3_bucket_name (a folder may follow), _region, _endpoint_url, _access_key_id, _secret_…"""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        key_id, secret = variables.get("s3_access_key_id"), variables.get("s3_secret_access_key")
        if not key_id or not secret:
            return DeliveryResult.failed("s3_access_key_id and s3_secret_access_key are needed", outbound)
        bucket, _, folder = variables.get("s3_bucket_name", "").strip("/").partition("/")
        if not _BUCKET.fullmatch(bucket) or {".", ".."} & set(folder.split("/")):
            return DeliveryResult.failed("s3_bucket_name names no bucket", outbound)
        region = variables.get("s3_region") or _USUAL_REGION
        if not _REGION.fullmatch(region):
            return DeliveryResult.failed("s3_region names no region", outbound)
        base = _base(bucket, region, variables.get("s3_endpoint_url", ""))
        name, body = _object(logs)
        place = f"{folder.strip('/')}/{name}" if folder.strip("/") else name
        url = f"{base}/{quote(place, safe='/-_.~', errors='replace')}"
        try:
            target = parse(url)
        except UnusableUrl as fault:
            return DeliveryResult.failed(f"refused: {fault}", outbound)
        if "?" in target.target:
            return DeliveryResult.failed("s3_endpoint_url must not hold a query", outbound)
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        headers = {"Content-Type": _kind(name), "Content-MD5": digest}
        signer = Signer(key_id, secret, region, "s3")
        reply = outbound.put(url, signer.signed("PUT", target, headers, body, outbound.now()), body)
        return _result(reply, outbound)


def _base(bucket: str, region: str, endpoint: str) -> str:
    """Where the objects of a bucket lie."""
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}"
    host = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    # A dot in the bucket's name is none that the certificate of the host would stand for.
    return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def _object(logs: Sequence[Log]) -> tuple[str, bytes]:
    """Name and content: a log alone is a file of its own, as LiteLLM has it; several share one, a log a line."""
    if len(logs) > 1:
        return f"{batch_name(logs)}.ndjson", ndjson(logs)
    (log,) = logs
    name = log.id if _PLAIN_ID.fullmatch(log.id) else str(log.uuid)
    return f"{log.at.astimezone(UTC):%Y-%m-%d}/{name}.json", dumped(log.payload)


def _kind(name: str) -> str:
    return "application/json" if name.endswith(".json") else "application/x-ndjson"


def _result(reply: Reply, outbound: Outbound) -> DeliveryResult:
    result = DeliveryResult.of(reply, outbound)
    found = _CODE.search(reply.body)
    code = found[1].decode() if found else ""
    if result.ok or code not in _CODES:
        return result
    return DeliveryResult.failed(f"{result.reason} ({code})", outbound, reply)
