"""The signature of AWS: as its own example has it, and as botocore makes it for whatever is put."""

import hashlib
from datetime import UTC, datetime
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.outbound import parse
from app.integrations.sigv4 import Signer

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_the_published_example_of_an_upload_has_its_published_signature():
    """AWS, "Signature Calculations for the Authorization Header", example PUT Object."""
    headers = {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}

    signed = Signer(KEY_ID, SECRET, "us-east-1", "s3").signed(
        "PUT",
        parse("https://examplebucket.s3.amazonaws.com/test%24file.text"),
        headers,
        b"Welcome to Amazon S3.",
        datetime(2013, 5, 24, tzinfo=UTC),
    )

    assert signed["x-amz-content-sha256"] == "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)


@settings(deadline=None)
@given(
    path=TEXT,
    body=st.binary(max_size=100),
    seconds=st.integers(1_577_836_800, 2_208_988_800),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    value=st.text(st.sampled_from("ab1 ;=/"), min_size=1, max_size=20).filter(lambda text: text == text.strip()),
    host=st.sampled_from(["s3.eu-west-1.amazonaws.com", "minio.example:9000", "127.0.0.1:5000"]),
)
def test_whatever_is_put_is_signed_as_botocore_signs_it(
    path: str, body: bytes, seconds: int, secret: str, value: str, host: str
):
    at = datetime.fromtimestamp(seconds, UTC)
    url = f"http://{host}/bucket/{quote(path, safe='/-_.~')}"
    signed = Signer(KEY_ID, secret, "eu-west-1", "s3").signed("PUT", parse(url), {"Content-Type": value}, body, at)

    request = AWSRequest("PUT", url, {"Content-Type": value}, body)
    stamp = f"{at:%Y%m%dT%H%M%SZ}"
    request.headers["X-Amz-Date"] = request.context["timestamp"] = stamp
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    auth = S3SigV4Auth(Credentials(KEY_ID, secret), "s3", "eu-west-1")
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    assert signed["Authorization"].endswith(f"Signature={signature}")


def test_the_secret_shows_in_no_form_of_the_signer():
    signer = Signer(KEY_ID, SECRET, "us-east-1", "s3")

    assert SECRET not in f"{signer!r} {signer}"
    assert KEY_ID not in repr(signer)
