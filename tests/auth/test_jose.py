"""Opening signed tokens: what is not exactly right is not taken."""

import base64
import contextlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from auth.jose import MAX_TOKEN, InvalidToken, looks_like_token, open_token, sign, unverified
from auth.keys import ALGORITHMS, VerifyingKey
from tests.auth.keys import signing_key

KEY = signing_key()
PAYLOAD = b'{"sub":"user:alice"}'


def b64(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_for(kid):
    return KEY.verifying if kid == KEY.kid else None


def token(key=KEY, payload=PAYLOAD, /, **headers):
    headers = {"kid": key.kid, "typ": "JWT"} | headers
    return jwt.PyJWS().encode(payload, key.private, algorithm=key.algorithm, headers=headers)


def refused(text, keys=key_for):
    with pytest.raises(InvalidToken) as caught:
        open_token(text, keys)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_signed_is_opened(algorithm):
    key = signing_key(algorithm)
    text = sign(PAYLOAD, key, "at+jwt")
    assert open_token(text, {key.kid: key.verifying}.get) == PAYLOAD
    assert jwt.get_unverified_header(text) == {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    assert looks_like_token(text)
    assert unverified(text) == {"sub": "user:alice"}


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_types_of_access_tokens_are_taken(typ):
    """quay#5534: tokens of type at+jwt were refused."""
    assert open_token(token(typ=typ), key_for) == PAYLOAD


def test_a_token_without_a_type_is_taken():
    headers = b64({"alg": "ES256", "kid": KEY.kid})
    assert open_token(resigned(headers), key_for) == PAYLOAD


def resigned(header, payload=None):
    """A token with any header, and a good signature."""
    signing_input = f"{header}.{payload or b64(PAYLOAD)}"
    algorithm = jwt.algorithms.get_default_algorithms()["ES256"]
    return f"{signing_input}.{b64(algorithm.sign(signing_input.encode(), KEY.private))}"


@pytest.mark.parametrize("typ", ["refresh+jwt", "dpop+jwt", "", "logout+jwt", "JWT\n", "text/jwt"])
def test_other_types_are_refused(typ):
    assert "type" in refused(resigned(b64({"alg": "ES256", "kid": KEY.kid, "typ": typ or " "})))


def test_cve_2025_24976_a_key_in_the_token_is_ignored():
    """Distribution 3.0.0-rc trusted the ``jwk`` of a token's own header."""
    mallory = signing_key("ES256", 1)
    brought = mallory.verifying.jwk()
    for kid in (KEY.kid, mallory.kid, None):
        header = {"jwk": brought} | ({"kid": kid} if kid else {})
        text = jwt.PyJWS().encode(PAYLOAD, mallory.private, algorithm="ES256", headers=header)
        refused(text)


@pytest.mark.parametrize(
    "header",
    [{"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1/c"}, {"x5c": ["MIIB"]},
     {"jwk": {"kty": "oct", "k": "AAAA"}}, {"jku": 7, "jwk": "no"}],
)  # fmt: skip
def test_cve_2025_24976_where_a_token_says_its_key_is_does_not_matter(header):
    """Not fetched (nothing here could), not read: a good token stays good, a bad one bad."""
    assert open_token(token(KEY, **header), key_for) == PAYLOAD
    refused(token(signing_key("ES256", 1), **header, kid=KEY.kid))


def test_cve_2022_29217_a_public_key_is_no_secret():
    """HS256 keyed with the bytes of the public key, in every form that it is published in."""
    public = KEY.private.public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        json.dumps(KEY.verifying.jwk()).encode(),
    ]
    for secret in forms:
        for name in ("HS256", "HS384", "HS512"):
            head = b64({"alg": name, "kid": KEY.kid, "typ": "JWT"})
            signing_input = f"{head}.{b64(PAYLOAD)}".encode()
            mac = b64(hmac.digest(secret, signing_input, name.replace("HS", "sha")))
            assert "algorithm" in refused(f"{signing_input.decode()}.{mac}")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_cve_2017_11424_a_token_without_a_signature_is_refused(alg):
    head = b64({"alg": alg, "kid": KEY.kid})
    for signature in ("", b64(b""), b64(b"\0" * 64)):
        refused(f"{head}.{b64(PAYLOAD)}.{signature}")


@pytest.mark.parametrize("alg", ["ES384", "RS256", "PS256", "EdDSA", "HS256", "ES256K", "es256"])
def test_another_algorithm_than_that_of_the_key_is_refused(alg):
    assert "algorithm" in refused(resigned(b64({"alg": alg, "kid": KEY.kid})))


def test_a_key_of_one_algorithm_is_not_used_with_another_of_its_kind():
    key = signing_key("RS256")
    text = jwt.PyJWS().encode(PAYLOAD, key.private, algorithm="PS256", headers={"kid": key.kid})
    refused(text, lambda _: key.verifying)
    assert open_token(text, lambda _: VerifyingKey.of(key.private.public_key())) == PAYLOAD


@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "https://x/",
        "' OR 1",
        "x" * 300,
        "",
        "\u0000",
        pytest.param(KEY.kid + "\n", id="line-end"),  # it is another each time
    ],
)
def test_a_key_id_is_looked_up_and_nothing_else(kid):
    refused(token(signing_key("ES256", 1), kid=kid))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": True},
     {"crit": None}, {"kid": 7}, {"kid": ["a"]}, {"typ": 7}, {"alg": ["ES256"]}],
)  # fmt: skip
def test_a_header_that_means_something_else_is_refused(header):
    refused(resigned(b64({"alg": "ES256", "kid": KEY.kid} | header)))


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", HEAD, f"{HEAD}.{BODY}", f"{HEAD}.{BODY}.", f"{GOOD}.", f".{GOOD}",
     f"{GOOD}.{SIGNATURE}", f"{HEAD}..{SIGNATURE}", f"{BODY}.{BODY}.{SIGNATURE}", GOOD + "=",
     GOOD + " ", " " + GOOD, GOOD + "\n", GOOD.replace(".", "\u2024"),
     f"{HEAD}.{BODY}.\u00e9",
     f"{HEAD}.{BODY}.{SIGNATURE[:-4]}", f"{b64(b'[' * 1000)}.{BODY}.{SIGNATURE}",
     f"{b64(b'null')}.{BODY}.{SIGNATURE}", f"{b64(b'{}')}.{BODY}.{SIGNATURE}", "e30.e30.e30",
     f"{b64(b'{' * 1500)}.{BODY}.{SIGNATURE}", "a.b.c", "=.=.=", "\x00.\x00.\x00",
     GOOD + "A" * MAX_TOKEN, "A" * 10_000_000],
)  # fmt: skip
def test_what_is_no_token_is_refused(text):
    refused(text)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_that_was_changed_anywhere_is_refused(part):
    parts = GOOD.split(".")
    for at in range(len(parts[part])):
        changed = parts[part][at]
        other = "B" if changed == "A" else "A"
        spoiled = parts[part][:at] + other + parts[part][at + 1 :]
        refused(".".join([*parts[:part], spoiled, *parts[part + 1 :]]))


def test_a_signature_of_another_token_does_not_fit():
    other = token(KEY, b'{"sub":"user:mallory"}').split(".")
    refused(".".join([HEAD, other[1], SIGNATURE]))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: f"{HEAD}.{b64(data)}.x"))
def test_any_text_is_refused_in_one_way(text):
    refused(text)
    with contextlib.suppress(InvalidToken):
        assert isinstance(unverified(text), dict)


def test_the_reason_does_not_repeat_the_token():
    assert SIGNATURE[:20] not in refused(GOOD[:-8] + "AAAAAAAA")
