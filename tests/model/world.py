"""What the collection model keeps: one blob, two repositories, a manifest in each that needs it.

Every value is a small tuple, so that a whole world is hashable. Times are ages in ticks, cut off
where more makes no difference. A *nonce* tells two writes of one record apart, as versions do.
"""

from typing import NamedTuple

from registry.spec.life import Life

GRACE = 1
"""In ticks. A writer's patience is less than one: it must end in the tick in which it began."""

WINDOW = 2
"""In ticks: for so long what was deleted can be had back."""

OLDEST = GRACE + 1

A, B = 0, 1
"""The repositories."""


class Record(NamedTuple):
    """A pointer or membership. ``data``: which upload's bytes."""

    life: Life
    nonce: str
    age: int = 0
    data: str = ""

    def same(self, other: "Record | None") -> bool:
        """Whether a compare-and-swap takes the other for this one."""
        return other is not None and (self.life, self.nonce) == (other.life, other.nonce)


class Link(NamedTuple):
    """An entry that leads to a membership or manifest: ``refs/…``, ``…/needed/…``, ``…/pushed/…``.

    Also a record of what was mounted at once, and the copy of a deleted manifest; ``timely``: of
    one that was stored within the patience.
    """

    nonce: str
    age: int = 0
    timely: bool = True


class Manifest(NamedTuple):
    """A manifest; ``timely``: stored within the patience. What is not, its push stores again."""

    timely: bool = True


class Actor(NamedTuple):
    """A request, a client's sequence of them, or a collector.

    ``step`` is what it does next; ``slow`` how many ticks passed since it began its sequence.
    """

    name: str
    kind: str
    step: str
    repository: int = A
    slow: int = 0
    tries: int = 0
    seen: tuple[object, ...] = ()


class World(NamedTuple):
    """Everything. ``promised`` is the age of the last promise about a membership, if any."""

    actors: tuple[Actor, ...]
    pointer: Record | None = None
    data: frozenset[str] = frozenset()
    members: tuple[Record | None, ...] = (None, None)
    index: tuple[Link | None, ...] = (None, None)
    manifests: tuple[Manifest | None, ...] = (None, None)
    pushed: tuple[Link | None, ...] = (None, None)
    links: tuple[Link | None, ...] = (None, None)
    copies: tuple[Link | None, ...] = (None, None)
    mounts: tuple[Link | None, ...] = (None, None)
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
        actors=tuple(each._replace(slow=min(each.slow + 1, OLDEST)) for each in world.actors),
        pointer=record(world.pointer),
        members=tuple(map(record, world.members)),
        index=tuple(map(link, world.index)),
        pushed=tuple(map(link, world.pushed)),
        links=tuple(map(link, world.links)),
        copies=tuple(map(link, world.copies)),
        mounts=tuple(map(link, world.mounts)),
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
        ("manifests", Manifest()),
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


def derived(world: World, repository: int) -> World:
    """The world with an image that was derived just now, and is to have its blob by a record."""
    world = world.after("mounts", repository, Link("r0"))
    world = world.after("manifests", repository, Manifest())
    world = world.after("pushed", repository, Link("n0"))
    world = world.after("promised", repository, 0)
    return world.after("acknowledged", repository, True)  # noqa: FBT003


def announced(world: World, repository: int, age: int = OLDEST) -> World:
    """The world with what a push of a manifest left that broke off before the manifest."""
    return world.after("pushed", repository, Link("n0", age))


def deleted(world: World, repository: int, age: int = 0) -> World:
    """The world with the repository's manifest deleted for so long."""
    world = world.after("manifests", repository, None)
    world = world.after("acknowledged", repository, False)  # noqa: FBT003
    return world.after("copies", repository, Link("d0", age))


def unread(world: World, repository: int) -> World:
    """The world with a manifest that no collector has read yet."""
    world = world.after("links", repository, None)
    return world.after("pushed", repository, Link("n0", OLDEST))
