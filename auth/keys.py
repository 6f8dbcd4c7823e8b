"""Keys: which may verify what, which signs, and how both are written down.

An algorithm follows from the key, never from a token: a public key is no HMAC secret
(CVE-2022-29217), and a key that a token brings along is no key (CVE-2025-24976).
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

LEAST_RSA_BITS: Final = 2048

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
"""What tokens can be signed with here."""

_CURVES: Final = {SECP256R1.name: "ES256", SECP384R1.name: "ES384", SECP521R1.name: "ES512"}
_MEMBERS: Final = frozenset({"crv", "e", "kty", "n", "x", "y"})
_MOST_KEYS: Final = 64
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class KeyUnusable(ValueError):
    """The key can't be used. The message says why, and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, its id, and the algorithms that may be used with it."""

    kid: str
    algorithms: tuple[str, ...]
    key: PublicKey

    @classmethod
    def of(cls, key: PublicKey, *, kid: str = "", algorithm: str = "") -> Self:
        """Take a key. ``algorithm`` narrows the algorithms to one; ``kid`` is else its thumbprint.

        ``KeyUnusable`` for a key that is too weak, or not of ``algorithm``.
        """
        algorithms = _algorithms(key)
        if algorithm:
            if algorithm not in algorithms:
                raise KeyUnusable(f"the algorithm {algorithm!r} does not go with this kind of key")
            algorithms = (algorithm,)
        return cls(kid or thumbprint(key), algorithms, key)

    def jwk(self) -> dict[str, str]:
        """Return it as a JSON Web Key (RFC 7517)."""
        return {**_members(self.key), "use": "sig", "alg": self.algorithms[0], "kid": self.kid}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the algorithm that it signs with. Its id is its thumbprint (RFC 7638)."""

    algorithm: str
    private: PrivateKey
    verifying: VerifyingKey

    @classmethod
    def of(cls, private: PrivateKey) -> Self:
        """Take a key: P-256 signs ES256, RSA RS256, Ed25519 EdDSA; ``KeyUnusable`` for others."""
        algorithm = _algorithms(private.public_key())[0]
        if algorithm not in ALGORITHMS:
            raise KeyUnusable("tokens are signed with P-256, RSA or Ed25519 keys")
        return cls(algorithm, private, VerifyingKey.of(private.public_key(), algorithm=algorithm))

    @classmethod
    def generate(cls, algorithm: str) -> Self:
        """Make a new key; RSA takes a second."""
        match algorithm:
            case "ES256":
                return cls.of(generate_private_key(SECP256R1()))
            case "EdDSA":
                return cls.of(Ed25519PrivateKey.generate())
            case "RS256":
                return cls.of(generate_rsa(65537, 2048))
        raise KeyUnusable(f"there is no algorithm {algorithm!r}: use {', '.join(ALGORITHMS)}")

    @classmethod
    def from_pem(cls, pem: bytes, password: str = "") -> Self:
        """Read a PEM private key; ``KeyUnusable`` if it is none, or its password is another."""
        try:
            private = load_pem_private_key(pem, password.encode() if password else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyUnusable(
                "this is no private key in PEM form, or its password is another"
            ) from error
        if not isinstance(private, PrivateKey):
            raise KeyUnusable("tokens are signed with P-256, RSA or Ed25519 keys")
        return cls.of(private)

    def to_pem(self, password: str = "") -> bytes:
        """Write it as PKCS #8, encrypted if there is a password."""
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    @property
    def kid(self) -> str:
        """Its id."""
        return self.verifying.kid


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one moment: the one that signs, and all whose tokens are taken."""

    signing: SigningKey
    verifying: Mapping[str, VerifyingKey]

    @classmethod
    def of(cls, signing: SigningKey, others: Iterable[SigningKey] = ()) -> Self:
        """Sign with one; verify with it and the others."""
        keys = (signing.verifying, *(other.verifying for other in others))
        return cls(signing, {key.kid: key for key in keys})

    def jwks(self) -> bytes:
        """Return the public keys as a JSON Web Key Set (RFC 7517), the signing one first."""
        return msgspec.json.encode({"keys": [key.jwk() for key in self.verifying.values()]})


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


_read_set: Final = msgspec.json.Decoder(_Set).decode


def read_jwks(data: bytes) -> dict[str, VerifyingKey]:
    """Read another's JSON Web Key Set: the keys by id that may verify signatures.

    Keys that can't be used here are left out: sets hold keys of all kinds. A key without an id
    gets its thumbprint. ``KeyUnusable`` if it is no such set, or nothing in it can be used.
    """
    try:
        found = _read_set(data).keys
    except (ValueError, RecursionError) as error:
        raise KeyUnusable(f"this is no JSON Web Key Set: {error}") from error
    keys = {}
    for item in found[:_MOST_KEYS]:
        key = _usable(item)
        if key is not None:
            keys[key.kid] = key
    if not keys:
        raise KeyUnusable("no key of the set can be used to verify signatures")
    return keys


def _usable(item: dict[str, Any]) -> VerifyingKey | None:
    kid, algorithm = item.get("kid", ""), item.get("alg", "")
    if not isinstance(kid, str) or not isinstance(algorithm, str) or "d" in item:
        return None
    if item.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(item).key
    except (PyJWTError, ValueError, TypeError):
        return None
    try:
        return VerifyingKey.of(key, kid=kid, algorithm=algorithm)
    except KeyUnusable:
        return None


def thumbprint(key: PublicKey) -> str:
    """Return the key's thumbprint (RFC 7638)."""
    digest = hashlib.sha256(msgspec.json.encode(_members(key))).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _members(key: PublicKey) -> dict[str, str]:
    """Return the members that are the key itself, in the order of a thumbprint."""
    match key:
        case EllipticCurvePublicKey():
            members = ECAlgorithm.to_jwk(key, as_dict=True)
        case Ed25519PublicKey():
            members = OKPAlgorithm.to_jwk(key, as_dict=True)
        case _:
            members = RSAAlgorithm.to_jwk(key, as_dict=True)
    return {name: members[name] for name in sorted(members) if name in _MEMBERS}


def _algorithms(key: object) -> tuple[str, ...]:
    match key:
        case RSAPublicKey() if key.key_size >= LEAST_RSA_BITS:
            return _RSA
        case RSAPublicKey():
            raise KeyUnusable(f"an RSA key needs at least {LEAST_RSA_BITS} bits")
        case EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return (_CURVES[key.curve.name],)
        case Ed25519PublicKey():
            return ("EdDSA",)
    raise KeyUnusable("this kind of key is not used for tokens")
