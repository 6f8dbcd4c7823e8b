"""Repository names, tags, session ids and references: the specification's grammar, exactly."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.digest import Digest
from registry.spec.errors import (
    DigestInvalid,
    NameInvalid,
    RegistryError,
    TagInvalid,
    UploadUnknown,
)
from registry.spec.names import MAX_NAME, RepositoryName, SessionId, Tag, parse_reference
from tests.spec.strategies import digests, repositories, tags

SPEC_NAME = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
SPEC_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"


@given(st.one_of(repositories, st.text(st.sampled_from("ab0./_-AZ%\n é"), max_size=12)))
def test_a_name_is_accepted_exactly_when_the_specification_matches_it(text):
    expected = re.fullmatch(SPEC_NAME, text) is not None
    try:
        accepted = RepositoryName.parse(text) == text
    except NameInvalid:
        accepted = False
    assert accepted == expected


@given(st.one_of(tags, st.text(st.sampled_from("aZ0._-:/\n+é"), max_size=6)))
def test_a_tag_is_accepted_exactly_when_the_specification_matches_it(text):
    expected = re.fullmatch(SPEC_TAG, text) is not None
    try:
        accepted = Tag.parse(text) == text
    except TagInvalid:
        accepted = False
    assert accepted == expected


@pytest.mark.parametrize("text", ["a", "a/b", "a" * MAX_NAME, "a.b_c__d---e/0"])
def test_good_names(text):
    assert type(RepositoryName.parse(text)) is RepositoryName


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/", "/a", "a//b", "A", "_a", "a_", "a..b", "a___b", "a._b", "..", "a/../b", "a%2fb",
     "a b", "a\n", "a\x00", "\u0661", "a" * (MAX_NAME + 1), "a:b", "a@b"],
)  # fmt: skip
def test_bad_names(text):
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


def test_hostile_names_are_refused_in_no_time():
    """The pattern has no run that can be split in two ways, so it does not backtrack far."""
    hostile = ["a" + "-" * 248 + "!", "a-" * 124 + "!", "a" * 249 + "!", "a/" * 124 + "/!"]
    start = time.perf_counter()
    for text in hostile:
        with pytest.raises(NameInvalid):
            RepositoryName.parse(text[-MAX_NAME:])
    assert time.perf_counter() - start < 5


def test_the_first_segment_is_the_project():
    assert RepositoryName.parse("proj/env/python").project == "proj"
    assert RepositoryName.parse("proj").project == "proj"


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a b", "latest\n", "a:b", "é"])
def test_bad_tags(text):
    with pytest.raises(TagInvalid):
        Tag.parse(text)


def test_a_session_id_has_one_spelling():
    canonical = "0123456789abcdef" * 4
    assert SessionId.parse(canonical) == canonical
    for other in (canonical.upper(), canonical[:-1], canonical + "0", canonical + "\n", "",
                  "01234567-89ab-cdef-0123-456789abcdef"):  # fmt: skip
        with pytest.raises(UploadUnknown):
            SessionId.parse(other)


@given(st.one_of(digests, tags))
def test_a_reference_is_a_digest_or_a_tag(text):
    parsed = parse_reference(text)
    assert parsed == text
    assert type(parsed) is (Digest if ":" in text else Tag)


def test_a_reference_with_a_colon_is_never_taken_for_a_tag():
    with pytest.raises(DigestInvalid):
        parse_reference("latest:")


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused(text):
    for parse in (RepositoryName.parse, Tag.parse, SessionId.parse, parse_reference):
        try:
            assert parse(text) == text
        except RegistryError as error:
            assert error.status in (400, 404)
            assert error.message.isascii()
            assert len(error.message) < 1500
