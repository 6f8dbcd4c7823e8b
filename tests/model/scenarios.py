"""Where the model begins: what is in the store, and who does what."""

from collections.abc import Callable

from registry.spec.life import Life
from tests.model.clients import (
    asker,
    blob_deleter,
    deleter,
    deriver,
    mounter,
    pusher,
    undeleter,
)
from tests.model.collectors import collector, listed
from tests.model.world import (
    OLDEST,
    A,
    Actor,
    B,
    World,
    announced,
    deleted,
    derived,
    held,
    left,
    pushed,
    unread,
)


def _world(*actors: Actor) -> World:
    return World(actors)


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
    "a derivation": lambda n: held(_world(deriver("m"), collector("c", n)), A),
    "a derivation of what is condemned": lambda n: held(
        _world(deriver("m"), collector("c", n)), A, Life.CONDEMNED
    ),
    "a derivation to where it is condemned": lambda n: held(
        held(_world(deriver("m"), collector("c", n)), A), B, Life.CONDEMNED
    ),
    "a derivation that nothing else holds": lambda n: derived(
        held(_world(collector("c", n)), A, Life.HIDDEN), B
    ),
    "a derivation that two collectors know nothing of": lambda n: derived(
        left(_world(listed("k"), listed("q"), collector("c", n)), Life.LIVE), B
    ),
    "a push of what was deleted": lambda n: deleted(
        pushed(_world(pusher("p"), collector("c", n)), A), A, OLDEST
    ),
    "a push of what was deleted before it was read": lambda n: deleted(
        unread(pushed(_world(pusher("p"), collector("c", n)), A), A), A, OLDEST
    ),
    "a push where one broke off": lambda n: announced(
        held(_world(pusher("p"), collector("c", n)), A), A
    ),
    "a push that somebody asks for": lambda n: held(
        _world(pusher("p"), asker("a"), collector("c", n)), A
    ),
    "a push while a deletion ends": lambda n: pushed(
        _world(Actor("d", "delete", "remove"), Actor("p", "put", "announce"), collector("c", n)),
        A,
    ),
    "a deletion": lambda n: unread(pushed(_world(deleter("d"), collector("c", n)), A), A),
    "a deletion that is undone": lambda n: deleted(
        unread(pushed(_world(undeleter("u"), collector("c", n)), A), A), A
    ),
    "a push of what was read already": lambda n: pushed(_world(pusher("p"), collector("c", n)), A),
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
    "a deletion and a derivation": lambda n: pushed(
        _world(deleter("d"), deriver("m"), collector("c", n)), A
    ),
    "a deletion of the blob and a derivation": lambda n: held(
        _world(blob_deleter("d"), deriver("m"), collector("c", n)), A
    ),
    "two collectors of what is left": lambda n: left(
        _world(pusher("p"), collector("c", n), collector("k", n)), Life.CONDEMNED
    ),
}
"""Those that take minutes."""
