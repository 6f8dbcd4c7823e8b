"""Every request's way: find the room that answers it, tell of what went wrong, account for it."""

import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Protocol

from aiohttp.web import BaseRequest, StreamResponse

from auth.identity import ANONYMOUS
from registry.http.answer import Answer
from registry.http.failures import refused
from registry.http.observe import Observer, RequestRecord
from registry.spec.errors import RegistryError, RouteUnknown, encode

CLIENT_GONE = 499
"""What the access log says where the client left before its answer."""


class Room(Protocol):
    """Answers some of the paths."""

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """The answer, or ``None`` where the path is another's.

        It fills in what it finds out: ``action``, ``repository``, ``principal``. What it raises of
        ``RegistryError`` is the client's answer.
        """
        ...


class Span(Protocol):
    """The span of one request."""

    def end(self, record: RequestRecord, answer: Answer | None) -> None:
        """The request is answered, or was given up without an answer."""
        ...


class Spans(Protocol):
    """Traces requests, on the event loop; never raises."""

    def begin(self, http: BaseRequest, record: RequestRecord) -> Span:
        """Begin the span of a request, in the task that answers it."""
        ...


class Endpoint:
    """Answers all requests of one process."""

    def __init__(
        self, rooms: Sequence[Room], observer: Observer, spans: Spans | None = None
    ) -> None:
        """Ask ``rooms`` in order; tell ``observer`` of each request once."""
        self._rooms = rooms
        self._observer = observer
        self._spans = spans
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, http: BaseRequest) -> StreamResponse:
        """Answer one request. Whatever happens, the client gets the API's JSON or a cut line."""
        began = time.perf_counter()
        path, _, query = http.raw_path.partition("?")
        record = RequestRecord(
            request_id=f"{self._prefix}-{next(self._numbers):x}",
            method=http.method,
            path=path,
            query=query,
            remote=http.remote or "",
            user_agent=http.headers.get("User-Agent", ""),
            principal=ANONYMOUS.name,
            status=CLIENT_GONE,
        )
        self._observer.started()
        span = self._spans.begin(http, record) if self._spans is not None else None
        answer: Answer | None = None
        try:
            answer = await self._answer(http, record)
            record.status = answer.status
            record.sent = answer.sent(http)
        finally:
            record.time = time.time()
            record.seconds = time.perf_counter() - began
            record.received = http.content.total_bytes
            if span is not None:
                span.end(record, answer)
            self._observer.finished(record)
        return answer

    async def _answer(self, http: BaseRequest, record: RequestRecord) -> Answer:
        try:
            if (broken := http.content.exception()) is not None:
                raise broken  # noqa: TRY301  what came with the head is no body
            for room in self._rooms:
                answer = await room.answer(http, record)
                if answer is not None:
                    return answer
            raise RouteUnknown  # noqa: TRY301
        except Exception as error:
            found = refused(error, record.request_id)
            if found is None:
                raise
            return _refusal(found, record)


def _refusal(error: RegistryError, record: RequestRecord) -> Answer:
    record.code = error.code
    headers = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", record.request_id),
        *error.lines(),
    ]
    return Answer(error.status, headers, encode(error))
