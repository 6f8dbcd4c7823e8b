"""Signatures of requests to S3: Amazon's own examples, and what botocore makes of any request."""

from contextlib import contextmanager
from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from storage._s3_settings import escaped
from storage._s3_sign import Signer, query_string

EXAMPLE = ReadOnlyCredentials(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None
)
"""Those of Amazon's documentation."""

THEN = datetime(2013, 5, 24, tzinfo=UTC)


@contextmanager
def clock(moment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
        yield


@pytest.mark.parametrize(
    ("method", "rest", "headers", "body", "proof"),
    [
        (
            "GET",
            "test.txt",
            {"Range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "GET",
            "?lifecycle",
            {},
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "?max-keys=2&prefix=J",
            {},
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
async def test_amazons_examples(method, rest, headers, body, proof):
    """Of "Authenticating Requests: Using the Authorization Header", but that with a Date."""
    url = f"https://examplebucket.s3.amazonaws.com/{rest}"
    with clock(THEN):
        signed = await Signer("us-east-1", EXAMPLE).sign(method, url, headers, body)
    assert signed["Authorization"].endswith(f"Signature={proof}")


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Range", "If-Match", "If-None-Match", "Content-MD5", "x-amz-meta-upload", "X-Amz-Acl"]
    ),
    st.lists(WORDS, min_size=1, max_size=3).map("  ".join),
)


@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    base=st.sampled_from(
        [
            "http://127.0.0.1:9000/images/",
            "http://store:80/images/",
            "https://Images.Store.test:443/",
            "https://store.test:80/",
            "http://[::1]:9000/images/",
        ]
    ),
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    query=st.dictionaries(WORDS, st.text(st.characters(codec="utf-8"), max_size=8), max_size=4),
    headers=HEADERS,
    body=st.none() | st.binary(max_size=40),
    credentials=st.builds(ReadOnlyCredentials, WORDS, WORDS, st.none() | WORDS),
    region=st.sampled_from(["us-east-1", "eu-north-1"]),
    seconds=st.lists(st.integers(0, 2**32), min_size=1, max_size=3),
)
async def test_any_request_is_signed_as_botocore_signs_it(
    method, base, key, query, headers, body, credentials, region, seconds
):
    """One after another with the same credentials, on whatever days."""
    url = base + escaped(key) + ("?" + query_string(query) if query else "")
    signer = Signer(region, credentials)
    for second in seconds:
        request = AWSRequest(method, url, headers, body or b"")
        covered = Config(s3={"payload_signing_enabled": body is not None})
        request.context["client_config"] = covered
        with clock(datetime.fromtimestamp(second, UTC)):
            botocore.auth.S3SigV4Auth(credentials, "s3", region).add_auth(request)
            signed = await signer.sign(method, url, headers, body)
        assert signed == dict(request.headers.items())


async def test_other_credentials_of_the_same_day_sign_for_themselves():
    """As those of a role that were renewed: the key of the day is another one."""

    class Renewed:
        refresh_needed = True
        now = EXAMPLE

        async def get_frozen_credentials(self):
            return self.now

    role = Renewed()
    signer = Signer("us-east-1", role)
    found = []
    for secret in ("one", "two", "one"):
        role.now = EXAMPLE._replace(secret_key=secret)
        with clock(THEN):
            found.append(await signer.sign("GET", "http://a/b/c", {}, None))
    assert found[0] == found[2] != found[1]
