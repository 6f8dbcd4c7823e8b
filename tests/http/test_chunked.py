"""The decoder of chunked bodies: what it finds, what it refuses, and that pieces don't matter."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.http.chunked import FIELDS, SIZE_LINE, TRAILERS, ChunkedDecoder, MalformedError
from registry.http.receive import begins_chunked_body
from tests.oracle.chunks import HEAD, LAST, by_hand, by_llhttp, chunk, chunked, parser

NEXT = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


def decode(pieces):
    """The content, where the body ends (or ``None``), and whether it was refused."""
    decoder, content, before = ChunkedDecoder(), b"", 0
    for piece in pieces:
        try:
            for start, end in decoder.feed(bytearray(b"??" + piece), 2, len(piece) + 2):
                content += piece[start - 2 : end - 2]
        except MalformedError:
            return content, None, True
        if decoder.end is not None:
            return content, before + decoder.end - 2, False
        before += len(piece)
    return content, None, False


def cut(data, places):
    """The same bytes in pieces, none of them empty."""
    places = sorted({each % (len(data) + 1) for each in places} | {0, len(data)})
    return [data[one:other] for one, other in pairwise(places)]


def bytewise(data):
    return [data[at : at + 1] for at in range(len(data))]


GOOD = [
    (LAST, b""),
    (b"0000\r\n\r\n", b""),
    (b"5\r\nhello\r\n" + LAST, b"hello"),
    (b"1\r\nh\r\n0000000000000004\r\nello\r\n" + LAST, b"hello"),
    (b"A\r\n0123456789\r\nb\r\n0123456789a\r\n" + LAST, b"01234567890123456789a"),
    (chunk(b"\r\n0\r\n\r\n") + LAST, b"\r\n0\r\n\r\n"),
    (chunk(b"\n") + chunk(b"\r") + LAST, b"\n\r"),
    (chunk(b"a", b";x") + LAST, b"a"),
    (chunk(b"a", b';x=y;z;q="a b;\\"\\\\"') + b'0;last="\xff"\r\n\r\n', b"a"),
    (chunk(b"a") + b"0\r\nX-A: b\r\nx-c:\r\n!#$: \t a \xff\r\n\r\n", b"a"),
    (chunk(b"a") + b"0\r\n" + b"X-A: b\r\n" * FIELDS + b"\r\n", b"a"),
]


@pytest.mark.parametrize(("body", "content"), GOOD)
def test_a_body_is_found_whole_and_what_is_behind_it_is_left(body, content):
    for pieces in ([body + NEXT], bytewise(body + NEXT), [body, NEXT]):
        assert decode(pieces) == (content, len(body), False)
    assert by_llhttp(body + NEXT) == (content, len(body))


@pytest.mark.parametrize(("body", "content"), GOOD)
def test_the_beginning_of_a_body_is_neither_refused_nor_taken_for_the_whole(body, content):
    for end in range(len(body)):
        for pieces in ([body[:end]], bytewise(body[:end])):
            found, stopped, refused = decode(pieces)
            assert content.startswith(found)
            assert stopped is None
            assert not refused


BAD = {
    "no size": b"\r\nhello\r\n",
    "no digits": b";x\r\nhello\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "plus": b"+5\r\nhello\r\n",
    "minus": b"-5\r\nhello\r\n",
    "minus nought": b"-0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n",
    "another digit": "\u0665\r\nhello\r\n".encode(),
    "not hexadecimal": b"5g\r\nhello\r\n",
    "space before": b" 5\r\nhello\r\n",
    "tab before": b"\t5\r\nhello\r\n",
    "empty line before": b"\r\n5\r\nhello\r\n",
    "space behind": b"5 \r\nhello\r\n",
    "tab behind": b"5\t\r\nhello\r\n",
    "space before an extension": b"5 ;x\r\nhello\r\n",
    "space in an extension": b"5; x\r\nhello\r\n",
    "an extension without a name": b"5;\r\nhello\r\n",
    "an extension without a value": b"5;x=\r\nhello\r\n",
    "CR in an extension": b"5;x\ry\r\nhello\r\n",
    "LF in an extension": b"5;x\ny\r\nhello\r\n",
    "CRLF in quotes": b'5;x="\r\nhello\r\n',
    "LF in quotes": b'5;x="a\nb"\r\nhello\r\n',
    "NUL in an extension": b"5;x\0\r\nhello\r\n",
    "17 digits": b"00000000000000005\r\nhello\r\n",
    "2 ** 64": b"10000000000000000\r\nhello\r\n",
    "bare LF": b"5\nhello\r\n",
    "bare CR": b"5\rhello\r\n",
    "two CR": b"5\r\r\nhello\r\n",
    "LF CR": b"5\n\rhello\r\n",
    "longer than its size": b"4\r\nhello\r\n",
    "shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "no CRLF behind": b"5\r\nhello0\r\n\r\n",
    "LF behind": b"5\r\nhello\n0\r\n\r\n",
    "CR behind": b"5\r\nhello\r0\r\n\r\n",
    "LF LF behind": b"5\r\nhello\n\n0\r\n\r\n",
    "two CRLF behind": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "LF behind the last": b"0\n\r\n",
    "LF for the end": b"0\r\n\n",
    "CR CR for the end": b"0\r\n\r\r\n",
    "a request for trailers": b"0\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a trailer without a name": b"0\r\n: x\r\n\r\n",
    "a trailer without a colon": b"0\r\nx\r\n\r\n",
    "space before the colon": b"0\r\nX : a\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "space before a trailer": b"0\r\n X: a\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: a\0\r\n\r\n",
    "LF in a trailer": b"0\r\nX: a\nY: b\r\n\r\n",
    "CR in a trailer": b"0\r\nX: a\rY: b\r\n\r\n",
    "a length in the trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "a coding in the trailers": b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    "a host in the trailers": b"0\r\nHOST: x\r\n\r\n",
    "a login in the trailers": b"0\r\nAuthorization: Basic eDp4\r\n\r\n",
    "too long an extension": b"5;" + b"x" * SIZE_LINE + b"\r\nhello\r\n",
    "an extension without an end": b"5;" + b"x" * SIZE_LINE,
    "too long a trailer": b"0\r\nX: " + b"a" * TRAILERS + b"\r\n\r\n",
    "a trailer without an end": b"0\r\nX: " + b"a" * TRAILERS,
    "too long trailers": b"0\r\n" + (b"X: " + b"a" * (TRAILERS // 8) + b"\r\n") * 8 + b"\r\n",
    "too many trailers": b"0\r\n" + b"X:\r\n" * (FIELDS + 1) + b"\r\n",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_is_spelled_otherwise_is_refused(body):
    """However it is cut; and what came before it is found all the same."""
    for before, content in ((b"", b""), (chunk(b"before"), b"before")):
        whole = decode([before + body + NEXT])
        assert whole[0].startswith(content)
        assert whole[1:] == (None, True)
        assert decode(bytewise(before + body + NEXT)) == whole


@pytest.mark.parametrize(
    "body", [b"x", b"\n", b" ", b"5 ", b"5\n", b"1\r\nax", b"1\r\na\rx", b"0\r\n ", b"0\r\n\rx"]
)
def test_a_byte_that_can_not_be_right_is_refused_at_once(body):
    """A client that waits for its answer sends nothing more."""
    assert decode([body])[2]
    assert decode(bytewise(body))[2]
    assert not decode([body[:-1]])[2]


EXTENSIONS = st.sampled_from([b"", b"", b";a", b';a="; \\" "', b";a=b;c"])
SECTIONS = st.sampled_from([b"", b"", b"X: y\r\n", b"A:\r\nB: \t c\r\n"])
BODIES = st.builds(
    lambda pieces, last, trailers: (
        b"".join(chunk(*each) for each in pieces) + b"0%b\r\n%b\r\n" % (last, trailers),
        b"".join(data for data, _ in pieces),
    ),
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=8),
    EXTENSIONS,
    SECTIONS,
)
PLACES = st.lists(st.integers(0, 1000), max_size=12)


@given(BODIES, PLACES)
def test_how_it_is_cut_changes_nothing_of_what_is_found(body, places):
    data, content = body
    assert decode(cut(data + NEXT, places)) == (content, len(data), False)
    assert by_llhttp(data + NEXT) == (content, len(data))


@given(st.lists(st.binary(max_size=30), max_size=5), PLACES)
def test_plain_chunks_are_read_as_by_hand(parts, places):
    data = b"".join(chunk(each) for each in parts if each) + LAST
    assert by_hand(data) == decode(cut(data, places))[:2]


EDITS = st.lists(
    st.tuples(
        st.integers(0, 1000),
        st.integers(0, 3),
        st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"0", b"1", b"f", b";", b'"', b" ", b"\0"]),
    ),
    min_size=1,
    max_size=3,
)


@given(BODIES, EDITS, PLACES)
@settings(max_examples=300)
def test_what_is_accepted_of_a_damaged_body_is_what_the_other_parser_finds(body, edits, places):
    data = body[0] + NEXT
    for place, length, more in edits:
        at = place % len(data)
        data = data[:at] + more + data[at + length :]
    whole = decode([data])
    assert decode(cut(data, places)) == whole
    content, end, _ = whole
    if end is not None:
        assert by_llhttp(data) == (content, end)


def test_a_chunk_may_be_larger_than_any_memory():
    decoder = ChunkedDecoder()
    assert list(decoder.feed(b"fffffffffffffff\r\nab", 0, 19)) == [(17, 19)]
    assert decoder.end is None


# --- where the parser stands ----------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [*(body for body, _ in GOOD), *(body for body in BAD.values() if len(body) < 99)],
)
def test_the_parser_stands_behind_the_head_where_it_is_said_to(body):
    """Wherever it was stopped before: in the head, in the body, or in the request before that."""
    stream = NEXT + HEAD + body + HEAD + chunked(b"ab\r\n\r\n")
    ends = {len(NEXT + HEAD), len(NEXT + HEAD + body + HEAD)}
    found = set()
    for stop in range(len(stream)):
        reader = parser()
        try:
            reader.feed_data(stream[:stop])
            head, end, _ = stream[stop:].partition(b"\r\n\r\n")
            messages = reader.feed_data(head + end)[0] if end else ()
        except Exception:  # noqa: BLE001, S112  whatever it refuses, it stands nowhere
            continue
        if len(messages) == 1 and begins_chunked_body(*messages[0]):
            found.add(stop + len(head + end))
    assert len(NEXT + HEAD) in found
    assert found <= ends
