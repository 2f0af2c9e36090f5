"""An S3 on loopback that checks every signature and keeps what it is sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from tests.integrations.ends import BUCKET

REGION = "eu-central-1"
_UNCHECKED = 10_000
_WRITE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True)
class ObjectStore:
    """One bucket, an access key that may write into it, and one that may not."""

    url: str
    access_key_id: str
    secret_access_key: str
    powerless: dict[str, str]
    client: Any

    @property
    def variables(self) -> dict[str, str]:
        return {
            "s3_endpoint_url": self.url,
            "s3_bucket_name": BUCKET,
            "s3_region": REGION,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
        }

    def names(self) -> list[str]:
        return sorted(item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", []))

    def content(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        _post(f"{url}/moto-api/reset", b"")
        _post(f"{url}/moto-api/reset-auth", str(_UNCHECKED).encode())
        iam = _client("iam", url, "setup", "setup")
        for user in ("logs", "powerless"):
            iam.create_user(UserName=user)
        iam.put_user_policy(UserName="logs", PolicyName="write", PolicyDocument=json.dumps(_WRITE))
        key, other = (iam.create_access_key(UserName=user)["AccessKey"] for user in ("logs", "powerless"))
        powerless = {"s3_access_key_id": other["AccessKeyId"], "s3_secret_access_key": other["SecretAccessKey"]}
        client = _client("s3", url, key["AccessKeyId"], key["SecretAccessKey"])
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        _post(f"{url}/moto-api/reset-auth", b"0")
        yield ObjectStore(url, key["AccessKeyId"], key["SecretAccessKey"], powerless, client)
    finally:
        _post(f"{url}/moto-api/reset-auth", str(_UNCHECKED).encode())
        server.stop()


def _client(service: str, url: str, key_id: str, secret: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


def _post(url: str, body: bytes) -> None:
    with urlopen(Request(url, body, {"Content-Type": "text/plain"}, method="POST"), timeout=60):
        pass
