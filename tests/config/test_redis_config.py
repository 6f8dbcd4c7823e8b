"""What the configuration of coordination must say, and what may not be said together."""

import pytest

from registry.config import ConfigError, load, show
from registry.config.check_redis import coordinated
from registry.replication import redis_access
from registry.summary import coordination, summary
from storage._pace import PACE
from storage.redis_address import RedisAccess

S3 = {"storage.driver": "s3", "storage.s3.bucket": "images"}
URL = {"coordination.redis.url": "redis://redis.example:6379"}


def test_the_driver_is_told_what_is_set(tmp_path):
    (tmp_path / "password").write_text("opensesame\n")
    environment = {
        "MOORAGE__COORDINATION__REDIS__USERNAME": "moorage",
        "MOORAGE__COORDINATION__REDIS__PASSWORD_FILE": str(tmp_path / "password"),
        "MOORAGE__COORDINATION__REDIS__SENTINEL_PASSWORD": "other",
        "MOORAGE__COORDINATION__REDIS__CA_FILE": "ca.pem",
        "MOORAGE__COORDINATION__REDIS__TIMEOUT_SECONDS": "0.25",
    }
    config = load([], environment, URL)
    assert redis_access(config) == RedisAccess(
        username="moorage",
        password="opensesame",
        sentinel_password="other",
        ca="ca.pem",
        timeout=0.25,
    )
    assert "opensesame" not in str(show(config))


def test_defaults_of_driver_and_configuration_are_the_same():
    assert redis_access(load([], {}, URL)) == RedisAccess()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        (URL, True),
        (URL | {"coordination.driver": "host"}, False),
        (URL | {"coordination.driver": "redis"}, True),
        (S3, False),
        (S3 | URL, True),
        (S3 | URL | {"server.workers": 4}, True),
    ],
)
def test_redis_is_used_where_it_is_named(more, expected):
    assert coordinated(load([], {}, more)) == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"coordination.driver": "redis"}, r"\$\.coordination\.redis\.url: .* needs the URL"),
        ({"coordination.redis.url": "localhost"}, r"\$\.coordination\.redis\.url: expected a URL"),
        ({"coordination.redis.url": "redis://a:b@c"}, r"do not go in the URL"),
        (URL | {"coordination.redis.key": "k"}, r"certificate and key must be given together"),
        (URL | {"coordination.redis.prefix": "a b"}, r"\$\.coordination\.redis\.prefix"),
        (URL | {"coordination.redis.timeout_seconds": 0}, r"timeout_seconds"),
        (URL | {"storage.driver": "memory"}, r"\$\.coordination\.driver: a store in memory"),
        (S3 | {"coordination.driver": "host"}, r"\$\.coordination\.driver: .* only Redis"),
        (S3 | {"server.workers": 2}, r"set it to 1, or give them a Redis"),
        (S3 | URL | {"storage.s3.read_seconds": 21.0}, r"\$\.storage\.s3\.read_seconds: at most"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(more, message):
    with pytest.raises(ConfigError, match=message):
        load([], {}, more)


def test_the_store_has_time_enough_to_answer_after_a_change_was_cut_off():
    load([], {}, S3 | URL | {"storage.s3.read_seconds": PACE.flux - PACE.body})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "on this machine"),
        (S3, "the only process"),
        (S3 | URL, "through Redis, redis://redis.example:6379"),
    ],
)
def test_it_is_said_how_processes_coordinate(more, said):
    config = load([], {}, more)
    assert said in coordination(config)
    assert said in summary(config, config.server.addr)
