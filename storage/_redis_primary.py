"""Finding the primary, and opening a connection to it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Connection, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

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
        self._key = key
        self.timeout = access.timeout

    async def connect(self) -> Session:
        """Find the primary and connect. ``CoordinationUnavailable`` says why it is not possible."""
        try:
            host, port = await self._locate()
            connection = self._connection(host, port)
            try:
                async with asyncio.timeout(2 * self._access.timeout):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    run_id = await _identify(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
        except (RedisError, RedisClusterException, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise CoordinationUnavailable(f"{self._address}: {reason}") from error
        return Session(connection, run_id, f"{host}:{port}")

    async def _locate(self) -> tuple[str, int]:
        if self._address.kind == "sentinel":
            return await self._ask_sentinels()
        if self._address.kind == "cluster":
            return await self._ask_cluster()
        return self._address.hosts[0]

    async def _ask_sentinels(self) -> tuple[str, int]:
        options = self._options(self._access.sentinel_username, self._access.sentinel_password)
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(self._address.hosts), sentinel_kwargs=options | self._times()
        )
        try:
            host, port = await sentinel.discover_master(self._address.name)
        finally:
            await sentinel.aclose()
        return str(host), int(port)

    async def _ask_cluster(self) -> tuple[str, int]:
        options = self._options(self._access.username, self._access.password)
        cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._address.hosts],
            **options,
            **self._times(),
        )
        try:
            await cluster.initialize()
            node = cluster.get_node_from_key(self._key)
        finally:
            await cluster.aclose()
        if node is None:
            raise RedisError("no node of the Cluster serves the key's slot")
        return str(node.host), int(node.port)

    def _times(self) -> dict[str, Any]:
        """A client of redis-py waits and retries for up to a minute, unless it is told not to."""
        return {
            "socket_timeout": self._access.timeout,
            "socket_connect_timeout": self._access.timeout,
            "retry": Retry(NoBackoff(), 0),
        }

    def _options(self, username: str, password: str) -> dict[str, Any]:
        options: dict[str, Any] = {"username": username or None, "password": password or None}
        if self._address.tls:
            options |= {"ssl": True, **self._tls()}
        return options

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl_ca_certs": self._access.ca or None,
            "ssl_certfile": self._access.certificate or None,
            "ssl_keyfile": self._access.key or None,
        }

    def _connection(self, host: str, port: int) -> Connection:
        # Without a time-out of its own: the link gives one to each round trip as a whole.
        kind, tls = (SSLConnection, self._tls()) if self._address.tls else (Connection, {})
        return kind(
            host=host,
            port=port,
            db=self._address.database,
            username=self._access.username or None,
            password=self._access.password or None,
            socket_timeout=None,
            socket_connect_timeout=self._access.timeout,
            protocol=2,
            driver_info=None,
            **tls,
        )


async def _identify(connection: Connection) -> str:
    """The run id of the server, which must be a primary of a version that will do."""
    found: dict[str, str] = {}
    for section in ("server", "replication"):
        await connection.send_command("INFO", section, check_health=False)
        text = (await connection.read_response()).decode()
        found |= dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = found.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise RedisError(f"Redis {version} is too old: 7.0 is the oldest that will do")
    if found.get("role") != "master" or "run_id" not in found:
        raise RedisError("it is a replica, not the primary")
    return found["run_id"]
