"""Conditional requests: the truth tables of RFC 9110 §13."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.conditions import MAX_TAGS, Conditions, EntityTags, etag
from registry.spec.digest import Digest
from registry.spec.errors import Unsupported
from tests.spec.strategies import digests

A, B = Digest.of(b"a"), Digest.of(b"b")


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "current", "write", "unmodified"),
    [
        (None, None, None, True, False),
        (None, None, A, True, False),
        ("*", None, A, True, False),
        ("*", None, None, False, False),
        (etag(A), None, A, True, False),
        (etag(A), None, B, False, False),
        (etag(A), None, None, False, False),
        (f"{etag(B)}, {etag(A)}", None, A, True, False),
        ("W/" + etag(A), None, A, False, False),
        (None, "*", None, True, False),
        (None, "*", A, False, True),
        (None, etag(A), A, False, True),
        (None, etag(A), B, True, False),
        (None, etag(A), None, True, False),
        (None, "W/" + etag(A), A, False, True),
        (None, f'"x","y" ,,\t{etag(A)}', A, False, True),
        (etag(A), etag(A), A, False, True),
        (etag(A), etag(B), A, True, False),
    ],
)
def test_conditions(if_match, if_none_match, current, write, unmodified):
    conditions = Conditions.parse(if_match, if_none_match)
    assert conditions.check_write(current) is write
    assert conditions.not_modified(current) is unmodified
    assert conditions.check_read(current) is Conditions.parse(if_match, None).check_write(current)
    assert bool(conditions) is (if_match is not None or if_none_match is not None)


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        ('"a"', ['"a"'], []),
        ('""', ['""'], []),
        ('W/"a"', [], ['"a"']),
        (' , "a,b" ,W/"c"\t,, ', ['"a,b"'], ['"c"']),
        ('"a","b"', ['"a"', '"b"'], []),
    ],
)
def test_lists_of_entity_tags(header, strong, weak):
    assert EntityTags.parse(header) == EntityTags(strong=tuple(strong), weak=tuple(weak))


@pytest.mark.parametrize(
    "header",
    ["", " ", ",", "a", str(A), '"a', 'a"', '"a" "b"', '"a";"b"', 'w/"a"', 'W/ "a"', '"a b"',
     '"a\x00"', '"\u20ac"', "**", "*,*", '*, "a"', '"a", *', '"a"x',
     ",".join(['"a"'] * 101)],
)  # fmt: skip
def test_a_malformed_condition_is_refused_not_ignored(header):
    for pair in ((header, None), (None, header)):
        with pytest.raises(Unsupported):
            Conditions.parse(*pair)


def test_as_many_entity_tags_as_allowed():
    tags = EntityTags.parse(",".join(f'"{i}"' for i in range(MAX_TAGS)))
    assert len(tags.strong) == MAX_TAGS


@given(st.lists(digests, min_size=1, max_size=5), digests)
def test_compare_and_swap(listed, current):
    """If-Match lets a write through exactly when the current digest is listed."""
    conditions = Conditions.parse(", ".join(map(etag, listed)), None)
    assert conditions.check_write(current) is (current in listed)


def test_hostile_headers_are_read_in_linear_time():
    start = time.perf_counter()
    for header in (", " * 16_000 + "x", '"a" ' * 8000, '"' * 32_000):
        with pytest.raises(Unsupported):
            EntityTags.parse(header)
    assert time.perf_counter() - start < 5
