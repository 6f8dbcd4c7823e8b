"""The access log: one line for each request, JSON for machines or text for people.

Clients choose parts of what is logged. So everything outside printable ASCII is escaped, long texts
are cut, headers other than ``User-Agent`` are not logged at all, and of the query only the values
of the API's own parameters are: elsewhere clients put tokens.
"""

import time
from typing import Final

import msgspec

from registry.http.observe import RequestRecord
from registry.logs import Sink, Writer, ascii_lines, escape, redact, rfc3339

_MAX_PATH: Final = 1024
_MAX_TEXT: Final = 256
_PARAMETERS: Final = frozenset(
    {
        "artifactType",
        "digest",
        "digest-algorithm",
        "from",
        "last",
        "mount",
        "n",
        "ns",
        "tag",
    }
)
_MILLISECONDS: Final = [f".{number:03d}Z" for number in range(1000)]


class AccessLog:
    """Takes records on the event loop; a thread makes lines of them."""

    def __init__(self, sink: Sink, *, text: bool, limit: int = 20_000) -> None:
        """Write to ``sink``, as text or JSON; hold at most ``limit`` records that wait for it."""
        self._writer = Writer(sink, text_lines if text else json_lines, limit=limit)
        self.put = self._writer.put
        self.close = self._writer.close

    @property
    def dropped(self) -> int:
        """How many records were dropped because the log could not be written quickly enough."""
        return self._writer.dropped


# Names and digests are texts of their own types.
_encoder = msgspec.json.Encoder(enc_hook=str)


def json_lines(records: list[RequestRecord]) -> bytes:
    """Write records as JSON lines. They are changed by it."""
    second, prefix = -1, ""
    for record in records:
        ended = float(record.time)
        whole = int(ended)
        if whole != second:
            second, prefix = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        record.time = prefix + _MILLISECONDS[int((ended - whole) * 1000)]
        record.seconds = round(record.seconds, 6)
        if record.query:
            record.query = visible_query(record.query)
        if len(record.path) > _MAX_PATH:
            record.path = record.path[:_MAX_PATH] + "..."
        if len(record.user_agent) > _MAX_TEXT:
            record.user_agent = record.user_agent[:_MAX_TEXT] + "..."
        if len(record.method) > 16:
            record.method = record.method[:16] + "..."
    try:
        lines = _encoder.encode_lines(records)
    except UnicodeEncodeError:
        for record in records:
            _drop_surrogates(record)
        lines = _encoder.encode_lines(records)
    return ascii_lines(lines)


def _drop_surrogates(record: RequestRecord) -> None:
    """Replace what the HTTP parser could not decode (bytes kept as lone surrogates)."""
    for name in ("method", "path", "query", "user_agent", "remote", "repository", "principal"):
        raw = getattr(record, name).encode("utf-8", "surrogateescape")
        setattr(record, name, raw.decode("utf-8", "backslashreplace"))


def visible_query(query: str) -> str:
    """Return the query with the values of the API's own parameters only."""
    shown = []
    for pair in query[:4096].split("&")[:20]:
        name, _, value = pair.partition("=")
        shown.append(f"{name}={redact(value[:_MAX_TEXT])}" if name in _PARAMETERS else "***")
    return "&".join(shown)


def text_lines(records: list[RequestRecord]) -> bytes:
    """Write records as lines for people."""
    return "".join(map(_text_line, records)).encode("ascii")


def _text_line(record: RequestRecord) -> str:
    target = record.path[:_MAX_PATH]
    if record.query:
        target += f"?{visible_query(record.query)}"
    line = (
        f"{rfc3339(float(record.time))} {record.status} {record.method[:16]} {target} "
        f"{record.seconds * 1000:.1f}ms"
    )
    if record.received:
        line += f" in={record.received}"
    if record.sent:
        line += f" out={record.sent}"
    if record.code:
        line += f" {record.code}"
    return escape(f"{line} {record.remote} {record.user_agent[:80]}".rstrip()) + "\n"
