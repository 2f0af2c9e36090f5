"""AWS Signature Version 4, for requests without a query whose body is signed by its digest.

Written here because nothing lighter is kept well: botocore is 32 MB of descriptions of services, awscrt a native
runtime with threads of its own, and the small packages cannot be given the time, or hang on a client of their own.
The tests hold it against AWS's published example and against botocore's signer.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.domain.outbound import Target

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs as the holder of an access key, for one service of one region."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    region: str
    service: str

    def signed(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> dict[str, str]:
        """The headers of a request with those that sign all of them; `target.target` is the path as it is sent."""
        instant = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        digest = hashlib.sha256(body).hexdigest()
        whole = {**headers, "x-amz-date": instant, "x-amz-content-sha256": digest}
        named = sorted(
            {"host": target.authority, **{name.lower(): value for name, value in whole.items()}}.items()
        )
        names = ";".join(name for name, _ in named)
        lines = [f"{name}:{' '.join(value.split())}" for name, value in named]
        canonical = "\n".join((method, target.target, "", *lines, "", names, digest))
        scope = (instant[:8], self.region, self.service, "aws4_request")
        text = "\n".join((_ALGORITHM, instant, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
        credential = "/".join((self.access_key_id, *scope))
        signature = self._signature(scope, text)
        authorization = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return {**whole, "Authorization": authorization}

    def _signature(self, scope: tuple[str, ...], text: str) -> str:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in (*scope, text):
            key = hmac.digest(key, part.encode(), "sha256")
        return key.hex()
