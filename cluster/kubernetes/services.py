"""Services: an address each, behind which HAProxy has the pods that say that they are ready."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.balancer import REPEATS, tell
from cluster.kubernetes.network import NETWORK, answers, ip, port_of
from cluster.process import Process

_DEFAULTS = """\
global
    stats socket {home}/haproxy.sock mode 600 level admin

defaults
    mode tcp
    # As an Ingress does: a connection that can't be made is made to another pod.
    option redispatch 1
    retries 3
    timeout connect 2s
    timeout client 300s
    timeout server 300s"""


class Services:
    """The Services with an address of their own, over `slots`: addresses that pods may have.

    What clients reach by the Service named `edge` goes through an Ingress: it speaks HTTP, and
    repeats what it may.
    """

    def __init__(self, objects: Sequence[Mapping[str, Any]], edge: str = "") -> None:
        self._edge = edge
        found = [
            each
            for each in objects
            if each["kind"] == "Service" and each["spec"].get("clusterIP") != "None"
        ]
        self.addresses = {
            each["metadata"]["name"]: f"{NETWORK}.2.{number}"
            for number, each in enumerate(found, 1)
        }
        self._specs = {each["metadata"]["name"]: each["spec"] for each in found}
        self._probed: dict[str, tuple[int, str, bool]] = {}
        self._process: Process | None = None
        self._control: Path | None = None
        self._servers: dict[str, list[str]] = {}

    def start(
        self,
        haproxy: str,
        home: Path,
        workloads: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
    ) -> None:
        """Begin; `workloads` are pods' templates, and the addresses that such pods may have."""
        parts = [_DEFAULTS.format(home=home)]
        self._control = home / "haproxy.sock"
        for name, address in self.addresses.items():
            ip(f"addr add {address}/16 dev bridge")
            spec = self._specs[name]
            template, slots = next(
                (template, slots)
                for template, slots in workloads
                if spec["selector"].items() <= template["metadata"]["labels"].items()
            )
            (container,) = template["spec"]["containers"]
            parts += self._listen(name, address, spec, container, slots)
        config = home / "haproxy.cfg"
        config.write_text("\n".join(parts) + "\n")
        self._process = Process(
            "haproxy",
            [haproxy, "-db", "-f", str(config)],
            log=home / "haproxy.log",
            ready=self._control.exists,
        )
        self._process.start()

    def _listen(
        self,
        name: str,
        address: str,
        spec: Mapping[str, Any],
        container: Mapping[str, Any],
        slots: Sequence[str],
    ) -> list[str]:
        probe = container["readinessProbe"]
        path, secure = probe["httpGet"]["path"], probe["httpGet"].get("scheme") == "HTTPS"
        self._probed[name] = (spec["ports"][0]["port"], path, secure)
        check = f"check inter {probe['periodSeconds']}s fall {probe.get('failureThreshold', 3)}"
        check += " rise 1" + (" check-ssl verify none" if secure else "")
        parts = []
        for port in spec["ports"]:
            inner = port_of(container, port["targetPort"])
            parts.append(f"listen {name}-{port['name']}\n    bind {address}:{port['port']}")
            parts.append(f"    option httpchk GET {path}\n    balance roundrobin")
            if name == self._edge:
                parts.append(f"    mode http\n    option http-no-delay\n{REPEATS}")
            for number, slot in enumerate(slots):
                parts.append(f"    server {number} {slot}:{inner} {check}")
                self._servers.setdefault(slot, []).append(f"{name}-{port['name']}/{number}")
        return parts

    def join(self, address: str) -> None:
        """Take a pod in that has begun: it gets connections when it says that it is ready."""
        self._state(address, "ready")

    def leave(self, address: str) -> None:
        """Take a pod out that is told to end: at once, whatever it says of itself."""
        self._state(address, "maint")

    def _state(self, address: str, state: str) -> None:
        for server in self._servers.get(address, ()):
            assert self._control is not None
            tell(self._control, f"set server {server} state {state}")

    def waiting(self) -> list[str]:
        """Those that lead to no pod that is ready."""
        return [
            name
            for name, (port, path, secure) in self._probed.items()
            if not answers(self.addresses[name], port, path, 2, secure=secure)
        ]

    def close(self) -> None:
        """End the balancer."""
        if self._process is not None:
            self._process.kill()
