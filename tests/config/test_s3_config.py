"""What the configuration of S3 must say, and what may not be said together."""

import pytest

from registry.backend import s3_settings
from registry.config import ConfigError, load
from storage.s3 import MIN_PART, PartPlan, S3Settings

GOOD = {
    "storage.driver": "s3",
    "storage.s3.bucket": "images",
    "storage.s3.endpoint": "https://s3.example.org:9000",
}


def test_the_driver_is_told_what_is_set(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    environment = {
        "MOORAGE__STORAGE__S3__ACCESS_KEY": "me",
        "MOORAGE__STORAGE__S3__SECRET_KEY_FILE": str(tmp_path / "key"),
        "MOORAGE__STORAGE__S3__PART_BYTES": str(MIN_PART),
        "MOORAGE__STORAGE__S3__PREFIX": "registry/one/",
    }
    found = s3_settings(load([], environment, GOOD))
    assert found == S3Settings(
        bucket="images",
        endpoint="https://s3.example.org:9000",
        access_key="me",
        secret_key="secret",
        prefix="registry/one/",
        parts=PartPlan(MIN_PART, 2),
    )


def test_defaults_of_driver_and_configuration_are_the_same():
    assert s3_settings(load([], {}, GOOD | {"storage.s3.endpoint": ""})) == S3Settings(
        bucket="images"
    )


def test_the_smallest_part_is_the_one_that_s3_takes():
    load([], {}, GOOD | {"storage.s3.part_bytes": MIN_PART})
    with pytest.raises(ConfigError, match=r"\$\.storage\.s3\.part_bytes"):
        load([], {}, GOOD | {"storage.s3.part_bytes": MIN_PART - 1})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"storage.s3.bucket": ""}, r"\$\.storage\.s3\.bucket: storage.driver = \"s3\" needs"),
        ({"storage.s3.bucket": "No"}, r"\$\.storage\.s3\.bucket"),
        ({"storage.s3.bucket": "images\n"}, r"\$\.storage\.s3\.bucket"),
        ({"storage.s3.endpoint": "s3.example.org"}, r"\$\.storage\.s3\.endpoint"),
        ({"storage.s3.endpoint": "https://me:secret@s3.example.org"}, r"\$\.storage\.s3\.endpoint"),
        ({"storage.s3.endpoint": "https://s3.example.org/images"}, r"\$\.storage\.s3\.endpoint"),
        ({"storage.s3.prefix": "registry"}, r"\$\.storage\.s3\.prefix"),
        ({"storage.s3.prefix": "/"}, r"\$\.storage\.s3\.prefix"),
        (
            {"storage.s3.access_key": "me"},
            r"\$\.storage\.s3: access_key and secret_key must be given together",
        ),
        (
            {"storage.s3.session_token": "t"},
            r"\$\.storage\.s3\.session_token: it belongs to an access_key",
        ),
        ({"server.workers": 2}, r"\$\.server\.workers: 2 processes on S3 .* set it to 1"),
        ({"server.public_url": "a b"}, r"\$\.server\.public_url"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(more, message):
    with pytest.raises(ConfigError, match=message):
        load([], {}, GOOD | more)


@pytest.mark.parametrize(
    ("registry", "endpoint", "more"),
    [
        ("images.example.org", "https://images.example.org:9000", {}),
        ("Example.org", "https://s3.EXAMPLE.org", {}),
        ("example.org", "http://a.b.example.org", {}),
        ("s3.example.org", "https://s3.example.org", {"storage.s3.addressing": "virtual"}),
        ("amazonaws.com", "", {}),
    ],
)
def test_redirects_to_where_credentials_would_go_along_are_refused(registry, endpoint, more):
    settings = (
        GOOD | {"storage.s3.redirect": True, "server.public_url": f"https://{registry}:5000"} | more
    )
    for place in ("storage.s3.endpoint", "storage.s3.public_endpoint"):
        with pytest.raises(ConfigError, match=r"\$\.storage\.s3\.redirect: clients would send"):
            load([], {}, settings | {"storage.s3.endpoint": ""} | {place: endpoint})


@pytest.mark.parametrize("endpoint", ["https://s3.example.org", "https://myimages.example.org"])
def test_redirects_to_other_hosts_are_allowed(endpoint):
    settings = GOOD | {
        "storage.s3.redirect": True,
        "server.public_url": "https://images.example.org",
    }
    assert load([], {}, settings | {"storage.s3.public_endpoint": endpoint}).storage.s3.redirect
    assert load(
        [], {}, settings | {"server.public_url": "", "storage.s3.public_endpoint": endpoint}
    )
