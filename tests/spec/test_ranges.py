"""The three grammars of byte ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.errors import RangeUnsatisfiable, UploadInvalid
from registry.spec.ranges import (
    MAX_RANGES,
    ByteRange,
    ContentRange,
    content_range,
    parse_range,
    unsatisfied_range,
    upload_range,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0-0", ContentRange(0, 0)),
        ("5-9", ContentRange(5, 9)),
        ("00-09", ContentRange(0, 9)),
        ("bytes 5-9/*", ContentRange(5, 9)),
        ("bytes 5-9/100", ContentRange(5, 9)),
        ("0-" + "9" * 19, ContentRange(0, 10**19 - 1)),
    ],
)
def test_a_chunks_content_range(header, expected):
    assert ContentRange.parse(header) == expected


@pytest.mark.parametrize(
    "header",
    ["", "-", "5", "5-", "-5", "9-5", "0--1", "a-b", " 0-1", "0-1 ", "0-1\n", "+0-1", "0-1/5",
     "bytes=0-1", "bytes 0-1", "bytes */5", "bytes 9-5/*", "0-1,2-3",
     "\u0661-\u0662", "0-" + "9" * 20],
)  # fmt: skip
def test_a_malformed_content_range_is_refused(header):
    with pytest.raises(UploadInvalid):
        ContentRange.parse(header)


@given(st.integers(0, 2**62), st.integers(1, 2**40))
def test_a_content_range_counts_its_bytes(start, length):
    assert ContentRange.parse(f"{start}-{start + length - 1}").length == length


def test_an_upload_tells_what_it_holds():
    assert [upload_range(offset) for offset in (0, 1, 2, 500)] == ["0-0", "0-0", "0-1", "0-499"]


def test_the_content_range_of_an_answer():
    assert content_range(ByteRange(5, 9), 100) == "bytes 5-9/100"
    assert unsatisfied_range(100) == "bytes */100"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=500-1499", [(500, 1499)]),
        ("bytes=500-", [(500, 2047)]),
        ("bytes=-500", [(1548, 2047)]),
        ("bytes=2000-5000", [(2000, 2047)]),
        ("bytes=-5000", [(0, 2047)]),
        ("BYTES=0-0", [(0, 0)]),
        ("bytes=0-0, 5-9 ,\t100-", [(0, 0), (5, 9), (100, 2047)]),
        ("bytes=100-, 0-9", [(100, 2047), (0, 9)]),
        ("bytes=0-9,5000-6000", [(0, 9)]),
        ("bytes=0-9,-0", [(0, 9)]),
        ("bytes=0-" + "9" * 19, [(0, 2047)]),
    ],
)
def test_ranges_that_are_served(header, expected):
    """The first four are the official conformance suite's."""
    ranges = parse_range(header, 2048)
    assert ranges == tuple(ByteRange(*each) for each in expected)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,", "bytes=,", "bytes=1",
     "items=0-1", "bytes=0-1;2-3", "bytes 0-1", "bytes=--5", "bytes=+1-2", "bytes=\u0661-\u0662",
     "bytes=0-0,0-0", "bytes=0-10,5-15", "bytes=0-,-1", "bytes=0-" + "9" * 20,
     "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES + 1)),
     "bytes=" + ",".join(["0-0"] * 10_000)],
)  # fmt: skip
def test_headers_that_are_ignored(header):
    assert parse_range(header, 2048) is None


@pytest.mark.parametrize(
    "header", ["bytes=500-0", "bytes=2048-", "bytes=5000-10000", "bytes=-0", "bytes=9000-,8000-"]
)
def test_ranges_that_cannot_be_had(header):
    """The conformance suite wants 416 for 500-0 too."""
    with pytest.raises(RangeUnsatisfiable) as caught:
        parse_range(header, 2048)
    assert caught.value.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_empty_content_has_no_ranges(header):
    with pytest.raises(RangeUnsatisfiable):
        parse_range(header, 0)


def test_as_many_ranges_as_allowed_are_served():
    header = "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES))
    assert len(parse_range(header, 2048)) == MAX_RANGES


@given(
    st.integers(0, 300),
    st.lists(
        st.tuples(st.none() | st.integers(0, 400), st.none() | st.integers(0, 400)), min_size=1
    ),
)
def test_what_is_served_was_asked_for_once_and_exists(size, specs):
    header = "bytes=" + ",".join(
        f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs
    )
    wanted = set()
    for first, last in specs:
        if first is not None:
            wanted |= set(range(first, min(size, size if last is None else last + 1)))
        elif last is not None:
            wanted |= set(range(max(0, size - last), size))
    try:
        ranges = parse_range(header, size)
    except RangeUnsatisfiable:
        assert not wanted or any(a is not None and b is not None and b < a for a, b in specs)
        return
    if ranges is not None:
        served = [i for each in ranges for i in range(each.start, each.end + 1)]
        assert len(served) == len(set(served)) == sum(each.length for each in ranges)
        assert set(served) == wanted
