"""Deployments and StatefulSets: which pods there are to be, and how new templates take over."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from cluster.kubernetes.network import NETWORK
from cluster.kubernetes.placing import rollout
from cluster.kubernetes.pod import Pod, Program

_SPARE = 3
"""Addresses of a Deployment beyond its replicas: for new pods while old ones drain."""

_REVISION = "pod-template-hash"


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """A pod's template, and what its images are on this machine."""

    name: str
    template: Mapping[str, Any]
    programs: Mapping[str, Program]


class Cluster(Protocol):
    """What a workload needs of the cluster."""

    def begin(self, name: str, address: str, revision: Revision) -> Pod | None:
        """Start a pod; None while there is no node for it."""
        ...

    def end(self, pod: Pod) -> None:
        """Begin to end a pod, and do not wait."""
        ...


class Workload:
    """What all kinds of workloads have. `reconcile` is called again and again."""

    def __init__(
        self, cluster: Cluster, made: Mapping[str, Any], numbers: Iterable[int], programs: Any
    ) -> None:
        spec = made["spec"]
        self.name: str = made["metadata"]["name"]
        self.kind: str = made["kind"]
        self.wanted: int = spec.get("replicas", 3)
        self.service: str = spec.get("serviceName", "")
        self.settled = spec.get("minReadySeconds", 0)
        self.spec = spec
        spare = _SPARE if self.kind == "Deployment" else 0
        self.slots = [
            f"{NETWORK}.1.{number}" for number in itertools.islice(numbers, self.wanted + spare)
        ]
        self.revision = Revision("1", spec["template"], programs)
        self.next_environment: dict[str, str] = {}
        """Variables that the next pod has, and only that one."""

        self.pods: list[Pod] = []
        self._cluster = cluster

    @property
    def labels(self) -> Mapping[str, str]:
        """What its pods have."""
        return self.revision.template["metadata"]["labels"]

    @property
    def whole(self) -> bool:
        """Whether all pods of the present revision are available, and no other is left."""
        return (
            len(self.pods) == self.wanted
            and all(each.revision == self.revision.name for each in self.pods)
            and all(self.available(each) for each in self.pods)
        )

    def available(self, pod: Pod) -> bool:
        """Whether the pod has been ready for as long as is asked for."""
        return pod.ready and time.monotonic() - pod.ready_since >= self.settled

    def template(self, revision: Revision) -> None:
        """Have the pods replaced by those of another revision."""
        self.revision = revision

    def restart(self) -> None:
        """Have all pods replaced, like `kubectl rollout restart`."""
        name = str(time.monotonic_ns())
        self.revision = dataclasses.replace(self.revision, name=name)

    def reconcile(self) -> None:
        """Take a step towards what is wanted."""
        self.pods = [each for each in self.pods if not each.ended]
        self._step([each for each in self.pods if not each.ending])

    def _step(self, staying: Sequence[Pod]) -> None:
        raise NotImplementedError

    def _begin(self, name: str, address: str) -> bool:
        revision = self.revision
        if self.next_environment:
            programs = {
                each: dataclasses.replace(
                    program, environment={**program.environment, **self.next_environment}
                )
                for each, program in revision.programs.items()
            }
            revision = dataclasses.replace(revision, programs=programs)
        pod = self._cluster.begin(name, address, revision)
        if pod is not None:
            self.pods.append(pod)
            self.next_environment = {}
        return pod is not None


class Deployment(Workload):
    """Pods without names of their own: a new one may be there before an old one goes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._count = itertools.count()

    def _step(self, staying: Sequence[Pod]) -> None:
        rolling = self.spec["strategy"]["rollingUpdate"]
        new = [each for each in staying if each.revision == self.revision.name]
        old = [each for each in staying if each.revision != self.revision.name]
        making, ending = rollout(
            [self.available(each) for each in old],
            [self.available(each) for each in new],
            self.wanted,
            _share(rolling["maxSurge"], self.wanted, math.ceil),
            _share(rolling["maxUnavailable"], self.wanted, math.floor),
        )
        for pod in sorted(old, key=self.available)[:ending]:
            self._cluster.end(pod)
        for _ in range(making):
            taken = {each.address for each in self.pods}
            free = [slot for slot in self.slots if slot not in taken]
            if not free or not self._begin(f"{self.name}-{next(self._count)}", free[0]):
                return


class StatefulSet(Workload):
    """Pods with names that stay: one is there again only when the old one has gone."""

    def _step(self, staying: Sequence[Pod]) -> None:
        here = {each.name for each in self.pods}
        for number, slot in enumerate(self.slots):
            name = f"{self.name}-{number}"
            if name not in here:
                self._begin(name, slot)
        old = [each for each in staying if each.revision != self.revision.name]
        new = [each for each in self.pods if each.revision == self.revision.name]
        rolling = len(staying) == self.wanted and all(self.available(each) for each in new)
        if old and rolling:
            self._cluster.end(max(old, key=lambda each: each.name))


def _share(amount: int | str, of: int, rounded: Callable[[float], int]) -> int:
    if isinstance(amount, int):
        return amount
    return rounded(of * int(amount.removesuffix("%")) / 100)


KINDS: Mapping[str, type[Workload]] = {"Deployment": Deployment, "StatefulSet": StatefulSet}


def labels_of(revision: Revision) -> dict[str, str]:
    """The labels of a revision's pods, with the one that tells revisions apart."""
    return {**revision.template["metadata"]["labels"], _REVISION: revision.name}
