"""A pod: its network, its volumes, and the processes of its containers."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.kubernetes.network import answers, ip, port_of, wait_for_namespace
from cluster.kubernetes.placing import Node, Placed
from cluster.process import Process

_PROGRAMS = Path(__file__).resolve().parents[2]
_PATH = os.pathsep.join(
    [f"{_PROGRAMS}/.venv/bin", f"{_PROGRAMS}/.tools/bin", "/usr/sbin:/usr/bin:/sbin:/bin"]
)
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What volumes and environments are filled from: Secrets and ConfigMaps, by name and key."""

    secrets: dict[str, dict[str, str]]
    maps: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Program:
    """What an image's entry point is on this machine, for a container that has no command."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Pod:
    """One pod, on a node. `run` begins its containers, `end` ends them in the pod's grace."""

    name: str
    address: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    node: Node
    home: Path
    claim: Path
    contents: Contents
    programs: Mapping[str, Program]
    revision: str = ""
    pause: subprocess.Popen[bytes] | None = None
    containers: dict[str, Process] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    ready_since: float = 0.0
    ending: bool = False
    ended: bool = False
    held: bool = False
    """Whether its containers are kept from being started anew."""

    killed_late: bool = False
    """Whether it had not ended when its grace was over."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def placed(self) -> Placed:
        """What the scheduler sees of it."""
        return Placed(self.labels, self.node)

    @property
    def running(self) -> bool:
        """Whether its containers are to run."""
        return not (self.held or self.ending or self.node.down)

    def run(self) -> None:
        """Give it its network and start its containers."""
        self._connect()
        for volume in self.spec["volumes"]:
            self._fill(volume)
        for container in self.spec["containers"]:
            self.containers[container["name"]] = self._process(container)
            self.start(container["name"])

    def start(self, name: str) -> None:
        """Start a container, unless it is not to run by now."""
        with self._lock:
            if self.running:
                self.containers[name].launch()

    def kill(self) -> None:
        """End all its processes at once."""
        with self._lock:
            for process in self.containers.values():
                process.kill()

    def hold(self) -> None:
        """End all its processes at once, and keep them so until `release`."""
        self.held = True
        self.kill()

    def release(self) -> None:
        """Let its containers be started again."""
        self.held = False

    def end(self) -> None:
        """SIGTERM, and SIGKILL when its grace is over; then it is gone."""
        with self._lock:
            self.ending = True
        until = time.monotonic() + self.spec.get("terminationGracePeriodSeconds", 30)
        for process in self.containers.values():
            if process.running:
                process.term()
        while any(process.running for process in self.containers.values()):
            if time.monotonic() > until:
                self.killed_late = True
                break
            time.sleep(0.1)
        self.remove()

    def remove(self) -> None:
        """End it at once, and take its network away."""
        self.ending = True
        self.kill()
        if self.pause is not None:
            # Not left to the kernel, which takes its time: the address may be wanted again.
            subprocess.run(["ip", "link", "del", self._link], capture_output=True, check=False)
            self.pause.kill()
            self.pause.wait()
        self.ended, self.ready = True, False

    @property
    def _link(self) -> str:
        return f"v{self.address.rpartition('.')[2]}"

    def _connect(self) -> None:
        self.pause = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_for_namespace(self.pause.pid)
        link = self._link
        inside = ["nsenter", "-t", str(self.pause.pid), "-n"]
        number = int(self.address.rpartition(".")[2])
        # The same each time, so that what others remember of a pod's address stays true.
        hardware = f"02:00:00:00:01:{number:02x}"
        ip(f"link add {link} type veth peer name eth0 address {hardware} netns {self.pause.pid}")
        ip(f"link set {link} master bridge up")
        for command in (
            "link set lo up",
            f"addr add {self.address}/16 dev eth0",
            "link set eth0 up",
        ):
            subprocess.run([*inside, "ip", *command.split()], check=True)

    def _process(self, container: Mapping[str, Any]) -> Process:
        root = self.home / container["name"]
        root.mkdir(parents=True)
        volumes = {each["name"] for each in self.spec["volumes"]}
        mounts = []
        for mount in sorted(container.get("volumeMounts", []), key=lambda each: each["mountPath"]):
            source = self.volume(mount["name"]) if mount["name"] in volumes else self.claim
            target = f"{root}/merged{mount['mountPath']}"
            mounts.append(f"mkdir -p {target} && mount --bind {source} {target}")
        read_only = container["securityContext"]["readOnlyRootFilesystem"]
        script = _RUN.format(
            root=root,
            mounts="\n".join(mounts),
            programs=_PROGRAMS,
            hosts=self.home.parent / "hosts",
            read_only=f"mount -o remount,ro {root}/merged" if read_only else "",
        )
        program = self.programs.get(container["name"], Program(()))
        known = self.environment(container)
        words = [*(container.get("command") or program.words), *container.get("args", [])]
        for name, value in known.items():
            words = [word.replace(f"$({name})", value) for word in words]
        assert self.pause is not None
        return Process(
            f"{self.name}/{container['name']}",
            [
                *("nsenter", "-t", str(self.pause.pid), "-n"),
                *("unshare", "--mount", "--propagation=private", "/bin/sh", "-c", script, "sh"),
                *words,
            ],
            log=self.home.parent / f"{self.name}-{container['name']}.log",
            ready=lambda: self.ready,
            environment={"PATH": _PATH, "HOME": "/tmp"} | known | program.environment,  # noqa: S108
        )

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The variables that a container is given."""
        return {each["name"]: self._value(each) for each in container.get("env", [])}

    def _value(self, variable: Mapping[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        source = variable["valueFrom"]
        if secret := source.get("secretKeyRef"):
            return self.contents.secrets[secret["name"]][secret["key"]]
        assert source["fieldRef"]["fieldPath"] == "metadata.name"
        return self.name

    def volume(self, name: str) -> Path:
        """The directory of a volume."""
        return self.home / "volumes" / name

    def _fill(self, volume: Mapping[str, Any]) -> None:
        place = self.volume(volume["name"])
        place.mkdir(parents=True)
        empty = volume.get("emptyDir")
        if empty is not None and empty.get("medium") == "Memory":
            size = empty["sizeLimit"].removesuffix("i").lower()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True
            )
        if empty is None:
            self._write(volume)

    def refresh(self) -> None:
        """Bring Secrets and ConfigMaps that changed into its volumes."""
        for volume in self.spec["volumes"]:
            if "emptyDir" not in volume:
                self._write(volume)

    def _write(self, volume: Mapping[str, Any]) -> None:
        """As a kubelet does: all files of a volume change at once, by a link to a directory."""
        files: dict[str, str] = {}
        if "configMap" in volume:
            files = dict(self.contents.maps[volume["configMap"]["name"]])
        for source in volume.get("projected", {}).get("sources", [volume]):
            if secret := source.get("secret"):
                known = self.contents.secrets[secret.get("name") or secret["secretName"]]
                items = secret.get("items") or [{"key": key, "path": key} for key in known]
                files |= {item["path"]: known[item["key"]] for item in items}
        place = self.volume(volume["name"])
        now = place / f"..{time.monotonic_ns()}"
        now.mkdir()
        for name, text in files.items():
            (now / name).write_text(text)
            if not (place / name).is_symlink():
                (place / name).symlink_to(f"..data/{name}")
        before = (place / "..data").resolve() if (place / "..data").exists() else None
        (place / "..fresh").symlink_to(now.name)
        (place / "..fresh").replace(place / "..data")
        if before is not None:
            shutil.rmtree(before)

    def probe(self, container: Mapping[str, Any], kind: str) -> bool:
        """Ask once what the container's probe asks; True where it has none."""
        probe = container.get(f"{kind}Probe")
        if probe is None:
            return True
        seconds = probe.get("timeoutSeconds", 1)
        if "exec" in probe:
            return self.run_in(container, probe["exec"]["command"], seconds) == 0
        asked = probe.get("httpGet") or probe["tcpSocket"]
        port = port_of(container, asked["port"])
        if "httpGet" in probe:
            secure = asked.get("scheme") == "HTTPS"
            return answers(self.address, port, asked["path"], seconds, secure=secure)
        try:
            socket.create_connection((self.address, port), seconds).close()
        except OSError:
            return False
        return True

    def run_in(
        self, container: Mapping[str, Any], command: Sequence[str], seconds: float
    ) -> int | None:
        """Run a command in a container, like `kubectl exec`; its exit code, None without one."""
        process = self.containers[container["name"]]
        if not process.running:
            return None
        enter = ["nsenter", "-t", str(process.pid), "-n", "-m", "-r", "-w"]
        program = self.programs.get(container["name"], Program(()))
        known = self.environment(container) | program.environment
        try:
            done = subprocess.run(
                [*enter, *command],
                env={"PATH": _PATH} | known,
                timeout=seconds + 3,
                capture_output=True,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError):
            return None
        return done.returncode

    def log(self, container: str) -> str:
        """What a container has printed so far."""
        path = self.containers[container].log
        return path.read_text(errors="replace") if path.exists() else ""
