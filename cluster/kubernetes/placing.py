"""Where a pod may run: what a scheduler makes of topology spread constraints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


@dataclass(slots=True)
class Node:
    """A machine. A `cordoned` one takes no new pods, one that is `down` runs none."""

    name: str
    zone: str
    cordoned: bool = False
    down: bool = False

    def domain(self, key: str) -> str:
        """What the node's label of that name says."""
        return {ZONE: self.zone, HOST: self.name}[key]


@dataclass(frozen=True, slots=True)
class Placed:
    """A pod that has a node."""

    labels: Mapping[str, str]
    node: Node


@dataclass(frozen=True, slots=True)
class _Spread:
    """How many pods that a constraint is about are in each domain."""

    key: str
    skew: int
    strict: bool
    counts: Mapping[str, int] = field(default_factory=dict)

    def allows(self, node: Node) -> bool:
        most = self.counts[node.domain(self.key)] + 1
        return not self.strict or most - min(self.counts.values()) <= self.skew


def place(
    labels: Mapping[str, str],
    constraints: Iterable[Mapping[str, Any]],
    nodes: Sequence[Node],
    placed: Sequence[Placed],
) -> Node | None:
    """Return the node for a pod with these labels, or None: it stays pending.

    As the scheduler does by default, cordoned nodes count as domains: a pod that may only be there
    does not go elsewhere.
    """
    spreads = [_spread(labels, each, nodes, placed) for each in constraints]

    def cost(node: Node) -> tuple[int, ...]:
        crowd = sum(each.node is node for each in placed)
        return (*(spread.counts[node.domain(spread.key)] for spread in spreads), crowd)

    free = [node for node in nodes if not node.cordoned and not node.down]
    fitting = [node for node in free if all(spread.allows(node) for spread in spreads)]
    return min(fitting, key=cost, default=None)


def _spread(
    labels: Mapping[str, str],
    constraint: Mapping[str, Any],
    nodes: Sequence[Node],
    placed: Sequence[Placed],
) -> _Spread:
    key = constraint["topologyKey"]
    wanted = dict(constraint["labelSelector"]["matchLabels"])
    wanted |= {name: labels[name] for name in constraint.get("matchLabelKeys", ())}
    counts = {node.domain(key): 0 for node in nodes}
    for each in placed:
        if wanted.items() <= each.labels.items():
            counts[each.node.domain(key)] += 1
    return _Spread(
        key, constraint["maxSkew"], constraint["whenUnsatisfiable"] == "DoNotSchedule", counts
    )


def disruptions_allowed(wanted: int, healthy: int, most_unavailable: int) -> int:
    """How many healthy pods a PodDisruptionBudget by maxUnavailable lets go now."""
    return max(0, healthy - (wanted - most_unavailable))


def rollout(
    old: Sequence[bool], new: Sequence[bool], wanted: int, surge: int, unavailable: int
) -> tuple[int, int]:
    """How many new pods a Deployment makes now, and how many old ones it ends.

    `old` and `new` tell of each pod that is not being ended whether it is available. Those that are
    not go first.
    """
    making = max(0, min(wanted + surge - len(old) - len(new), wanted - len(new)))
    spare = sum(old) + sum(new) - (wanted - unavailable)
    broken = old.count(False)
    ending = min(len(old), max(0, spare) + broken)
    return making, ending
