"""What the collection model keeps: one blob, two repositories, a manifest in each that needs it.

Every value is a small tuple, so that a whole world is hashable. Times are ages in ticks, cut off
where more makes no difference. A *nonce* tells two writes of one record apart, as versions do.
"""

from typing import NamedTuple

from registry.spec.life import Life

GRACE = 1
"""In ticks. A writer's patience is less than one: it must end in the tick in which it began."""

OLDEST = GRACE + 1

A, B = 0, 1
"""The repositories."""


class Record(NamedTuple):
    """A pointer, membership or manifest. ``data``: which upload's bytes, or whether it is whole."""

    life: Life
    nonce: str
    age: int = 0
    data: str = ""

    def same(self, other: "Record | None") -> bool:
        """Whether a compare-and-swap takes the other for this one."""
        return other is not None and (self.life, self.nonce) == (other.life, other.nonce)


class Link(NamedTuple):
    """An entry that belongs to a record: ``repos/…/blobs/…`` or ``repos/…/needed/…``."""

    nonce: str
    age: int = 0


class Actor(NamedTuple):
    """A request, a client's sequence of them, or a collector.

    ``step`` is what it does next; ``slow`` whether a tick passed since it began its sequence.
    """

    name: str
    kind: str
    step: str
    repository: int = A
    slow: bool = False
    tries: int = 0
    seen: tuple[object, ...] = ()


class World(NamedTuple):
    """Everything. ``promised`` is the age of the last promise about a membership, if any."""

    actors: tuple[Actor, ...]
    pointer: Record | None = None
    data: frozenset[str] = frozenset()
    members: tuple[Record | None, ...] = (None, None)
    index: tuple[Link | None, ...] = (None, None)
    manifests: tuple[Record | None, ...] = (None, None)
    links: tuple[Link | None, ...] = (None, None)
    promised: tuple[int | None, ...] = (None, None)
    acknowledged: tuple[bool, ...] = (False, False)
    exempt: tuple[bool, ...] = (False, False)
    """Whether a client deleted the blob itself: then nothing was promised about its manifests."""

    ticks: int = 0

    def after(self, name: str, repository: int, value: object) -> "World":
        """The world with one repository's ``name`` set."""
        old = getattr(self, name)
        new = (value, old[1]) if repository == A else (old[0], value)
        return self._replace(**{name: new})


def older(world: World) -> World:
    """One tick later."""

    def record(each: Record | None) -> Record | None:
        return each and each._replace(age=min(each.age + 1, OLDEST))

    def link(each: Link | None) -> Link | None:
        return each and each._replace(age=min(each.age + 1, OLDEST))

    return world._replace(
        actors=tuple(each._replace(slow=True) for each in world.actors),
        pointer=record(world.pointer),
        members=tuple(map(record, world.members)),
        index=tuple(map(link, world.index)),
        manifests=tuple(map(record, world.manifests)),
        links=tuple(map(link, world.links)),
        promised=tuple(None if each is None else min(each + 1, OLDEST) for each in world.promised),
        ticks=world.ticks + 1,
    )


def pushed(world: World, repository: int, data: str = "old") -> World:
    """The world with an image pushed to the repository long ago."""
    record = Record(Life.LIVE, "", OLDEST)
    world = world._replace(
        pointer=world.pointer or Record(Life.LIVE, "p0", OLDEST, data),
        data=world.data | {data},
    )
    for name, value in (
        ("members", record),
        ("index", Link("i0", OLDEST)),
        ("manifests", record._replace(data="whole")),
        ("links", Link("n0", OLDEST)),
        ("acknowledged", True),
    ):
        world = world.after(name, repository, value)
    return world


def held(world: World, repository: int, life: Life = Life.LIVE, data: str = "old") -> World:
    """The world with the blob alone in the repository for long: no manifest needs it."""
    world = left(world, Life.LIVE, data)
    nonce = "" if life is Life.LIVE else "m0"
    world = world.after("members", repository, Record(life, nonce, OLDEST))
    return world.after("index", repository, Link("i0", OLDEST))


def left(world: World, life: Life, data: str = "old") -> World:
    """The world with a pointer that no repository holds, for long."""
    pointer = world.pointer or Record(life, "p0", OLDEST, data)
    return world._replace(pointer=pointer, data=world.data | {data})


def linked(world: World, repository: int, age: int = OLDEST) -> World:
    """The world with what a push of a manifest left that broke off before the manifest."""
    return world.after("links", repository, Link("n0", age))
