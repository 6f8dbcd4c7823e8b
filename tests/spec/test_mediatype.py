"""Media types: `Content-Type` and `Accept`."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import mediatype as m
from registry.spec.errors import ManifestInvalid, RegistryError
from tests.spec.strategies import media_types


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (m.OCI_MANIFEST, m.OCI_MANIFEST),
        (m.OCI_MANIFEST + "; charset=utf-8", m.OCI_MANIFEST),
        (m.OCI_MANIFEST + " ;charset=utf-8;x", m.OCI_MANIFEST),
        (" " + m.OCI_INDEX + "\t", m.OCI_INDEX),
        (m.OCI_INDEX.upper(), m.OCI_INDEX),
        ("a/" + "b" * 127, "a/" + "b" * 127),
    ],
)
def test_a_content_type_loses_its_parameters_and_case(header, expected):
    assert m.parse_content_type(header) == expected


@pytest.mark.parametrize(
    "header",
    ["", ";", "x", "a/", "/b", "a/b/c", "a b/c", "a/b c", "a/b\n", "a/b,c/d", "*/*", "a/*", ".a/b",
     "é/b", "a/" + "b" * 128, "a" * 300 + "/b"],
)  # fmt: skip
def test_a_malformed_content_type_is_refused(header):
    with pytest.raises(ManifestInvalid):
        m.parse_content_type(header)


def test_descriptor_types_may_have_parameters():
    assert m.is_content_type("application/vnd.dev.sigstore.bundle+json;version=0.2")
    assert m.is_content_type("text/plain; charset=utf-8")
    for text in ("", "x", "a/b;\n", "a/b c", "a/b;" + "x" * 255):
        assert not m.is_content_type(text)


def test_the_constants_are_media_types():
    for name in dir(m):
        if name.startswith(("OCI_", "DOCKER_", "BUILDKIT_", "OCTET_")):
            value = getattr(m, name)
            assert m.parse_content_type(value) == value
    assert m.FOREIGN < m.BLOBS
    assert not m.BLOBS & (m.IMAGES | m.INDEXES | m.SCHEMA1)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, True),
        ("", True),
        (" ", True),
        ("*/*", True),
        ("application/*", True),
        ("text/*", False),
        (m.OCI_MANIFEST, True),
        (m.OCI_MANIFEST.upper(), True),
        (m.OCI_INDEX, False),
        (f"{m.OCI_INDEX}, {m.OCI_MANIFEST}", True),
        (f"{m.OCI_INDEX};q=1, {m.OCI_MANIFEST};q=0.1", True),
        (f"{m.OCI_MANIFEST};q=0", False),
        (f"{m.OCI_MANIFEST};q=0.000, */*", False),
        (f"*/*;q=0, {m.OCI_MANIFEST}", True),
        ("application/*;q=0, */*", False),
        (f"{m.OCI_MANIFEST};q=0, {m.OCI_MANIFEST};q=1", True),
        (f"{m.OCI_MANIFEST} ; charset=utf-8 ; Q=0", False),
        (f"{m.OCI_MANIFEST};q=nonsense", True),
        (f"{m.OCI_MANIFEST};q=2", True),
        ("nonsense", True),
        ("nonsense, */*;q=0", False),
        ("nonsense, text/html", False),
        ("*/json", True),
        (",,", True),
    ],
)
def test_accept(accept, expected):
    """Docker, containerd and podman list types; curl sends */*; a proxy may send q-values."""
    assert m.accepts(accept, m.OCI_MANIFEST) is expected


@given(st.lists(media_types, min_size=1, max_size=5), media_types)
def test_a_plain_list_accepts_what_it_lists(listed, wanted):
    assert m.accepts(", ".join(listed), wanted) is (wanted in listed)


@given(st.text(max_size=80), media_types)
def test_any_header_is_read_or_refused(header, media_type):
    assert m.accepts(header, media_type) in (True, False)
    try:
        assert m.is_media_type(m.parse_content_type(header))
    except RegistryError as error:
        assert error.status == 400


def test_hostile_headers_are_read_in_linear_time():
    start = time.perf_counter()
    for header in (
        "a/b;" * 8000,
        "a/b" + " ;" * 16_000 + ",",
        "a" * 32_000,
        ";" * 32_000,
        ",/" * 16_000,
    ):
        m.accepts(header, m.OCI_MANIFEST)
        m.is_content_type(header)
    assert time.perf_counter() - start < 5
