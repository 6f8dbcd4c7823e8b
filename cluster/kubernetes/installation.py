"""An installation: nodes, the workloads of its manifests on them, and what is done to those."""

import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self, final

from cluster.kubernetes.kubelet import Kubelet
from cluster.kubernetes.network import NETWORK, ip
from cluster.kubernetes.placing import Node, disruptions_allowed, place
from cluster.kubernetes.pod import Contents, Pod, Program
from cluster.kubernetes.services import Services
from cluster.kubernetes.workloads import KINDS, Revision, Workload, labels_of

_LOOK_SECONDS: Final = 0.25
_START_SECONDS: Final = 240
_EVICT_SECONDS: Final = 5.0
_JOB_SECONDS: Final = 400


@final
class Installation:
    """The workloads of some manifests, on nodes that are named with their zones.

    `secrets` are the contents of Secrets, by name and key; `programs` the entry points of images,
    by the name of a container that has no command. The claims of the workloads in `disks` are file
    systems of their own, with so many bytes. `edge` is the Service before which an Ingress is.
    """

    def __init__(
        self,
        home: Path,
        objects: Sequence[Mapping[str, Any]],
        *,
        secrets: Mapping[str, Mapping[str, str]],
        programs: Mapping[str, Program],
        haproxy: str,
        zones: Sequence[str] = ("a", "b", "c", "a"),
        disks: Mapping[str, int] | None = None,
        edge: str = "",
    ) -> None:
        self.home = home
        self.nodes = [Node(f"node-{number}", zone) for number, zone in enumerate(zones)]
        self._objects = objects
        self._haproxy = haproxy
        self._disks = disks or {}
        self.contents = Contents(
            {name: dict(known) for name, known in secrets.items()},
            {
                each["metadata"]["name"]: each["data"]
                for each in objects
                if each["kind"] == "ConfigMap"
            },
        )
        numbers = iter(itertools.count(1))
        self.workloads: dict[str, Workload] = {
            each["metadata"]["name"]: KINDS[each["kind"]](self, each, numbers, programs)
            for each in objects
            if each["kind"] in KINDS
        }
        self._jobs = numbers
        self._budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
        self.services = Services(objects, edge)
        self._incarnations = itertools.count()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.held_back: set[str] = set()
        """Workloads none of whose pods are started."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, after: Callable[[], None] = lambda: None) -> None:
        """Start all, and wait until all of it serves; TimeoutError names the rest.

        `after` is called once everything that may be started was.
        """
        # An address of its own: else it has that of one of its ports, and another one when those
        # change, which nobody who talks to it learns of for a minute.
        ip("link add bridge address 02:00:00:00:00:01 type bridge")
        ip(f"addr add {NETWORK}.0.1/16 dev bridge")
        ip("link set bridge up", "link set lo up")
        lines = ["127.0.0.1 localhost"]
        for workload in self.workloads.values():
            if workload.service:
                lines += [
                    f"{slot} {workload.name}-{number}.{workload.service}"
                    for number, slot in enumerate(workload.slots)
                ]
        lines += [f"{address} {name}" for name, address in self.services.addresses.items()]
        (self.home / "hosts").write_text("\n".join(lines) + "\n")
        subprocess.run(["mount", "--bind", self.home / "hosts", "/etc/hosts"], check=True)
        self.services.start(
            self._haproxy,
            self.home,
            [(each.spec["template"], each.slots) for each in self.workloads.values()],
        )
        threading.Thread(target=self._reconcile, daemon=True).start()
        after()
        self.wait_until_whole(_START_SECONDS)

    def close(self) -> None:
        """End everything at once."""
        self._closed.set()
        with self._lock:
            for pod in self.pods:
                pod.remove()
        self.services.close()

    @property
    def pods(self) -> list[Pod]:
        """All pods that have not ended."""
        return [
            each
            for workload in self.workloads.values()
            for each in list(workload.pods)
            if not each.ended
        ]

    def pod(self, name: str) -> Pod:
        """The pod of that name."""
        return next(each for each in self.pods if each.name == name)

    def on(self, *nodes: Node) -> list[Pod]:
        """The pods on these nodes."""
        return [each for each in self.pods if each.node in nodes]

    def wait_until_whole(self, seconds: float = 120) -> None:
        """Wait until all pods are available, and all Services lead to one; else TimeoutError."""
        self.wait_until(
            lambda: (
                all(each.whole for each in self.workloads.values()) and not self.services.waiting()
            ),
            seconds,
        )

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for something; TimeoutError says which pods are not ready."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                missing = [
                    f"{each.name} has {sum(map(each.available, each.pods))} of {each.wanted}"
                    for each in self.workloads.values()
                    if not each.whole
                ]
                raise TimeoutError(f"not ready: {missing + self.services.waiting()}")
            time.sleep(_LOOK_SECONDS)

    def _reconcile(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            with self._lock:
                if self._closed.is_set():
                    return
                for name, workload in self.workloads.items():
                    if name not in self.held_back:
                        workload.reconcile()

    def begin(self, name: str, address: str, revision: Revision) -> Pod | None:
        """See `workloads.Cluster`."""
        labels, spec = labels_of(revision), revision.template["spec"]
        placed = [each.placed for each in self.pods]
        node = place(labels, spec["topologySpreadConstraints"], self.nodes, placed)
        if node is None:
            return None
        pod = self._pod(name, address, labels, spec, node, revision.programs, revision.name)
        pod.run()
        self.services.join(address)
        Kubelet(pod)
        return pod

    def _pod(
        self,
        name: str,
        address: str,
        labels: Mapping[str, str],
        spec: Mapping[str, Any],
        node: Node,
        programs: Mapping[str, Program],
        revision: str = "",
    ) -> Pod:
        home = self.home / f"{name}.{next(self._incarnations)}"
        home.mkdir()
        claim = self._claim(name)
        return Pod(
            name, address, labels, spec, node, home, claim, self.contents, programs, revision
        )

    def _claim(self, name: str) -> Path:
        """What a pod of that name keeps: it finds it again, on whichever node it is."""
        claim = self.home / "claims" / name
        if not claim.exists():
            claim.mkdir(parents=True)
            size = self._disks.get(name.rpartition("-")[0])
            if size is not None:
                disk = self.home / f"{name}.disk"
                with disk.open("wb") as file:
                    file.truncate(size)
                subprocess.run(["mkfs.ext4", "-q", "-m0", disk], check=True)
                subprocess.run(["mount", "-o", "loop", disk, claim], check=True)
        return claim

    def end(self, pod: Pod) -> None:
        """See `workloads.Cluster`."""
        pod.ending = True
        self.services.leave(pod.address)
        threading.Thread(target=pod.end, daemon=True).start()

    def replace_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Make or change a Secret. Files of it change in pods that run; what is read once stays."""
        self.contents.secrets.setdefault(name, {}).update(values)
        for pod in self.pods:
            pod.refresh()

    def fail(self, *nodes: Node) -> list[Pod]:
        """Let nodes die: all that runs there is gone at once. Returns the pods."""
        lost = self.on(*nodes)
        for node in nodes:
            node.down = True
        for pod in lost:
            pod.kill()
        return lost

    def standing(self) -> AbstractContextManager[Any]:
        """Have no pod made or ended by a workload until the context is left."""
        return self._lock

    def evict(self, pod: Pod) -> bool:
        """Ask for an eviction, as `kubectl drain` does; whether the budgets allowed it."""
        with self._lock:
            if pod.ending:
                return True
            if pod.ready and any(
                not self._allowed(budget)
                for budget in self._budgets
                if budget["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
            ):
                return False
            self.end(pod)
            return True

    def _allowed(self, budget: Mapping[str, Any]) -> int:
        wanted = healthy = 0
        for workload in self.workloads.values():
            if budget["spec"]["selector"]["matchLabels"].items() <= workload.labels.items():
                wanted += workload.wanted
                healthy += sum(each.ready and not each.ending for each in workload.pods)
        return disruptions_allowed(wanted, healthy, budget["spec"]["maxUnavailable"])

    def drain(self, node: Node, seconds: float = 300) -> int:
        """Cordon a node and evict all that is on it; returns how often an eviction was refused."""
        node.cordoned = True
        refused, deadline = 0, time.monotonic() + seconds
        while left := [each for each in self.on(node) if not each.ending]:
            refusals = sum(not self.evict(each) for each in left)
            refused += refusals
            if time.monotonic() > deadline:
                raise TimeoutError(f"{node.name} still has {[each.name for each in left]}")
            if refusals:
                time.sleep(_EVICT_SECONDS)
        self.wait_until(lambda: not self.on(node), seconds)
        return refused

    def run_job(self, name: str) -> tuple[int, str]:
        """Run the container of a Job once; its exit code, and what it printed."""
        (made,) = (
            each
            for each in self._objects
            if each["kind"] == "Job" and each["metadata"]["name"] == name
        )
        template = made["spec"]["template"]
        spec = {"volumes": [], **template["spec"]}
        number = next(self._jobs)
        programs = next(iter(self.workloads.values())).revision.programs
        labels = template["metadata"]["labels"]
        pod = self._pod(name, f"{NETWORK}.1.{number}", labels, spec, self.nodes[0], programs)
        pod.run()
        (container,) = spec["containers"]
        process = pod.containers[container["name"]]
        try:
            code = process.wait_ended(_JOB_SECONDS)
        finally:
            pod.remove()
        return code, pod.log(container["name"])
