"""What is known of a finished request, and who is told."""

from typing import Protocol

import msgspec


class RequestRecord(msgspec.Struct, kw_only=True, tag_field="log", tag="access"):
    """One request, as the access log and the metrics see it.

    Texts that come from the client (``method``, ``path``, ``query``, ``user_agent``) are taken raw:
    the access log cuts and escapes them.
    """

    time: float | str = 0.0
    """When it ended: Unix seconds, and RFC 3339 once it is written."""

    request_id: str = ""
    method: str = ""
    path: str = ""
    """The raw path, without the query."""

    query: str = ""
    """The raw query; the access log keeps only the values that can't be secrets."""

    action: str = ""
    """What was asked for (``manifest.get``), ``""`` where no route fits. A closed list."""

    repository: str = ""
    status: int = 0
    code: str = ""
    """The error code of the answer, ``""`` if it was none."""

    received: int = 0
    """Bytes of the request's body."""

    sent: int = 0
    """Bytes of the answer's body."""

    seconds: float = 0.0
    remote: str = ""
    principal: str = ""
    user_agent: str = ""
    upload: str = ""
    """The upload session that was asked for or opened: the start of its id, which opens nothing."""

    trace_id: str = ""
    """The trace that has a span of it, ``""`` if none has."""


class Observer(Protocol):
    """Told of every request, on the event loop; never blocks, never raises."""

    def started(self) -> None:
        """A request came in."""
        ...

    def finished(self, record: RequestRecord) -> None:
        """The request is answered, or given up. ``record`` belongs to the observer from here."""
        ...
