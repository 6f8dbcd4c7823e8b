"""Addresses of Redis: what is understood, what is refused, and that it can be written again."""

import pytest

from storage.redis_address import RedisAccess, RedisAddress

GOOD = {
    "redis://localhost": RedisAddress("standalone", (("localhost", 6379),)),
    "redis://10.0.0.1:7000/3": RedisAddress("standalone", (("10.0.0.1", 7000),), database=3),
    "rediss://redis.example": RedisAddress("standalone", (("redis.example", 6379),), tls=True),
    "redis://[::1]:6380/": RedisAddress("standalone", (("::1", 6380),)),
    "redis+sentinel://a,b:1,c/main": RedisAddress(
        "sentinel", (("a", 26379), ("b", 1), ("c", 26379)), name="main"
    ),
    "rediss+sentinel://a/main/2": RedisAddress(
        "sentinel", (("a", 26379),), tls=True, database=2, name="main"
    ),
    "redis+cluster://a,b:7001": RedisAddress("cluster", (("a", 6379), ("b", 7001))),
    "rediss+cluster://a/0": RedisAddress("cluster", (("a", 6379),), tls=True),
}

BAD = {
    "": "expected a URL",
    "localhost:6379": "expected a URL",
    "http://localhost": "expected a URL",
    "redis://": "expected a URL",
    "redis+foo://a": "expected a URL",
    "redis://user:secret@a": "do not go in the URL",
    "redis://a,b": "one server only",
    "redis://a:0": "a port is",
    "redis://a:65536": "a port is",
    "redis://a:x": "no host:port",
    "redis://::1": "no host:port",
    "redis://a//": "number of a database",
    "redis://a/1000": "number of a database",
    "redis://a/٣": "number of a database",
    "redis+sentinel://a": "the name that the Sentinels have",
    "redis+sentinel://a/x y": "the name that the Sentinels have",
    "redis+sentinel://a/main/x": "number of a database",
    "redis+cluster://a/1": "database 0 only",
    "redis://a/0?timeout=3": "expected a URL",
    "redis://a\n": "no host:port",
}


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_read_and_written(text):
    address = RedisAddress.parse(text)
    assert address == GOOD[text]
    assert RedisAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", BAD)
def test_a_bad_address_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match=BAD[text]):
        RedisAddress.parse(text)


def test_a_secret_in_the_url_is_not_repeated():
    with pytest.raises(ValueError, match=r"redis\.username and \.password") as caught:
        RedisAddress.parse("redis://user:secret@a")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(RedisAccess(password="secret", sentinel_password="secret"))
