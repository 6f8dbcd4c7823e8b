"""Finding the primary, and opening a connection to it.

Sentinels and Clusters are asked here, over the library's connection, and not by its clients for
them: those wait and retry for longer than a request may take, and the one for Clusters (redis-py
8.1) swallows the cancellation of the task that it runs in.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import RedisError

from storage.coordination import CoordinationUnavailable
from storage.redis_address import RedisAccess, RedisAddress

_OLDEST: Final = (7, 0)


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to a primary, and the run id of that one process."""

    connection: Connection
    run_id: str
    where: str


class Primary:
    """Where the primary is that holds ``key``: asked anew for each connection."""

    def __init__(self, address: RedisAddress, access: RedisAccess, key: str) -> None:
        """Connect to what ``address`` leads to; ``key`` tells the node of a Cluster."""
        self._address = address
        self._access = access
        self._slot = key_slot(key.encode())
        self.timeout = access.timeout

    async def connect(self) -> Session:
        """Find the primary and connect. ``CoordinationUnavailable`` says why it is not possible."""
        try:
            host, port = await self._locate()
            connection = await self._open(host, port)
            try:
                async with asyncio.timeout(self.timeout):
                    run_id = await _identify(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
        except (RedisError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise CoordinationUnavailable(f"{self._address}: {reason}") from error
        return Session(connection, run_id, f"{host}:{port}")

    async def _locate(self) -> tuple[str, int]:
        """Where the primary is, as the first says who answers."""
        if self._address.kind == "standalone":
            return self._address.hosts[0]
        error: Exception = RedisError("no host is given")
        for host, port in self._address.hosts:
            try:
                if self._address.kind == "sentinel":
                    return await self._ask_sentinel(host, port)
                return await self._ask_node(host, port)
            except (RedisError, OSError, ValueError, LookupError, TypeError) as failure:
                error = failure
        raise RedisError(f"none of its hosts knows the primary: {error}") from error

    async def _ask_sentinel(self, host: str, port: int) -> tuple[str, int]:
        name = self._address.name
        found = await self._ask(host, port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        if found is None:
            raise RedisError(f"the Sentinel at {host}:{port} knows no primary {name!r}")
        return found[0].decode(), int(found[1])

    async def _ask_node(self, host: str, port: int) -> tuple[str, int]:
        for first, last, (name, number, *_), *_ in await self._ask(host, port, "CLUSTER", "SLOTS"):
            if first <= self._slot <= last:
                # a node that does not know its own address leaves it out
                return (name or b"").decode() or host, int(number)
        raise RedisError(f"no node of the Cluster serves hash slot {self._slot}")

    async def _ask(self, host: str, port: int, *command: str) -> Any:
        connection = await self._open(host, port, sentinel=self._address.kind == "sentinel")
        try:
            async with asyncio.timeout(self.timeout):
                await connection.send_command(*command, check_health=False)
                return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)

    async def _open(self, host: str, port: int, *, sentinel: bool = False) -> Connection:
        access = self._access
        kind, tls = (SSLConnection, self._tls()) if self._address.tls else (Connection, {})
        username = access.sentinel_username if sentinel else access.username
        password = access.sentinel_password if sentinel else access.password
        connection = kind(
            host=host,
            port=port,
            db=0 if sentinel else self._address.database,
            username=username or None,
            password=password or None,
            # The link gives a time-out to each round trip as a whole.
            socket_timeout=None,
            socket_connect_timeout=self.timeout,
            protocol=2,
            driver_info=None,
            **tls,
        )
        try:
            async with asyncio.timeout(self.timeout):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl_ca_certs": self._access.ca or None,
            "ssl_certfile": self._access.certificate or None,
            "ssl_keyfile": self._access.key or None,
        }


async def _identify(connection: Connection) -> str:
    """The run id of the server, which must be a primary of a version that will do."""
    found: dict[str, str] = {}
    for section in ("server", "replication"):
        await connection.send_command("INFO", section, check_health=False)
        text = (await connection.read_response()).decode()
        found |= dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = found.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise RedisError(f"Redis {version} is too old: {oldest} is the oldest that will do")
    if found.get("role") != "master" or "run_id" not in found:
        raise RedisError("it is a replica, not the primary")
    return found["run_id"]
