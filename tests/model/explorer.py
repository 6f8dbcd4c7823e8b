"""Goes through every interleaving of the actors' steps and of time, and checks every world.

A crash needs no step of its own: every world is also one whose actors never do another step. So in
each the invariants must hold, and a later collector must be able to clear up what they left.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model import clients, collectors
from tests.model.collectors import collector
from tests.model.protocol import END, BrokenError, Model, Steps
from tests.model.world import GRACE, WINDOW, A, B, World, older

_STEPS = clients.STEPS | collectors.STEPS


@dataclass(frozen=True)
class Explored:
    """How many worlds there are, and how many of them differ in what the store holds."""

    worlds: int
    stores: int


class CounterexampleError(AssertionError):
    """What went wrong, and the steps that lead there."""

    def __init__(self, wrong: str, path: list[str]) -> None:
        super().__init__("\n".join([wrong, *path]))
        self.wrong = wrong
        self.path = path


def explore(model: Model, world: World, *, ticks: int) -> Explored:
    """Check every world that can come of this one, with so many ticks of the clock."""
    came: dict[World, tuple[World, str] | None] = {world: None}
    waiting = deque([world])
    stores: set[World] = set()
    drained: set[World] = set()
    while waiting:
        world = waiting.popleft()
        try:
            check(world)
            store = world._replace(actors=(), ticks=0)
            if store not in stores:
                stores.add(store)
                drain(model, world, drained)
            for label, after in successors(model, world, ticks):
                if after not in came:
                    came[after] = (world, label)
                    waiting.append(after)
        except BrokenError as error:
            raise CounterexampleError(str(error), _path(came, world)) from None
    return Explored(len(came), len(stores))


def steps(model: Model, world: World, number: int) -> Steps:
    """Every world after the actor's next step; none while it waits, or when it has ended."""
    step = _STEPS.get(world.actors[number].step)
    return step(model, world, number) if step else ()


def successors(model: Model, world: World, ticks: int) -> Iterator[tuple[str, World]]:
    """Every world after one step of an actor, or of time."""
    for number, actor in enumerate(world.actors):
        for label, after in steps(model, world, number):
            yield f"{actor.name} {label}", after
    if world.ticks < ticks and any(actor.step != END for actor in world.actors):
        yield "time passes", older(world)


def check(world: World) -> None:
    """An image that was acknowledged, or can be had back, is whole; a visible pointer has bytes."""
    pointer = world.pointer
    whole = pointer is not None and pointer.life.visible and pointer.data in world.data
    if pointer is not None and pointer.life.visible and not whole:
        raise BrokenError("a pointer without its bytes")
    for repository in (A, B):
        copy = world.copies[repository]
        kept = copy is not None and copy.timely and copy.age < WINDOW
        if world.acknowledged[repository] and world.manifests[repository] is None:
            raise BrokenError("an acknowledged manifest is gone")
        if world.exempt[repository] or not (kept or world.acknowledged[repository]):
            continue
        member = world.members[repository]
        held = world.mounts[repository] is not None or (member is not None and member.life.visible)
        if not (held and whole):
            raise BrokenError("an image lacks its blob that was acknowledged, or can be had back")


def drain(model: Model, world: World, drained: set[World]) -> None:
    """Let time pass and a collector work; then what is needed is there, and nothing else.

    ``drained`` are the worlds for which that is known, to which those on the way are added.
    """
    world = world._replace(actors=(), promised=(None, None), ticks=0)
    way: set[World] = set()
    while world not in drained:
        if world in way:
            raise BrokenError("the collector never comes to an end")
        way.add(world)
        before = world
        for _ in range(GRACE + 1):
            world = older(world)
        for target in ("manifest 0", "manifest 1", "member 0", "member 1", "pointer"):
            world = _visit(model, world, f"takes up {target}")
        check(world)
        world = world._replace(actors=(), ticks=0)
        if world == before:
            _check_clean(world)
            break
    drained |= way


def _visit(model: Model, world: World, target: str) -> World:
    world = world._replace(actors=(collector("z", 1),))
    found = dict(steps(model, world, 0))
    if target not in found:
        return world
    world = found[target]
    while world.actors[0].step != "idle":
        ((_, world),) = steps(model, world, 0)
    return world


def _check_clean(world: World) -> None:
    for repository in (A, B):
        if world.manifests[repository] is not None:
            continue
        for name in ("pushed", "links", "copies", "members", "mounts"):
            if getattr(world, name)[repository] is not None:
                raise BrokenError(f"garbage is left among {name}")
    if world.pointer is not None and not any(world.members):
        raise BrokenError("the pointer is left")


def _path(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    path: list[str] = []
    while (before := came[world]) is not None:
        world, label = before
        path.append(label)
    return path[::-1]
