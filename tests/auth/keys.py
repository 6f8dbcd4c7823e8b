"""Keys for tests, made once: RSA takes a while."""

from functools import cache

from auth.keys import KeySet, SigningKey


@cache
def _signing_key(algorithm: str, number: int) -> SigningKey:
    return SigningKey.generate(algorithm)


@cache
def _key_set(algorithm: str) -> KeySet:
    return KeySet.of(signing_key(algorithm))


def signing_key(algorithm: str = "ES256", number: int = 0) -> SigningKey:
    """The same key for the same arguments."""
    return _signing_key(algorithm, number)


def key_set(algorithm: str = "ES256") -> KeySet:
    """A set of one key, the same object for the same algorithm."""
    return _key_set(algorithm)
