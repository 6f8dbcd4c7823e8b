"""Where the model begins: what is in the store, and who does what."""

from collections.abc import Callable

from registry.spec.life import Life
from tests.model.clients import blob_deleter, deleter, mounter, pusher
from tests.model.collectors import collector
from tests.model.world import OLDEST, A, Actor, B, Record, World, held, left, linked, pushed


def _world(*actors: Actor) -> World:
    return World(actors)


def _hidden_manifest(world: World) -> World:
    """An image that was pushed, and deleted long ago."""
    hidden = Record(Life.HIDDEN, "f0", OLDEST, "whole")
    world = pushed(world, A).after("manifests", A, hidden)
    return world.after("acknowledged", A, False)  # noqa: FBT003


SCENARIOS: dict[str, Callable[[int], World]] = {
    "a push": lambda n: _world(pusher("p"), collector("c", n)),
    "a push onto a condemned pointer": lambda n: left(
        _world(pusher("p"), collector("c", n)), Life.CONDEMNED
    ),
    "a push onto a deleting pointer": lambda n: left(
        _world(pusher("p"), collector("c", n)), Life.DELETING
    ),
    "a push of what is held": lambda n: held(_world(pusher("p"), collector("c", n)), A),
    "a push of what is condemned": lambda n: held(
        _world(pusher("p"), collector("c", n)), A, Life.CONDEMNED
    ),
    "a push of what is hidden": lambda n: held(
        _world(pusher("p"), collector("c", n)), A, Life.HIDDEN
    ),
    "a push of what is deleting": lambda n: held(
        _world(pusher("p"), collector("c", n)), A, Life.DELETING
    ),
    "a mount": lambda n: held(_world(mounter("m"), collector("c", n)), A),
    "a mount of what is condemned": lambda n: held(
        _world(mounter("m"), collector("c", n)), A, Life.CONDEMNED
    ),
    "a push of a hidden manifest": lambda n: _hidden_manifest(
        _world(pusher("p"), collector("c", n))
    ),
    "a push where one broke off": lambda n: linked(
        held(_world(pusher("p"), collector("c", n)), A), A
    ),
    "a deletion and a push": lambda n: pushed(
        _world(deleter("d"), pusher("p"), collector("c", n)), A
    ),
    "a deletion and a mount": lambda n: pushed(
        _world(deleter("d"), mounter("m"), collector("c", n)), A
    ),
    "a deletion of the blob and a push": lambda n: held(
        _world(blob_deleter("d"), pusher("p"), collector("c", n)), A
    ),
}
"""By name: the world for a collector that takes up so many things."""

DEEP: dict[str, Callable[[int], World]] = {
    "two pushes": lambda n: _world(pusher("p"), pusher("q"), collector("c", n)),
    "pushes to two repositories": lambda n: _world(pusher("p"), pusher("q", B), collector("c", n)),
    "a push and two collectors": lambda n: held(
        _world(pusher("p"), collector("c", n), collector("k", n)), A
    ),
    "two collectors of what is left": lambda n: left(
        _world(pusher("p"), collector("c", n), collector("k", n)), Life.CONDEMNED
    ),
}
"""Those that take minutes."""
