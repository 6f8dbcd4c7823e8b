"""HTTP to one bucket: connections, time-outs, repetitions.

Requests are made here and not by aiobotocore's client, which takes four to five times the
processor time for each (see the decision on it); credentials and signatures are botocore's.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, TypeVar, cast, final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from storage._s3_settings import S3Settings, escaped
from storage._s3_sign import Signer, query_string
from storage._s3_xml import error_code
from storage.ports import Unavailable

T = TypeVar("T")
U = TypeVar("U")
Piece = bytes | memoryview
"""Bytes that nobody changes any more."""

_log = logging.getLogger("moorage.storage")

_TRIES: Final = 6
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_UNDONE: Final = ("SlowDown", "AccessDenied")
"""Codes of refusals that say that nothing was done."""

_BUSY_CODES: Final = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
        "InternalError",
    }
)
_DENIALS: Final = 3
"""Tries of a PUT that is denied: MinIO also says so where another call removes the directory that
it writes to (``errFileAccessDenied``)."""

_SMALL: Final = 64 * 1024
_STRIDE: Final = 1024 * 1024
"""Bytes of a body that are given to the connection in one step, each with a time-out of its own."""

_READ_AHEAD: Final = 256 * 1024


class CallObserver:
    """Told of each request to the store. Must not raise, and must be quick."""

    def __call__(self, operation: str, outcome: str, seconds: float) -> None:
        """``outcome``: the status's class (``2xx``…), or ``error`` where no answer came."""


@final
class Body(aiohttp.payload.Payload):
    """Pieces of a request's body, sent without joining them; may be sent more than once.

    ``TimeoutError`` where the store takes nothing for ``seconds``.
    """

    def __init__(self, pieces: Sequence[Piece], seconds: float) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._pieces = pieces
        self._seconds = seconds
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        """No text; only asked for where a body is shown."""
        return f"{self._size} bytes"

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it, waiting for the store where it does not keep up."""
        for piece in self._pieces:
            with memoryview(piece) as view:
                for start in range(0, len(view), _STRIDE):
                    async with asyncio.timeout(self._seconds):
                        await writer.write(view[start : start + _STRIDE])

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002
    ) -> None:
        """As ``write``: the length is that of the pieces."""
        await self.write(writer)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``signed``: the signature covers the body too."""

    operation: str
    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[Piece] = ()
    signed: bool = False
    seconds: float | None = None
    """For the call, instead of what is set."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``repeated``: an earlier try may have taken effect too."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool

    @property
    def code(self) -> str:
        """The error's code, where it has one (answers to HEAD have none)."""
        return error_code(self.body)[0]


@final
class Wire:
    """Sends requests for keys of one bucket."""

    def __init__(
        self,
        settings: S3Settings,
        signer: Signer,
        observe: Callable[..., None],
        traces: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        """Use ``open`` before anything else."""
        self.bucket = settings.bucket
        self.prefix = settings.prefix
        self.read_seconds = settings.read_seconds
        self._settings = settings
        self._signer = signer
        self._observe = observe
        self._traces = traces
        self._base = settings.base_url(signer.region)
        self._bucket = settings.base_url(signer.region).removesuffix(escaped(settings.prefix))
        self._public = settings.base_url(signer.region, settings.public_endpoint)
        self._session: aiohttp.ClientSession | None = None
        self.connections = settings.connections
        self.in_flight = 0
        """Requests that have a connection, or wait for one."""

    async def open(self) -> None:
        """Make the pool of connections; none is opened yet."""
        settings = self._settings
        context: ssl.SSLContext | bool = True
        if self._base.startswith("https:"):
            context = await asyncio.to_thread(_trusting, settings.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.connections, keepalive_timeout=20, ttl_dns_cache=30, ssl=context
            ),
            timeout=aiohttp.ClientTimeout(
                sock_connect=settings.connect_seconds, sock_read=settings.read_seconds
            ),
            headers={"Accept-Encoding": "identity", "User-Agent": "moorage"},
            skip_auto_headers={"Content-Type"},
            auto_decompress=False,
            read_bufsize=_READ_AHEAD,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=list(self._traces),
        )
        # It would repeat a PUT whose answer was lost, and not tell: see ``Answer.repeated``.
        self._session._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def call(self, request: Request) -> Answer:
        """Make a request until it is answered, and return the answer, whatever its status.

        Overload, time-outs and broken connections are tried again, with pauses that grow, and a
        PUT that is denied twice; ``Unavailable`` when the tries or the time are used up.
        """
        seconds = request.seconds or self._settings.total_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._tries(request)
        except TimeoutError:
            raise Unavailable(self._subject(request), f"no answer in {seconds:g} s") from None

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET something large: the answer's body is left to the caller. One try."""
        with self._counted():
            async with await self._send(request) as response:
                yield response

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def presign(self, key: str, query: dict[str, str], seconds: int) -> str:
        """A URL for one GET of the key, at the public endpoint."""
        return await self._signer.presign(self._public + escaped(key), query, seconds)

    async def _tries(self, request: Request) -> Answer:
        repeated = False
        for number in range(1, _TRIES + 1):
            wanted = 0.0
            try:
                with self._counted():
                    async with await self._send(request) as response:
                        body = await response.read()
                        answer = Answer(response.status, response.headers, body, repeated)
                denied = request.method == "PUT" and answer.code == "AccessDenied"
                if not _busy(answer) and not (denied and number < _DENIALS):
                    return answer
                why = f"{answer.status} {answer.code}".strip()
                asked = answer.headers.get("Retry-After", "")
                wanted = float(asked) if asked.isdecimal() else 0.0
                repeated |= answer.code not in _UNDONE
            except (aiohttp.ClientError, OSError) as error:
                why = str(error) or type(error).__name__
                repeated = True
            if number < _TRIES:
                _log.debug("%s %s is tried again: %s", request.operation, request.key, why)
                # the store may ask for a longer pause; the time of the whole call is bounded
                await asyncio.sleep(max(pause_before(number + 1), wanted))
        raise Unavailable(self._subject(request), f"the store does not answer: {why}")

    def _subject(self, request: Request) -> str:
        """What an error is about: a listing has no key."""
        return request.key or f"bucket {self.bucket} ({request.operation})"

    async def _send(self, request: Request) -> Any:
        assert self._session is not None  # noqa: S101  open() was forgotten
        base = self._base if request.key else self._bucket
        url = base + escaped(request.key)
        if request.query:
            url += "?" + query_string(dict(request.query))
        headers = await self._signer.sign(
            request.method,
            url,
            request.headers,
            b"".join(request.body) if request.signed else None,
        )
        began = perf_counter()
        outcome = "error"
        try:
            response = await self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=headers,
                data=self._payload(request),
                allow_redirects=False,
                trace_request_ctx=request.operation,
            )
            outcome = f"{response.status // 100}xx"
        finally:
            self._observe(request.operation, outcome, perf_counter() - began)
        return response

    def _payload(self, request: Request) -> Body | bytes | None:
        if request.method not in ("PUT", "POST"):
            return None
        if sum(map(len, request.body)) <= _SMALL:
            return b"".join(request.body)
        return Body(request.body, self._settings.read_seconds)


def _busy(answer: Answer) -> bool:
    if answer.status in _BUSY:
        return True
    return answer.status in (400, 409) and answer.code in _BUSY_CODES


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # an unreadable file, or one that is no PEM
        raise Unavailable(ca_file, f"authorities can't be read from it: {error}") from error


def pause_before(number: int) -> float:
    """The seconds to wait before the try of that number, from 2: more each time, not all alike."""
    longest = min(_FIRST_PAUSE * 2 ** (number - 2), _LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311  no secret


async def all_of(steps: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run steps at a time; all have ended when an error of one is raised, or it is cancelled."""
    if len(steps) == 1:
        return [await steps[0]]
    found = await asyncio.gather(*steps, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


async def both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """``all_of`` for two steps with results of two kinds."""
    first, second = await all_of([one, other])
    return cast("tuple[T, U]", (first, second))
