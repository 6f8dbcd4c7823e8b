"""Configs of images: whatever clients push is read, and nothing of it is trusted."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.spec.image_config import ImageConfig, platform_text, platforms_of_index, read
from registry.spec.manifest import parse
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
KNOWN = st.sampled_from(
    ["architecture", "os", "variant", "config", "created", "author", "Env", "Labels", "Cmd"]
)


def test_a_config_as_builders_write_it():
    config = read(
        json.dumps(
            {
                "architecture": "arm64",
                "os": "linux",
                "variant": "v8",
                "created": "2026-11-02T08:30:00Z",
                "config": {
                    "User": "10001",
                    "WorkingDir": "/srv",
                    "Entrypoint": ["/bin/sh"],
                    "Cmd": None,
                    "Env": ["A=b"],
                    "ExposedPorts": {"80/tcp": {}},
                    "Labels": {"a": "b"},
                },
            }
        ).encode()
    )
    assert config == ImageConfig(
        platform="linux/arm64/v8",
        created="2026-11-02T08:30:00Z",
        user="10001",
        working_dir="/srv",
        entrypoint=("/bin/sh",),
        environment=("A=b",),
        ports=("80/tcp",),
        labels={"a": "b"},
    )


@settings(max_examples=50)
@given(st.dictionaries(KNOWN, JSON | st.dictionaries(KNOWN, JSON, max_size=3), max_size=4))
def test_any_object_is_read(document):
    found = read(json.dumps(document).encode())
    assert isinstance(found, ImageConfig)
    assert all(isinstance(each, str) for each in (found.platform, found.user, *found.command))


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"\xff", b"{", b'{"a":' * 5000])
def test_what_is_no_object_is_no_config(data):
    assert read(data) is None


def test_platforms_as_people_write_them():
    assert platform_text(None) == ""
    assert platform_text({"os": "unknown", "architecture": "unknown"}) == ""
    assert platform_text({"os": ["linux"], "architecture": "amd64"}) == "amd64"
    assert platform_text({"os": "x" * 500}) == "x" * 64


def test_an_index_has_each_platform_once():
    def child(number, **platform):
        return {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{number:064x}",
            "size": 1,
            "platform": platform,
        }

    body = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            child(1, os="linux", architecture="arm64"),
            child(2, os="linux", architecture="amd64"),
            child(3, os="unknown", architecture="unknown"),
            child(4, os="linux", architecture="amd64"),
        ],
    }
    index = parse(json.dumps(body).encode(), OCI_INDEX)
    assert platforms_of_index(index) == ("linux/arm64", "linux/amd64")
