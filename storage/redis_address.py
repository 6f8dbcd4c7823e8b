"""Where Redis is, and how to get in: parsed from the settings, used by the driver."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, Self, cast

Kind = Literal["standalone", "sentinel", "cluster"]

_PORTS: Final[dict[Kind, int]] = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}
_URL: Final = re.compile(
    r"(?P<scheme>rediss?)(?:\+(?P<kind>sentinel|cluster))?://(?P<hosts>[^/?#@]+)(?P<path>/[^?#@]*)?",
    re.ASCII,
)
_HOST: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)
_EXAMPLES: Final = (
    "redis://HOST:6379/0, redis+sentinel://HOST:26379,HOST:26379/PRIMARY or "
    "redis+cluster://HOST:6379,HOST:6379 (rediss for TLS)"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server, the Sentinels that know it, or some nodes of a Cluster.

    ``name`` is what the Sentinels call the primary; ``database`` is always 0 in a Cluster.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    database: int = 0
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL, as the settings have it. ``ValueError`` says what is wrong with it.

        Credentials are refused: a URL ends up in logs and process lists.
        """
        if "@" in text:
            raise ValueError(
                "user and password do not go in the URL: there are coordination.redis.username "
                "and .password"
            )
        found = _URL.fullmatch(text)
        if found is None:
            raise ValueError(f"expected a URL such as {_EXAMPLES}, got {text!r}")
        kind: Kind = cast("Kind", found["kind"] or "standalone")
        hosts = tuple([_host(host, _PORTS[kind]) for host in found["hosts"].split(",")])
        path = (found["path"] or "").removeprefix("/")
        if kind == "standalone" and len(hosts) > 1:
            raise ValueError("one server only; several are redis+sentinel:// or redis+cluster://")
        name, database = "", path
        if kind == "sentinel":
            name, _, database = path.partition("/")
            if not _NAME.fullmatch(name):
                raise ValueError(
                    "the path is the name that the Sentinels have for the primary, as in "
                    "redis+sentinel://HOST:26379/mymaster"
                )
        if kind == "cluster" and database not in ("", "0"):
            raise ValueError("a Cluster has database 0 only")
        if database and not (database.isascii() and database.isdigit() and len(database) < 4):
            raise ValueError(f"the path is the number of a database, got {database!r}")
        return cls(kind, hosts, found["scheme"] == "rediss", int(database or 0), name)

    def __str__(self) -> str:
        scheme = "rediss" if self.tls else "redis"
        kind = "" if self.kind == "standalone" else f"+{self.kind}"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        path = "/".join(part for part in (self.name, str(self.database or "")) if part)
        return f"{scheme}{kind}://{hosts}{path and '/'}{path}"


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """Who we are to Redis and to the Sentinels, and how long they may take to answer.

    ``certificate`` and ``key`` are files for mutual TLS, ``ca`` one with the authorities that are
    trusted instead of the system's; they are read anew with each connection.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""
    timeout: float = 0.5


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no host:port; an IPv6 address goes in brackets")
    number = int(found["port"] or port)
    if not 0 < number < 65536:
        raise ValueError(f"a port is from 1 to 65535, got {number}")
    return found["six"] or found["name"], number
