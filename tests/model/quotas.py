"""The model of quotas: who pushes, removes and counts, over the account's own transitions.

A tiny project: two blobs ``a`` and ``b`` of one byte, and an upload session ``s`` that becomes
``a``. Each step is one write of the store or one listing. Transitions of the account
(``registry.spec.quota``) are compare-and-swap loops, so each is one step here. A crash needs no
step: every world is also one whose actors never do another.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from registry.spec import quota
from registry.spec.quota import NOTHING, Account, Amounts, Limits

RULES = {
    "take first": "a share is taken before anything is stored from it",
    "created": "what was there already is not paid for twice, nor is it a removal's to give back",
    "round": "what was removed is taken off only if there was no count since before",
    "since": "what was settled while a count ran is added to it",
    "sessions first": "sessions are counted before what they become",
    "margin": "a share is dropped only when nothing can be stored from it any more",
    "began over": "a count drops only shares that were over when it began",
    "claim": "who finishes a session marks it first, so that nobody else gives its bytes back",
    "own mark": "who takes up a session that another has marked gives nothing back",
    "stays marked": "who takes one up and breaks off leaves it marked",
    "pay again": "nor is the blob paid for with the session then: its bytes may have paid for one",
    "still own": "who marked it gives its bytes back only if nobody has taken it up since",
    "look again": "a share that is over is looked at before anything is stored from it",
    "as loaded": "who pays anew gives a session back only with the record that it has loaded",
    "one removes": "of several that remove a record one is told that it did",
}

ONE = Amounts(1)
LIFE, MARGIN = 1, 1
"""In ticks: how long a share is good; how long a write may take that was begun in time."""

END = "end"
_TIMED = ("write", "become")


class Actor(NamedTuple):
    """``blob``: what it stores or removes. ``seen``: the round. ``until``: of its share."""

    name: str
    step: str
    blob: str = ""
    seen: int = -1
    until: int = 0
    waited: int = 0
    stored: bool = False
    held: bool = False
    found: int = 0
    marked: bool = False
    finishes: bool = False
    anew: bool = False


class World(NamedTuple):
    """``session``: "", open, marked (being finished), passed (its bytes are the blob's now).

    ``owner`` marked it last: each mark is a swap, and gives it another version. A session that is
    open has one version, that which its uploader wrote.
    """

    actors: tuple[Actor, ...]
    account: Account
    blobs: frozenset[str] = frozenset()
    session: str = ""
    owner: str = ""
    now: int = 0

    @property
    def stored(self) -> int:
        """The bytes that are stored and have to be paid for."""
        return len(self.blobs) + (self.session in ("open", "marked"))


class BrokenError(AssertionError):
    """An invariant does not hold; and the steps that led there."""


class Model:
    def __init__(self, without: str = "") -> None:
        assert not without or without in RULES
        self.without = without

    def keeps(self, rule: str) -> bool:
        return rule != self.without


def begin(limit: int, *actors: Actor, blobs: str = "", session: str = "") -> World:
    used = Amounts(len(blobs) + (session == "open"))
    account = Account(Limits(bytes=limit), used=used, counted=0.0)
    return World(actors, account, frozenset(blobs), session)


def pusher(name: str, blob: str) -> Actor:
    return Actor(name, "take", blob)


def uploader(name: str) -> Actor:
    """Stores a session of one byte."""
    return Actor(name, "take", "s")


def finisher(name: str) -> Actor:
    """Makes the blob ``a`` of what the session holds."""
    return Actor(name, "mark", "a", finishes=True)


def breaker(name: str) -> Actor:
    """Repeats the end of what the session holds, and breaks off with its last chunk."""
    return Actor(name, "break off", finishes=True)


def payer(name: str) -> Actor:
    """Makes the blob ``a`` of an open session, which it has loaded, and pays for it anew."""
    return Actor(name, "take", "a", finishes=True, anew=True)


def remover(name: str, blob: str) -> Actor:
    """Removes a blob, or cancels the session."""
    return Actor(name, "look", blob)


def counter(name: str) -> Actor:
    return Actor(name, "begin")


def explore(model: Model, world: World, ticks: int) -> int:
    """Check every world that can come of this one; return how many there are."""
    came: dict[object, tuple[World, str] | None] = {_key(world): None}
    waiting = deque([world])
    drained: set[object] = set()
    while waiting:
        world = waiting.popleft()
        try:
            _check(world)
            rest = _key(world._replace(actors=()))
            if rest not in drained:
                drained.add(rest)
                _drain(model, world)
            for label, after in _successors(model, world, ticks):
                if (key := _key(after)) not in came:
                    came[key] = (world, label)
                    waiting.append(after)
        except BrokenError as error:
            raise BrokenError("\n".join([str(error), *_path(came, world)])) from None
    return len(came)


def _key(world: World) -> object:
    return world._replace(account=msgspec.json.encode(world.account, order="sorted"))


def _path(came: dict[object, tuple[World, str] | None], world: World) -> list[str]:
    path: list[str] = []
    while (before := came[_key(world)]) is not None:
        world, label = before
        path.append(label)
    return path[::-1]


def _check(world: World) -> None:
    total = world.account.total.bytes
    if world.stored > total:
        raise BrokenError(f"{world.stored} bytes are stored, and {total} are paid for")
    if world.stored > (world.account.limits.bytes or 0):
        raise BrokenError(f"{world.stored} bytes are stored of {world.account.limits.bytes}")


def _drain(model: Model, world: World) -> None:
    """Everybody is gone and time passes: a count must find exactly what is stored."""
    world = world._replace(now=world.now + LIFE + MARGIN + 1, session="", actors=(counter("z"),))
    while world.actors[0].step != END:
        ((_, world),) = _steps(model, world, 0)
    account = world.account
    if account.due or account.shares or account.count or account.total != Amounts(world.stored):
        raise BrokenError(f"a count leaves {account} where {world.stored} bytes are stored")


def _successors(model: Model, world: World, ticks: int) -> Iterator[tuple[str, World]]:
    for number, actor in enumerate(world.actors):
        for label, after in _steps(model, world, number):
            yield f"{actor.name} {label}", after
    if world.now < ticks and all(
        # Of what was begun in time, nothing takes longer than the margin.
        actor.step not in _TIMED or actor.waited < MARGIN
        for actor in world.actors
    ):
        actors = tuple(
            each._replace(waited=each.waited + (each.step in _TIMED)) for each in world.actors
        )
        yield "time passes", world._replace(now=world.now + 1, actors=actors)


def _steps(model: Model, world: World, number: int) -> Iterator[tuple[str, World]]:
    actor = world.actors[number]
    step = _STEPS.get(actor.step)
    if step is not None:
        yield step(model, world, actor, number)


def _go(world: World, number: int, **changes: object) -> World:
    actors = list(world.actors)
    actors[number] = actors[number]._replace(waited=0, **changes)
    if actors[number].step == END:
        actors[number] = Actor(actors[number].name, END)
    return world._replace(actors=tuple(actors))


def _take(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    if not model.keeps("take first") and not actor.stored:
        return "does not take a share yet", _go(world, number, step="write")
    until = world.now + LIFE
    account = quota.take(world.account, actor.name, ONE, float(until))
    if account is None:
        return "is refused", _go(world, number, step=END)
    world = world._replace(account=account)
    after = "settle" if actor.stored else "check"
    return "takes a share", _go(world, number, step=after, until=until, held=True)


def _check_share(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    if actor.until >= world.now or not model.keeps("look again"):
        step = "become" if actor.finishes else "write"
        return "sees that its share is good", _go(world, number, step=step)
    until = world.now + LIFE
    if actor.name not in world.account.shares:
        return "has no share any more", _go(world, number, step="take", held=False)
    now = float(world.now)
    renewed = quota.sign(world.account, actor.name, 0, now, float(until))
    world = world._replace(account=renewed)
    return "renews its share", _go(world, number, step="check", until=until)


def _write(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """Create what is pushed; one atomic step tells whether it was there."""
    there = world.session if actor.blob == "s" else actor.blob in world.blobs
    if there:
        stored = not model.keeps("created")
        return "finds it there", _go(world, number, step="settle", stored=stored)
    if actor.blob == "s":
        world = world._replace(session="open")
    else:
        world = world._replace(blobs=world.blobs | {actor.blob})
    step = "settle" if actor.held else "take"
    return "stores it", _go(world, number, step=step, stored=True)


def _settle(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    stored, returned = (ONE, NOTHING) if actor.stored else (NOTHING, ONE)
    settled = quota.settle(world.account, actor.name, stored, returned)
    if settled is None:
        # A count has dropped the share, so what was stored from it has been counted.
        return "has nothing to settle", _go(world, number, step=END)
    shares = {who: share for who, share in settled.shares.items() if share.held}
    settled = msgspec.structs.replace(settled, shares=shares)
    count = settled.count
    if count is not None and not model.keeps("since"):
        count = msgspec.structs.replace(count, since=NOTHING)
        settled = msgspec.structs.replace(settled, count=count)
    return "settles", _go(world._replace(account=settled), number, step=END)


def _mark(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """Mark the session; one that was marked already is taken up, as a PUT that is repeated is."""
    if not world.session:
        return "finds no session", _go(world, number, step=END)
    if not model.keeps("claim"):
        return "goes on with the session", _go(world, number, step="become", marked=True)
    own = world.session == "open" or not model.keeps("own mark")
    session = "marked" if world.session == "open" else world.session
    step = "take" if world.session != "open" and model.keeps("pay again") else "become"
    world = world._replace(session=session, owner=actor.name)
    return "marks the session", _go(world, number, step=step, marked=own)


def _break_off(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """Save what came of the last chunk of one that another has marked: nothing, to be short."""
    if world.session not in ("marked", "passed"):
        return "finds no session that is marked", _go(world, number, step=END)
    session = world.session if model.keeps("stays marked") else "open"
    world = world._replace(session=session, owner=actor.name)
    return "breaks off", _go(world, number, step=END)


def _become(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    if actor.blob in world.blobs:
        step = "note" if actor.marked or actor.anew else "forget"
        return "finds the blob there", _go(world, number, step=step)
    session = "passed" if world.session and not actor.held else world.session
    world = world._replace(blobs=world.blobs | {actor.blob}, session=session)
    step = "note" if actor.anew else "forget"
    return "makes it a blob", _go(world, number, step=step, stored=True)


def _note(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    return "notes the round", _go(world, number, step="release", seen=world.account.round)


def _release(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """Remove a session that paid for nothing, as it was loaded or marked: whether it was, shows."""
    if actor.anew:
        mine = world.session == "open" or not model.keeps("as loaded")
        mine = mine if world.session else not model.keeps("one removes")
    else:
        mine = world.session and (world.owner == actor.name or not model.keeps("claim"))
        mine = mine or not model.keeps("still own")
    if not mine:
        step = "settle" if actor.held else END
        return "is no longer the one that marked it", _go(world, number, step=step)
    return "releases it", _go(world._replace(session="", owner=""), number, step="give back")


def _forget(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    step = "settle" if actor.held else END
    return "forgets the session", _go(world._replace(session="", owner=""), number, step=step)


def _look(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    return "notes the round", _go(world, number, step="remove", seen=world.account.round)


def _remove(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """Remove it; one atomic step tells whether it was there."""
    open_ = world.session == "open" or (world.session == "passed" and not model.keeps("claim"))
    there = open_ if actor.blob == "s" else actor.blob in world.blobs
    if not there and model.keeps("created"):
        return "finds nothing", _go(world, number, step=END)
    if actor.blob == "s":
        world = world._replace(session="")
    else:
        world = world._replace(blobs=world.blobs - {actor.blob})
    return "removes it", _go(world, number, step="give back")


def _give_back(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    account = world.account
    if model.keeps("round"):
        account = quota.give_back(account, ONE, actor.seen)
    else:
        account = msgspec.structs.replace(account, used=account.used - ONE)
    step = "settle" if actor.held else END
    return "gives it back", _go(world._replace(account=account), number, step=step)


def _begin(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    account = quota.begin_count(world.account, actor.name, float(world.now))
    return "begins to count", _go(world._replace(account=account), number, step="list")


def _list(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    """It need not wait until all have settled: then it only comes out too high."""
    margin = MARGIN if model.keeps("margin") else -LIFE - 1
    account = quota.begin_list(world.account, actor.name, float(world.now), margin)
    if account is None:
        return "counts in vain", _go(world, number, step=END)
    step = "count sessions" if model.keeps("sessions first") else "count a"
    return "begins to list", _go(world._replace(account=account), number, step=step)


def _count(which: str) -> object:
    def step(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
        there = bool(world.session) if which == "sessions" else which in world.blobs
        order = ["sessions", "a", "b"] if model.keeps("sessions first") else ["a", "b", "sessions"]
        following = order[order.index(which) + 1 :]
        after = f"count {following[0]}" if following else "end count"
        return f"counts {which}", _go(world, number, step=after, found=actor.found + there)

    return step


def _end(model: Model, world: World, actor: Actor, number: int) -> tuple[str, World]:
    account, now = world.account, float(world.now)
    if not model.keeps("began over") and account.count is not None:
        over = {who: share.until for who, share in account.shares.items()}
        over = {who: until for who, until in over.items() if until + MARGIN < now}
        count = msgspec.structs.replace(account.count, over=over)
        account = msgspec.structs.replace(account, count=count)
    ended = quota.end_count(account, actor.name, Amounts(actor.found), actor.found, now)
    if ended is None:
        return "counted in vain", _go(world, number, step=END)
    # Times of counts make no difference to what follows.
    ended = msgspec.structs.replace(ended, counted=0.0)
    return "ends the count", _go(world._replace(account=ended), number, step=END)


_STEPS = {
    "take": _take,
    "check": _check_share,
    "write": _write,
    "settle": _settle,
    "mark": _mark,
    "break off": _break_off,
    "become": _become,
    "note": _note,
    "release": _release,
    "forget": _forget,
    "look": _look,
    "remove": _remove,
    "give back": _give_back,
    "begin": _begin,
    "list": _list,
    "count sessions": _count("sessions"),
    "count a": _count("a"),
    "count b": _count("b"),
    "end count": _end,
}
