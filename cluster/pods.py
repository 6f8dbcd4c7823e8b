"""Pods of rendered manifests, run on this machine without a kubelet.

Each pod gets a network of its own on a bridge, and each of its containers a file system of its own:
the machine's, with the pod's volumes over it, read-only where the manifest says so. Commands,
arguments, environment, ports, probes and volumes are those of the manifest. What is left out:
images (programs are those of this machine), users, resources and network policies.

It needs root, and to be run in namespaces of its own: `unshare --net --mount python …`.
"""

import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

from cluster.process import Process

_PROGRAMS = Path(__file__).resolve().parent.parent
_PATH = os.pathsep.join(
    [f"{_PROGRAMS}/.venv/bin", f"{_PROGRAMS}/.tools/bin", "/usr/sbin:/usr/bin:/sbin:/bin"]
)
_NETWORK = "10.99"
_LOOK_SECONDS = 0.5
_START_SECONDS = 180
_RESTART_SECONDS = 1.0
_DEFAULTS = """\
defaults
    mode tcp
    # As an Ingress does: a connection that can't be made is made to another pod.
    option redispatch 1
    retries 3
    timeout connect 2s
    timeout client 300s
    timeout server 300s"""
_RUN = """\
set -e
mount -t tmpfs tmpfs {root}
mkdir {root}/upper {root}/work {root}/merged
mount -t overlay -o lowerdir=/,upperdir={root}/upper,workdir={root}/work overlay {root}/merged
mount --rbind /dev {root}/merged/dev
mount -t proc proc {root}/merged/proc
{mounts}
mkdir -p {root}/merged{programs}
mount --bind {programs} {root}/merged{programs}
mount --bind {hosts} {root}/merged/etc/hosts
{read_only}
exec chroot {root}/merged "$@"
"""


@dataclass(slots=True)
class Pod:
    """A pod: its name, address, labels, and the processes of its containers."""

    name: str
    service: str
    address: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    node: int
    pause: subprocess.Popen[bytes] | None = None
    containers: dict[str, Process] = field(default_factory=dict)
    restarts: int = 0
    wanted: bool = True

    def kill(self) -> None:
        """End all its processes at once; it is not started anew."""
        self.wanted = False
        for process in self.containers.values():
            process.kill()


@final
class Pods:
    """The workloads of some manifests.

    `secrets` are the contents of Secrets, by name and key; `programs` the entry points of images,
    by the name of a container that has no command. The pods of each workload are on as many `nodes`
    in turn.
    """

    def __init__(
        self,
        home: Path,
        objects: Sequence[Mapping[str, Any]],
        *,
        secrets: Mapping[str, Mapping[str, str]],
        programs: Mapping[str, Sequence[str]],
        haproxy: str,
        nodes: int = 4,
    ) -> None:
        self._home = home
        self._secrets = secrets
        self._programs = programs
        self._haproxy = haproxy
        self._maps = {
            each["metadata"]["name"]: each["data"]
            for each in objects
            if each["kind"] == "ConfigMap"
        }
        self._ended = threading.Event()
        self.pods = list(self._place(objects, nodes))
        self.services = self._balanced(objects)
        self._balancer: Process | None = None

    def _place(self, objects: Sequence[Mapping[str, Any]], nodes: int) -> Iterator[Pod]:
        number = 0
        for each in objects:
            if each["kind"] not in {"Deployment", "StatefulSet"}:
                continue
            spec, name = each["spec"], each["metadata"]["name"]
            for ordinal in range(spec.get("replicas", 3)):
                number += 1
                yield Pod(
                    name=f"{name}-{ordinal}",
                    service=spec.get("serviceName", ""),
                    address=f"{_NETWORK}.1.{number}",
                    labels=spec["template"]["metadata"]["labels"],
                    spec=spec["template"]["spec"],
                    node=ordinal % nodes,
                )

    def _balanced(self, objects: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, Any]]:
        found = [
            each
            for each in objects
            if each["kind"] == "Service" and each["spec"].get("clusterIP") != "None"
        ]
        return {
            each["metadata"]["name"]: (f"{_NETWORK}.2.{number}", each["spec"])
            for number, each in enumerate(found, 1)
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all, and wait until each pod and Service is ready; TimeoutError names the rest."""
        _ip("link add bridge type bridge", f"addr add {_NETWORK}.0.1/16 dev bridge")
        _ip("link set bridge up", "link set lo up")
        lines = ["127.0.0.1 localhost"]
        lines += [f"{pod.address} {pod.name}.{pod.service}" for pod in self.pods if pod.service]
        for name, (address, _) in self.services.items():
            _ip(f"addr add {address}/16 dev bridge")
            lines.append(f"{address} {name}")
        (self._home / "hosts").write_text("\n".join(lines) + "\n")
        subprocess.run(["mount", "--bind", self._home / "hosts", "/etc/hosts"], check=True)
        for pod in self.pods:
            self._connect(pod)
            for container in pod.spec["containers"]:
                process = self._container(pod, container)
                pod.containers[container["name"]] = process
                process.launch()
        self._balance()
        threading.Thread(target=self._keep, daemon=True).start()
        deadline = time.monotonic() + _START_SECONDS
        while waiting := [
            *(pod.name for pod in self.pods if not self.ready(pod)),
            *(name for name in self.services if not self._serves(name)),
        ]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready: {', '.join(waiting)}")
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End everything at once."""
        self._ended.set()
        for pod in self.pods:
            pod.kill()
            if pod.pause is not None:
                pod.pause.kill()
                pod.pause.wait()
        if self._balancer is not None:
            self._balancer.kill()

    def ready(self, pod: Pod) -> bool:
        """Whether all its containers run, and say that they are ready."""
        return all(
            pod.containers[each["name"]].running and self.probe(pod, each, "readiness")
            for each in pod.spec["containers"]
        )

    def probe(self, pod: Pod, container: Mapping[str, Any], kind: str) -> bool:
        """Ask once what the container's probe asks."""
        probe = container[f"{kind}Probe"]
        seconds = probe.get("timeoutSeconds", 1)
        if "exec" in probe:
            return self._run_in(pod, container, probe["exec"]["command"], seconds)
        asked = probe.get("httpGet") or probe["tcpSocket"]
        port = _port(container, asked["port"])
        if "httpGet" in probe:
            return _answers(pod.address, port, asked["path"], seconds)
        try:
            socket.create_connection((pod.address, port), seconds).close()
        except OSError:
            return False
        return True

    def _serves(self, name: str) -> bool:
        """Whether a Service leads to a pod that is ready."""
        address, spec = self.services[name]
        container = self._behind(spec)[0].spec["containers"][0]
        path = container["readinessProbe"]["httpGet"]["path"]
        return _answers(address, spec["ports"][0]["port"], path, 2)

    def _behind(self, spec: Mapping[str, Any]) -> list[Pod]:
        return [pod for pod in self.pods if spec["selector"].items() <= pod.labels.items()]

    def on_node(self, node: int) -> list[Pod]:
        """The pods of a node: one of each kind."""
        return [pod for pod in self.pods if pod.node == node]

    def _connect(self, pod: Pod) -> None:
        """Give the pod its network."""
        pod.pause = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        _wait_for_namespace(pod.pause.pid)
        link, inside = (
            f"v{pod.address.rpartition('.')[2]}",
            ["nsenter", "-t", str(pod.pause.pid), "-n"],
        )
        _ip(f"link add {link} type veth peer name eth0 netns {pod.pause.pid}")
        _ip(f"link set {link} master bridge up")
        for command in (
            "link set lo up",
            f"addr add {pod.address}/16 dev eth0",
            "link set eth0 up",
        ):
            subprocess.run([*inside, "ip", *command.split()], check=True)

    def _container(self, pod: Pod, container: Mapping[str, Any]) -> Process:
        root = self._home / pod.name / container["name"]
        root.mkdir(parents=True)
        volumes = {each["name"]: self._volume(pod, each) for each in pod.spec["volumes"]}
        claim = self._home / pod.name / "claim"
        claim.mkdir(parents=True, exist_ok=True)
        mounts = []
        for mount in sorted(container.get("volumeMounts", []), key=lambda each: each["mountPath"]):
            source = volumes.get(mount["name"], claim)
            target = f"{root}/merged{mount['mountPath']}"
            mounts.append(f"mkdir -p {target} && mount --bind {source} {target}")
        read_only = container["securityContext"]["readOnlyRootFilesystem"]
        script = _RUN.format(
            root=root,
            mounts="\n".join(mounts),
            programs=_PROGRAMS,
            hosts=self._home / "hosts",
            read_only=f"mount -o remount,ro {root}/merged" if read_only else "",
        )
        known = {each["name"]: self._value(pod, each) for each in container.get("env", [])}
        command = container.get("command") or self._programs[container["name"]]
        words = [*command, *container.get("args", [])]
        for name, value in known.items():
            words = [word.replace(f"$({name})", value) for word in words]
        assert pod.pause is not None
        return Process(
            f"{pod.name}/{container['name']}",
            [
                *("nsenter", "-t", str(pod.pause.pid), "-n"),
                *("unshare", "--mount", "--propagation=private", "/bin/sh", "-c", script, "sh"),
                *words,
            ],
            log=self._home / f"{pod.name}-{container['name']}.log",
            ready=lambda: self.probe(pod, container, "readiness"),
            environment={"PATH": _PATH, "HOME": "/tmp"} | known,  # noqa: S108
        )

    def _value(self, pod: Pod, variable: Mapping[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        return pod.name

    def _volume(self, pod: Pod, volume: Mapping[str, Any]) -> Path:
        """Make the directory of a volume, with its files."""
        place = self._home / pod.name / "volumes" / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        files: dict[str, str] = {}
        if "configMap" in volume:
            files = dict(self._maps[volume["configMap"]["name"]])
        for source in volume.get("projected", {}).get("sources", [volume]):
            if secret := source.get("secret"):
                known = self._secrets[secret.get("name") or secret["secretName"]]
                files |= {item["path"]: known[item["key"]] for item in secret["items"]}
        for name, text in files.items():
            (place / name).write_text(text)
        return place

    def _run_in(
        self, pod: Pod, container: Mapping[str, Any], command: Sequence[str], seconds: float
    ) -> bool:
        process = pod.containers[container["name"]]
        if not process.running:
            return False
        known = {each["name"]: self._value(pod, each) for each in container.get("env", [])}
        enter = ["nsenter", "-t", str(process.pid), "-n", "-m", "-r", "-w"]
        try:
            done = subprocess.run(
                [*enter, *command],
                env={"PATH": _PATH} | known,
                timeout=seconds + 3,
                capture_output=True,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError):
            return False
        return done.returncode == 0

    def _balance(self) -> None:
        """Give each Service an address, behind which are its pods that are ready."""
        parts = [_DEFAULTS]
        for name, (address, spec) in self.services.items():
            pods = self._behind(spec)
            (container,) = pods[0].spec["containers"]
            probe = container["readinessProbe"]
            for port in spec["ports"]:
                inner = _port(container, port["targetPort"])
                parts.append(f"listen {name}-{port['name']}\n    bind {address}:{port['port']}")
                parts.append(
                    f"    option httpchk GET {probe['httpGet']['path']}\n    balance roundrobin"
                )
                falls = probe.get("failureThreshold", 3)
                check = f"check inter {probe['periodSeconds']}s fall {falls} rise 1"
                parts += [f"    server {pod.name} {pod.address}:{inner} {check}" for pod in pods]
        config = self._home / "haproxy.cfg"
        config.write_text("\n".join(parts) + "\n")
        self._balancer = Process(
            "haproxy",
            [self._haproxy, "-db", "-f", str(config)],
            log=self._home / "haproxy.log",
            ready=lambda: True,
        )
        self._balancer.launch()

    def _keep(self) -> None:
        """Start what has ended anew; end what does not answer its liveness probe."""
        failed: dict[str, int] = {}
        born: dict[str, float] = {}
        while not self._ended.wait(_RESTART_SECONDS):
            for pod in self.pods:
                for container in pod.spec["containers"]:
                    process = pod.containers[container["name"]]
                    if not pod.wanted:
                        continue
                    if not process.running:
                        pod.restarts += 1
                        process.launch()
                        if not pod.wanted:  # it was killed meanwhile
                            process.kill()
                        born[process.name] = time.monotonic()
                        failed[process.name] = 0
                        continue
                    probe = container["livenessProbe"]
                    grace = probe.get("initialDelaySeconds", 60)
                    if time.monotonic() - born.setdefault(process.name, time.monotonic()) < grace:
                        continue
                    good = self.probe(pod, container, "liveness")
                    failed[process.name] = 0 if good else failed.get(process.name, 0) + 1
                    if failed[process.name] >= probe.get("failureThreshold", 3):
                        process.kill()


def _answers(address: str, port: int, path: str, seconds: float) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _port(container: Mapping[str, Any], port: int | str) -> int:
    if isinstance(port, int):
        return port
    return next(int(each["containerPort"]) for each in container["ports"] if each["name"] == port)


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def _wait_for_namespace(pid: int) -> None:
    """Wait until a process has left this one's network."""
    own = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        time.sleep(0.01)
