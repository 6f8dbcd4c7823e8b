"""One connection to the primary that all tasks share, and what becomes of it when it fails.

**One batch is in flight at a time.** What tasks ask while it is goes into the next one: under load
a round trip serves many requests, without it none waits. A command joins only a batch that has not
been sent, so that what it learns is not older than the question.

**Tasks never touch the connection.** Commands are sent, and replies read, by one task of the link.
A request that is cancelled leaves a future that nobody waits for; no reply can reach another one
(CVE-2023-28858, CVE-2023-28859: a connection that went back to its pool with a reply outstanding).

**The link is its own circuit breaker.** A round trip that takes too long, a broken connection, or
an error in place of a reply ends it; everything that waits fails at once, and so does all that
comes, until one probe at a time, in growing pauses, has found a primary again.
"""

import asyncio
import random
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Protocol, final

from hiredis import pack_command
from redis.exceptions import RedisError, ResponseError

from storage._redis_primary import Primary, Session
from storage.coordination import CoordinationUnavailable

Command = tuple[str | int, ...]
# its stub is wrong: a tuple of one
_pack: Callable[[Command], bytes] = pack_command  # type: ignore[assignment]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_STEADY: Final = 2.0
"""A session that lasted for so many seconds is followed by another without a pause."""


class Ask(Protocol):
    """One command and what becomes of its answer. No method may raise, or take long."""

    def command(self) -> Command:
        """The command as it is when its batch leaves; called once."""
        ...

    def reply(self, value: Any) -> None:
        """Take the answer."""
        ...

    def fail(self, error: CoordinationUnavailable) -> None:
        """There is no answer. The command may have been carried out, or may yet be."""
        ...


class LinkListener(Protocol):
    """Told of what happens to a link, in its own task. Must not raise, or take long."""

    def connected(self, session: Session) -> None:
        """Commands are taken from now on."""
        ...

    def disconnected(self, reason: str) -> None:
        """A session has ended, or none could be had."""
        ...

    def round_trip(self, commands: int, seconds: float) -> None:
        """A batch has been answered."""
        ...


class _Call:
    """A command whose answer goes to a future."""

    __slots__ = ("_command", "future")

    def __init__(self, command: Command) -> None:
        self._command = command
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def command(self) -> Command:
        return self._command

    def reply(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: CoordinationUnavailable) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # whoever asked may be gone: then nobody need hear of it


@final
class Link:
    """Sends commands to the primary, in the order in which they were given."""

    def __init__(self, primary: Primary, listener: LinkListener) -> None:
        """Connect with ``run``; until then nothing is sent."""
        self._primary = primary
        self._listener = listener
        self._up = False
        self._waiting: list[Ask] = []
        self._wake = asyncio.Event()
        self._reason = "not connected yet"
        self._drop = ""
        self.watch: Callable[[Command, asyncio.Future[Any]], None] | None = None
        """Told, in the task that asks, of each command and of the future that brings the answer."""

    @property
    def up(self) -> bool:
        """Whether commands are taken."""
        return self._up

    @property
    def waiting(self) -> int:
        """How many commands the next batch has."""
        return len(self._waiting)

    def send(self, ask: Ask) -> None:
        """Ask it with the next batch. ``CoordinationUnavailable`` where there is no connection."""
        if not self._up:
            raise CoordinationUnavailable(self._reason)
        self._waiting.append(ask)
        self._wake.set()

    def call(self, *command: str | int) -> "asyncio.Future[Any]":
        """Send a command; the future brings the answer, or ``CoordinationUnavailable``.

        Cancelling the future recalls nothing.
        """
        call = _Call(command)
        self.send(call)
        if self.watch is not None:
            self.watch(command, call.future)
        return call.future

    def drop(self, reason: str) -> None:
        """End the session, if there is one, and look for the primary anew."""
        if self._up:
            self._drop = reason
            self._wake.set()

    async def run(self) -> None:
        """Stay connected, as well as it goes, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311 - no secret
            pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            began = loop.time()
            try:
                await self._serve(await self._primary.connect())
            except CoordinationUnavailable as error:
                self._reason = str(error)
                self._listener.disconnected(self._reason)
            if loop.time() - began > _STEADY:
                pause = 0.0

    async def _serve(self, session: Session) -> None:
        """Serve until it fails."""
        taken: list[Ask] = []
        self._up, self._drop = True, ""
        try:
            self._listener.connected(session)
            while not self._drop:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    taken, self._waiting = self._waiting, []
                    await self._exchange(session, taken)
                    taken = []
            raise CoordinationUnavailable(f"{session.where}: {self._drop}")
        except TimeoutError as error:
            reason = f"{session.where}: no answer within {self._primary.timeout} s"
            raise CoordinationUnavailable(reason) from error
        except (RedisError, OSError) as error:
            raise CoordinationUnavailable(f"{session.where}: {error}") from error
        finally:
            self._up = False
            left, self._waiting = [*taken, *self._waiting], []
            cut = CoordinationUnavailable(f"{session.where}: the connection has ended")
            for ask in left:
                ask.fail(cut)
            await session.connection.disconnect(nowait=True)

    async def _exchange(self, session: Session, batch: list[Ask]) -> None:
        """Send a batch and hand out the answers. An error among them ends the session."""
        connection = session.connection
        start = perf_counter()
        refused: ResponseError | None = None
        async with asyncio.timeout(self._primary.timeout):
            packed = b"".join([_pack(ask.command()) for ask in batch])
            await connection.send_packed_command(packed, check_health=False)
            for ask in batch:
                try:
                    answer = await connection.read_response()
                except ResponseError as error:
                    refused = error
                    ask.fail(CoordinationUnavailable(f"{session.where}: {error}"))
                else:
                    ask.reply(answer)
        self._listener.round_trip(len(batch), perf_counter() - start)
        if refused is not None:
            # No primary any more, no rights, a script that is not understood: whatever it is,
            # this server is of no use now.
            raise refused
