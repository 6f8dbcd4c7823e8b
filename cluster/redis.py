"""Redis as a primary with two replicas, and three Sentinels that make another one primary."""

import secrets
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

from cluster.ports import take_port
from cluster.process import Process

NAMES = ("redis-1", "redis-2", "redis-3")
"""Host names of the nodes; a Sentinel runs beside each."""

SERVICE = "moorage"
"""What the Sentinels call the primary."""

_REDIS = """
bind 127.0.0.1
port {port}
dir {home}
requirepass {password}
masterauth {password}
save ""
appendonly no
maxmemory 128mb
maxmemory-policy allkeys-lru
# An isolated primary refuses writes within a second or two: nobody may trust what it says.
min-replicas-to-write 1
min-replicas-max-lag 1
repl-ping-replica-period 1
repl-diskless-sync-delay 0
replica-announce-ip {name}
replica-announce-port {port}
{replicaof}
"""

_SENTINEL = """
bind 127.0.0.1
port {sentinel_port}
dir {home}
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip {name}
sentinel announce-port {sentinel_port}
sentinel monitor {service} {primary} {primary_port} 2
sentinel auth-pass {service} {password}
sentinel down-after-milliseconds {service} 1000
sentinel failover-timeout {service} 5000
sentinel parallel-syncs {service} 2
"""


@final
class Redis:
    """Three Redis nodes and three Sentinels.

    They know each other by host names, so each runs with a hosts file (given to `build`), and so
    does whoever follows what a Sentinel says.
    """

    def __init__(self, home: Path) -> None:
        self.password = secrets.token_hex(16)
        self.ports = [take_port() for _ in NAMES]
        self.sentinel_ports = [take_port() for _ in NAMES]
        self.nodes: list[Process] = []
        self.sentinels: list[Process] = []
        self._home = home

    @property
    def services(self) -> dict[str, tuple[int, int]]:
        """The ports that each host name has: of the node, and of the Sentinel beside it."""
        pairs = zip(self.ports, self.sentinel_ports, strict=True)
        return dict(zip(NAMES, pairs, strict=True))

    @property
    def url(self) -> str:
        """What a replica follows the primary by: where the Sentinels are."""
        hosts = (f"{name}:{port}" for name, (_, port) in self.services.items())
        return f"redis+sentinel://{','.join(hosts)}/{SERVICE}"

    def build(self, server: str, sentinel: str, hosts: Path) -> None:
        """Say what is to be started; the first node begins as the primary."""
        for name, (port, sentinel_port) in self.services.items():
            home = self._home / name
            home.mkdir()
            known = {"name": name, "home": home, "port": port, "password": self.password}
            self.nodes.append(
                Process(
                    name,
                    [server, str(home / "redis.conf")],
                    log=self._home / f"{name}.log",
                    ready=lambda port=port: self.ask(port, "ping") == "PONG",
                    hosts=hosts,
                    prepare=partial(self._configure, known),
                )
            )
            known = known | {"sentinel_port": sentinel_port, "service": SERVICE}
            known |= {"primary": NAMES[0], "primary_port": self.ports[0]}
            (home / "sentinel.conf").write_text(_SENTINEL.format(**known))
            self.sentinels.append(
                Process(
                    f"sentinel-{name[-1]}",
                    [sentinel, str(home / "sentinel.conf")],
                    log=self._home / f"sentinel-{name[-1]}.log",
                    ready=lambda port=sentinel_port: self.ask(port, "ping") == "PONG",
                    hosts=hosts,
                )
            )

    def ask(self, port: int, *words: str) -> str:
        """Send a command to the node or Sentinel on a port; "" when it can't be reached."""
        secret = {"REDISCLI_AUTH": self.password} if port in self.ports else {}
        try:
            answer = subprocess.run(
                ["redis-cli", "-p", str(port), *words],
                env={"PATH": "/usr/bin:/bin"} | secret,
                capture_output=True,
                text=True,
                timeout=3,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ""
        return answer.stdout.strip()

    def primary(self) -> Process | None:
        """The node that the Sentinels hold for the primary; None where they don't agree."""
        name = self._primary_name()
        return None if name is None else self.nodes[NAMES.index(name)]

    def is_whole(self) -> bool:
        """Tell whether all Sentinels know one primary, and both other nodes follow it."""
        primary = self.primary()
        if primary is None or not all(node.is_ready() for node in self.nodes):
            return False
        port = self.ports[self.nodes.index(primary)]
        information = self.ask(port, "info", "replication")
        online = information.count("state=online")
        if "role:master" not in information or online != len(NAMES) - 1:
            return False
        known = [
            self.ask(port, "sentinel", "ckquorum", SERVICE).startswith("OK 3 usable")
            for port in self.sentinel_ports
        ]
        return all(known)

    def wait_until_whole(self, timeout: float = 60) -> None:
        """Wait for `is_whole`; TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.is_whole():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Redis is not whole after {timeout:g} s")
            time.sleep(0.1)

    def flush(self) -> None:
        """Forget everything (FLUSHALL on the primary)."""
        primary = self.primary()
        if primary is None or self.ask(self.ports[self.nodes.index(primary)], "flushall") != "OK":
            raise RuntimeError("there is no primary to flush")

    def _primary_name(self) -> str | None:
        said = set()
        for port, process in zip(self.sentinel_ports, self.sentinels, strict=True):
            if process.running and not process.frozen:
                said.add(self.ask(port, "sentinel", "get-master-addr-by-name", SERVICE))
        words = said.pop().split() if len(said) == 1 else []
        return words[0] if words else None

    def _configure(self, known: Mapping[str, Any]) -> None:
        """Let a node follow whoever is the primary now, as a container's start script would.

        Without it a node that was the primary and died would be one again, an empty one, until a
        Sentinel notices.
        """
        primary = self._primary_name() or NAMES[0]
        follows = f"replicaof {primary} {self.services[primary][0]}"
        text = _REDIS.format(**known, replicaof="" if primary == known["name"] else follows)
        (known["home"] / "redis.conf").write_text(text)
