"""Links between processes that can be cut, stalled or slowed down, through toxiproxy.

Every service of the cluster has a host name and a port. A process that is to be disturbed sees
these names through a hosts file of its own (Process mounts it), in which they all stand for one
loopback address that no other process uses; there toxiproxy listens on the services' ports and
passes on to where they really are. So whatever address a service announces (Sentinel does) leads
through the process's own links, and nothing but its links is disturbed.
"""

import http.client
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, final

from cluster.ports import LOOPBACK, take_port
from cluster.process import Process
from conformance.server import answers

Cut = Literal["refused", "silent"]
"""How a link fails: connections are refused and broken, or bytes go nowhere (a lost cable)."""


@final
class Links:
    """The toxiproxy of a cluster, and what each process sees through it.

    `services` gives the ports of each host name; all of them are on 127.0.0.1.
    """

    def __init__(self, program: str, home: Path, services: Mapping[str, Iterable[int]]) -> None:
        self._services = {name: tuple(ports) for name, ports in services.items()}
        self._home = home
        self._views: dict[str, str] = {}
        self._api = f"{LOOPBACK}:{take_port()}"
        host, _, port = self._api.partition(":")
        self.process = Process(
            "toxiproxy",
            [program, "-host", host, "-port", port],
            log=home / "toxiproxy.log",
            ready=lambda: answers(self._api, "/version"),
        )

    def hosts(self, viewer: str | None = None) -> Path:
        """Return a hosts file: the view of one process, or that of all whose links are plain.

        The links of a viewer are made when this is called, so the services need not run yet.
        """
        if viewer is None:
            return self._write_hosts("hosts", LOOPBACK)
        if viewer not in self._views:
            address = f"127.0.1.{len(self._views) + 1}"
            self._views[viewer] = address
            self._ask("POST", "/populate", self._proxies(viewer, address))
        return self._write_hosts(f"hosts-{viewer}", self._views[viewer])

    def cut(self, viewer: str, *names: str, how: Cut = "silent") -> None:
        """Cut the links of `viewer` to these hosts, until `mend`."""
        for link in self._links(viewer, names):
            if how == "refused":
                self._ask("POST", f"/proxies/{link}", {"enabled": False})
                continue
            for stream in ("upstream", "downstream"):
                # A time-out of 0 holds a connection open and drops what is sent over it; when
                # the toxic is taken away the connection is closed.
                self._poison(link, stream, "timeout", timeout=0)

    def slow(self, viewer: str, *names: str, milliseconds: int, kbytes: int | None = None) -> None:
        """Delay each answer, and bound both ways to so many kilobytes a second, until `mend`."""
        for link in self._links(viewer, names):
            self._poison(link, "downstream", "latency", latency=milliseconds, jitter=0)
            for stream in ("upstream", "downstream") if kbytes is not None else ():
                self._poison(link, stream, "bandwidth", rate=kbytes)

    def mend(self) -> None:
        """Make every link a good one again."""
        if self.process.running:
            self._ask("POST", "/reset", {})

    def _links(self, viewer: str, names: Iterable[str]) -> list[str]:
        return [f"{viewer}-{port}" for name in names for port in self._services[name]]

    def _proxies(self, viewer: str, address: str) -> list[dict[str, Any]]:
        return [
            {
                "name": f"{viewer}-{port}",
                "listen": f"{address}:{port}",
                "upstream": f"{LOOPBACK}:{port}",
                "enabled": True,
            }
            for ports in self._services.values()
            for port in ports
        ]

    def _poison(self, link: str, stream: str, kind: str, **attributes: int) -> None:
        toxic = {"name": f"{kind}-{stream}", "type": kind, "stream": stream}
        self._ask("POST", f"/proxies/{link}/toxics", toxic | {"attributes": attributes})

    def _write_hosts(self, name: str, address: str) -> Path:
        path = self._home / name
        lines = [f"{LOOPBACK} localhost", *(f"{address} {host}" for host in self._services)]
        path.write_text("\n".join(lines) + "\n")
        return path

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self._api, timeout=5)
        try:
            connection.request(method, path, body=json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"toxiproxy refused {method} {path}: {text.decode()}")
            return json.loads(text) if text else None
        finally:
            connection.close()
