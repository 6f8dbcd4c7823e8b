"""Any chunked body is refused, or found as the parser of aiohttp finds it, however it is cut."""

import random

from registry.http.chunked import ChunkedDecoder, MalformedError
from tests.oracle.chunks import HEAD, LAST, by_llhttp, chunk, chunked

SEEDS = (
    chunked(b"hello world", 4) + HEAD,
    chunk(b"hello", b';a=b;c="d e"') + b"0;f\r\nX-Trailer: yes\r\nY:\r\n\r\n" + HEAD,
    chunk(b"\r\n\r\n0\r\n\r\n") * 3 + LAST,
    chunk(b"x" * 300) + b"0000\r\n\r\n",
)


def check(data: bytes) -> None:
    """Cut differently it is the same body."""
    whole = _decode([data])
    rng = random.Random(data)  # noqa: S311 -- repeatable on purpose
    places = sorted(rng.randint(0, len(data)) for _ in range(5))
    assert _decode([data[at : at + 1] for at in range(len(data))]) == whole
    ends = zip([0, *places], [*places, len(data)], strict=True)
    assert _decode([data[at:end] for at, end in ends]) == whole
    content, end, _ = whole
    if end is not None:
        assert by_llhttp(data[:end]) == (content, end)


def _decode(pieces: list[bytes]) -> tuple[bytes, int | None, bool]:
    decoder, content, before = ChunkedDecoder(), b"", 0
    for piece in pieces:
        try:
            content += b"".join(piece[at:end] for at, end in decoder.feed(piece, 0, len(piece)))
        except MalformedError:
            return b"", None, True
        if decoder.end is not None:
            return content, before + decoder.end, False
        before += len(piece)
    return content, None, False
