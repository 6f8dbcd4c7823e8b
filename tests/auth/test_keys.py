"""Keys: algorithms follow from them, weak ones are refused, sets are written and read."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt import PyJWKSet

from auth.keys import ALGORITHMS, KeySet, KeyUnusable, SigningKey, VerifyingKey, read_jwks
from tests.auth.keys import key_set, signing_key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("password", ["", "pass word"])
def test_a_key_is_written_and_read_again(algorithm, password):
    key = signing_key(algorithm)
    pem = key.to_pem(password)
    assert (b"ENCRYPTED" in pem) == bool(password)
    again = SigningKey.from_pem(pem, password)
    assert (again.kid, again.algorithm) == (key.kid, algorithm)


@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN PRIVATE KEY-----\n", signing_key().to_pem()[:-60], b"\xff" * 99]
)
def test_what_is_no_key_is_refused(pem):
    with pytest.raises(KeyUnusable, match="no private key"):
        SigningKey.from_pem(pem)


def test_a_wrong_or_missing_password_is_refused():
    pem = signing_key().to_pem("right")
    for password in ("", "wrong"):
        with pytest.raises(KeyUnusable, match="password"):
            SigningKey.from_pem(pem, password)
    with pytest.raises(KeyUnusable, match="password"):
        SigningKey.from_pem(signing_key().to_pem(), "needless")


@pytest.mark.parametrize(
    "private",
    [
        pytest.param(lambda: rsa.generate_private_key(65537, 1024), id="RSA"),  # noqa: S505
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
        pytest.param(ed448.Ed448PrivateKey.generate, id="Ed448"),
        pytest.param(x25519.X25519PrivateKey.generate, id="X25519"),
        pytest.param(lambda: dsa.generate_private_key(1024), id="DSA"),  # noqa: S505
    ],
)
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_other_kinds_of_keys_do_not_sign(private):
    pem = private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(pem)


def test_an_unknown_algorithm_has_no_keys():
    for algorithm in ("HS256", "none", "ES384", ""):
        with pytest.raises(KeyUnusable, match="ES256, RS256, EdDSA"):
            SigningKey.generate(algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_set_is_what_other_implementations_read(algorithm):
    found = PyJWKSet.from_json(key_set(algorithm).jwks().decode())
    (jwk,) = found.keys
    assert jwk.algorithm_name == algorithm
    assert jwk.key_id == signing_key(algorithm).kid
    assert jwk.public_key_use == "sig"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_set_shows_nothing_private(algorithm):
    (jwk,) = json.loads(key_set(algorithm).jwks())["keys"]
    assert not set(jwk) & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def test_a_key_id_is_the_thumbprint_of_rfc_7638():
    jwk = {
        "kty": "RSA", "e": "AQAB", "alg": "RS256",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSo"
        "c_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW"
        "2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQF"
        "h6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }  # fmt: skip
    (kid,) = read_jwks(json.dumps({"keys": [jwk]}).encode())
    assert kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def jwks(*keys, **changes):
    return json.dumps({"keys": [{**key.verifying.jwk(), **changes} for key in keys]}).encode()


def test_a_set_of_mixed_keys_gives_those_that_can_verify():
    mixed = json.loads(jwks(*map(signing_key, ALGORITHMS)))["keys"]
    mixed += [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "hmac", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "hmac2"},
        {"kty": "quantum", "kid": "q"}, {"kid": 7, "kty": "EC"}, {},
        {**signing_key().verifying.jwk(), "use": "enc", "kid": "enc"},
        {**signing_key().verifying.jwk(), "alg": "RS256", "kid": "wrong algorithm"},
        {**signing_key().verifying.jwk(), "alg": "HS256", "kid": "public key as secret"},
        {**signing_key().verifying.jwk(), "x": "AAAA", "kid": "not on the curve"},
        {**signing_key().verifying.jwk(), "d": "AAAA", "kid": "private"},
    ]  # fmt: skip
    found = read_jwks(json.dumps({"keys": mixed}).encode())
    assert set(found) == {signing_key(each).kid for each in ALGORITHMS}


def test_an_rsa_key_without_an_algorithm_may_be_used_with_each_of_its_kind():
    key = {name: v for name, v in signing_key("RS256").verifying.jwk().items() if name != "alg"}
    (found,) = read_jwks(json.dumps({"keys": [key]}).encode()).values()
    assert found.algorithms == ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [1]}', b"[" * 100_000, b"\xff",
     b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'],
)  # fmt: skip
def test_what_is_no_set_is_refused(data):
    with pytest.raises(KeyUnusable):
        read_jwks(data)


def test_a_set_that_is_too_long_is_cut():
    keys = [{**signing_key().verifying.jwk(), "kid": str(number)} for number in range(500)]
    assert len(read_jwks(json.dumps({"keys": keys}).encode())) == 64


def test_a_key_set_signs_with_one_and_verifies_with_all():
    one, two = signing_key(), signing_key("EdDSA")
    found = KeySet.of(one, [two, one])
    assert found.signing is one
    assert list(found.verifying) == [one.kid, two.kid]
    assert [key["kid"] for key in json.loads(found.jwks())["keys"]] == [one.kid, two.kid]


def test_a_key_does_not_show_itself():
    assert "PRIVATE" not in repr(signing_key())
    with pytest.raises(KeyUnusable) as caught:
        SigningKey.from_pem(signing_key().to_pem()[:-60])
    assert "MI" not in str(caught.value)
    assert VerifyingKey.of(signing_key().private.public_key()).kid == signing_key().kid
