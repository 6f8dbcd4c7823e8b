"""What a collector does, one step of the store at a time."""

from registry.spec.life import Event, Life, judge
from tests.model.protocol import BrokenError, Model, Step, Steps, go, is_there, nonce_of, swap
from tests.model.world import GRACE, WINDOW, A, Actor, B, Link, Record, World


def _idle(model: Model, world: World, number: int) -> Steps:
    """Take up anything: the queue and the full mark only say where to look."""
    actor = world.actors[number]
    if actor.tries == 0:
        return
    more = {"tries": actor.tries - 1, "seen": (), "slow": 0}
    if world.pointer is not None:
        first = "settle" if model.keeps("mounts first") and any(world.mounts) else "judge pointer"
        yield "takes up pointer", go(world, number, first, **more)
    for repository in (A, B):
        more["repository"] = repository
        if world.members[repository] is not None:
            yield f"takes up member {repository}", go(world, number, "list", kind="member", **more)
        kept = (world.manifests, world.pushed, world.links, world.copies)
        if any(each[repository] is not None for each in kept):
            yield f"takes up manifest {repository}", go(world, number, "forget", **more)


def _due(model: Model, record: Record, age: int) -> bool:
    """Whether it is worth asking what needs it."""
    if record.life is Life.DELETING:
        return record.age >= model.settle
    return record.life is Life.LIVE or age >= GRACE or not model.keeps("grace")


# What was mounted at once is made a member: only of B, into which images are derived


def _settle(model: Model, world: World, number: int) -> Steps:
    record = world.mounts[B]
    if record is None:
        yield "finds no record", go(world, number, "judge pointer", repository=A, seen=())
    else:
        first = "settle index" if model.keeps("members first") else "remove record"
        yield "reads a record", go(world, number, first, repository=B, seen=(record,))


def _settle_index(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    world = world.after("index", B, Link(f"{actor.name}{actor.tries}"))
    yield "enters it in the index", go(world, number, "settle member")


def _settle_member(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    member = world.members[B]
    after = "remove record" if model.keeps("members first") else "settle"
    if member is None:
        world = world.after("members", B, Record(Life.LIVE, ""))
        yield "makes it a member", go(world, number, after)
    elif member.life is Life.LIVE:
        yield "finds it a member", go(world, number, after)
    else:
        yield (
            "finds it in another state",
            go(world, number, "settle swap", seen=(*actor.seen, member)),
        )


def _settle_swap(model: Model, world: World, number: int) -> Steps:
    record, seen = world.actors[number].seen
    swapped = swap(world.members[B], seen, Event.WRITE, "")
    if world.mounts[B] is None:
        yield "finds that the record is gone", go(world, number, "settle", seen=())
    elif swapped is None:
        yield "is too late to swap it", go(world, number, "settle index", seen=(record,))
    else:
        world = world.after("members", B, swapped)
        yield "swaps the member", go(world, number, "settle index", seen=(record,))


def _remove_record(model: Model, world: World, number: int) -> Steps:
    (record,) = world.actors[number].seen
    world, _ = _bury(model, world, number, "mounts", record)
    after = "settle" if model.keeps("members first") else "settle index"
    yield "removes the record", go(world, number, after)


# What was pushed is read: what it needs is entered, then it is struck out


def _forget(model: Model, world: World, number: int) -> Steps:
    """A deleted manifest that can't be had back any more is forgotten, at its version."""
    actor = world.actors[number]
    copy = world.copies[actor.repository]
    listing = {"kind": "manifest", "slow": 0, "seen": ()}
    if copy is None or copy.age < WINDOW:
        yield "forgets nothing", go(world, number, "list", **listing)
    else:
        yield "reads an old copy", go(world, number, "forget it", seen=(copy,))


def _forget_it(model: Model, world: World, number: int) -> Steps:
    (copy,) = world.actors[number].seen
    world, _ = _bury(model, world, number, "copies", copy)
    yield "forgets it", go(world, number, "list", kind="manifest", slow=0, seen=())


def _list(model: Model, world: World, number: int) -> Steps:
    """List what was pushed, with its version. What is judged then is judged as of now."""
    pushed = world.pushed[world.actors[number].repository]
    if pushed is None:
        yield "finds nothing pushed", _listed(world, number)
    else:
        yield "lists what was pushed", go(world, number, "read manifest", seen=(pushed,))


def _listed(world: World, number: int) -> World:
    actor = world.actors[number]
    after = {"member": "judge member", "manifest": "entry"}[actor.kind]
    return go(world, number, after, kind="collect", seen=())


def _read_manifest(model: Model, world: World, number: int) -> Steps:
    """Read the manifest to know what it needs; where there is none, what can be had back."""
    actor = world.actors[number]
    first = "enter" if model.keeps("entered first") else "strike out"
    if world.manifests[actor.repository] is not None:
        yield "reads the manifest", go(world, number, first)
    else:
        yield "reads no manifest", go(world, number, "read copy")


def _read_copy(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    (pushed,) = actor.seen
    copy = world.copies[actor.repository]
    if copy is not None and copy.age < WINDOW and model.keeps("copies"):
        first = "enter" if model.keeps("entered first") else "strike out"
        yield "reads a copy", go(world, number, first)
    elif pushed.age < GRACE and model.keeps("old entries"):
        yield "leaves what is being pushed", _listed(world, number)
    else:
        yield "reads nothing", go(world, number, "strike out", seen=(pushed, "nothing"))


def _enter(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    if world.links[actor.repository] is None or model.keeps("new entries"):
        entry = Link(f"{actor.name}{actor.tries}")
        world = world.after("links", actor.repository, entry)
    after = _listed(world, number)
    if model.keeps("entered first"):
        after = go(world, number, "strike out")
    yield "enters what it needs", after


def _strike_out(model: Model, world: World, number: int) -> Steps:
    pushed, *nothing = world.actors[number].seen
    world, _ = _bury(model, world, number, "pushed", pushed)
    if nothing or model.keeps("entered first"):
        yield "strikes out what was pushed", _listed(world, number)
    else:
        yield "strikes out what was pushed", go(world, number, "enter")


def _bury(model: Model, world: World, number: int, name: str, seen: Link) -> tuple[World, bool]:
    """Remove an entry at the version that was seen; whether it was still there, or none is.

    A store that does not delete at a version replaces it at one.
    """
    found = _found(world, number, name)
    same = isinstance(found, Link) and found.nonce == seen.nonce
    if same or not model.keeps("at the version"):
        return _without(world, number, name), True
    return world, found is None


# Whether an entry leads to a manifest


def _entry(model: Model, world: World, number: int) -> Steps:
    """Look at the entry of what was deleted."""
    link = world.links[world.actors[number].repository]
    if link is None:
        yield "finds no entry", go(world, number, "idle")
    else:
        yield "finds an entry", go(world, number, "leads", seen=(None,))


def _leads(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    if is_there(model, world, actor.repository):
        yield "finds what needs it", _known(model, world, number, needed=True)
    else:
        yield "finds that it leads nowhere", go(world, number, "look at entry")


def _look_at_entry(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    link = world.links[actor.repository]
    after = "leads again" if model.keeps("look twice") else "remove entry"
    if link is None:
        yield "finds no entry", _known(model, world, number, needed=False)
    elif link.age < GRACE and model.keeps("old entries"):
        yield "leaves a young entry", go(world, number, "idle", seen=())
    else:
        yield "looks at the entry", go(world, number, after, seen=(*actor.seen, link))


def _leads_again(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    if is_there(model, world, actor.repository):
        yield "finds what needs it", _known(model, world, number, needed=True)
    else:
        yield "finds once more that it leads nowhere", go(world, number, "remove entry")


def _remove_entry(model: Model, world: World, number: int) -> Steps:
    *_, link = world.actors[number].seen
    world, removed = _bury(model, world, number, "links", link)
    if removed:
        yield "removes the entry", _known(model, world, number, needed=False)
    else:
        yield "is too late to remove the entry", go(world, number, "idle", seen=())


def _judge(model: Model, record: Record, age: int, *, needed: bool) -> Event | None:
    if not model.keeps("grace"):
        age = GRACE
    if record.life is Life.LIVE:
        age = GRACE  # that it must be old to be condemned is politeness, not safety
    elif not model.keeps("look again"):
        needed = False
    return judge(record.life, age, grace=GRACE, settle=model.settle, needed=needed).event


def _judge_member(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    member = world.members[actor.repository]
    if member is None or not _due(model, member, _age(model, member, actor)):
        yield "leaves it", go(world, number, "idle")
    else:
        seen = member._replace(age=_age(model, member, actor))
        yield f"reads a {member.life} member", go(world, number, "needs", seen=(seen,))


def _age(model: Model, record: Record, actor: Actor) -> int:
    """How old it was when what was pushed was listed: what came later is not known of."""
    if record.life is Life.DELETING or not model.keeps("as of the list"):
        return record.age
    return record.age - actor.slow


def _needs(model: Model, world: World, number: int) -> Steps:
    """List what needs it."""
    actor = world.actors[number]
    if world.links[actor.repository] is not None:
        yield "finds an entry", go(world, number, "leads")
    else:
        yield "finds no entry", _known(model, world, number, needed=False)


def _known(model: Model, world: World, number: int, *, needed: bool) -> World:
    """It is known whether anything needs the member; with none, only its entry was looked at."""
    seen = world.actors[number].seen[0]
    event = seen and _judge(model, seen, seen.age, needed=needed)
    if event is None:
        return go(world, number, "idle", seen=())
    if event is Event.EXPIRE:
        return go(world, number, "look at index", seen=(seen,))
    return go(world, number, "swap member", seen=(seen, event))


def _look_at_index(model: Model, world: World, number: int) -> Steps:
    """What belongs to the record is looked at before the swap; young: somebody is writing."""
    actor = world.actors[number]
    (seen,) = actor.seen
    link = world.index[actor.repository]
    if link is not None and link.age < GRACE:
        yield "leaves what is being written", go(world, number, "idle", seen=())
    else:
        yield (
            "looks at the index",
            go(world, number, "swap member", seen=(seen, Event.EXPIRE, link)),
        )


def _swap_member(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    seen, event, *link = actor.seen
    nonce = nonce_of(world, number)
    after = swap(world.members[actor.repository], seen, event, "" if event is Event.KEEP else nonce)
    if after is None:
        yield "is too late", go(world, number, "idle", seen=())
        return
    if after.life is Life.DELETING and world.mounts[actor.repository] is None:
        _check_promise(world.promised[actor.repository])
    world = world.after("members", actor.repository, after)
    if event is Event.EXPIRE:
        yield (
            "expires the member",
            go(world, number, "remove index", slow=0, seen=(after, link[0])),
        )
    else:
        yield f"{event}s the member", go(world, number, "idle", seen=())


def _check_promise(promised: int | None) -> None:
    if promised is not None and promised < GRACE:
        raise BrokenError("what was promised within the grace expires")


def _remove_index(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    own, link = actor.seen
    yield from _remove(model, world, number, "index", link, ("remove member", (own,)))


def _remove_member(model: Model, world: World, number: int) -> Steps:
    (own,) = world.actors[number].seen
    yield from _remove(model, world, number, "members", own, ("idle", ()))


def _judge_pointer(model: Model, world: World, number: int) -> Steps:
    pointer = world.pointer
    age = pointer.age if pointer is not None else 0
    if pointer is not None and _as_of_the_mounts(model, pointer):
        age -= world.actors[number].slow
    if pointer is None or not _due(model, pointer, age):
        yield "leaves it", go(world, number, "idle")
    else:
        seen = pointer._replace(age=age)
        yield f"reads a {pointer.life} pointer", go(world, number, "holders", seen=(seen,))


def _as_of_the_mounts(model: Model, pointer: Record) -> bool:
    return pointer.life is not Life.DELETING and model.keeps("as of the mounts")


def _holders(model: Model, world: World, number: int) -> Steps:
    """List the repositories that hold it, in whatever state."""
    (seen,) = world.actors[number].seen
    held = any(member is not None for member in world.members)
    event = _judge(model, seen, seen.age, needed=held and model.keeps("look at members"))
    if event is None:
        yield "leaves it", go(world, number, "idle", seen=())
    else:
        yield f"wants to {event}", go(world, number, "swap pointer", seen=(seen, event))


def _collector_swaps_pointer(model: Model, world: World, number: int) -> Steps:
    seen, event = world.actors[number].seen
    after = swap(world.pointer, seen, event, nonce_of(world, number))
    if after is None:
        yield "is too late", go(world, number, "idle", seen=())
        return
    if after.life is Life.DELETING:
        for promised in world.promised:
            _check_promise(promised)
    world = world._replace(pointer=after)
    if event is Event.EXPIRE:
        yield "expires the pointer", go(world, number, "remove data", slow=0, seen=(after,))
    else:
        yield f"{event}s the pointer", go(world, number, "idle", seen=())


def _remove_data(model: Model, world: World, number: int) -> Steps:
    """Bytes have a key of their own, so this may come as late as it likes."""
    (own,) = world.actors[number].seen
    removed = world._replace(data=world.data - {own.data})
    yield "removes the bytes", go(removed, number, "remove pointer")


def _remove_pointer(model: Model, world: World, number: int) -> Steps:
    (own,) = world.actors[number].seen
    yield from _remove(model, world, number, "pointer", own, ("idle", ()))


def _remove(
    model: Model,
    world: World,
    number: int,
    name: str,
    seen: Record | Link | None,
    then: tuple[str, tuple[object, ...]],
) -> Steps:
    """Delete at the version that was seen.

    On a store that is not exact: a look, and then a request that it refuses where it comes later
    than a tick after the swap. Then it is not known what became of it, and a later collector
    begins again.
    """
    found = _found(world, number, name)
    same = found is not None and seen is not None and found[:2] == seen[:2]
    if isinstance(found, Link) and isinstance(seen, Link):
        same = found.nonce == seen.nonce
    if not model.exact and same:
        yield f"looks at {name}", go(world, number, "remove late", seen=(name, then))
        return
    if same or (found is not None and seen is not None and not model.keeps("at the version")):
        world = _without(world, number, name)
    yield f"removes {name}, if it is the same", go(world, number, then[0], seen=then[1])


def _remove_late(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    name, then = actor.seen
    if actor.slow and model.keeps("settle"):
        yield "is refused: too late", go(world, number, "idle", seen=())
    else:
        yield f"removes {name}", go(_without(world, number, name), number, then[0], seen=then[1])


def _found(world: World, number: int, name: str) -> Record | Link | None:
    if name == "pointer":
        return world.pointer
    found: Record | Link | None = getattr(world, name)[world.actors[number].repository]
    return found


def _without(world: World, number: int, name: str) -> World:
    if name == "pointer":
        return world._replace(pointer=None)
    return world.after(name, world.actors[number].repository, None)


STEPS: dict[str, Step] = {
    "idle": _idle,
    "settle": _settle,
    "settle index": _settle_index,
    "settle member": _settle_member,
    "settle swap": _settle_swap,
    "remove record": _remove_record,
    "forget": _forget,
    "forget it": _forget_it,
    "list": _list,
    "read manifest": _read_manifest,
    "read copy": _read_copy,
    "enter": _enter,
    "strike out": _strike_out,
    "entry": _entry,
    "leads": _leads,
    "look at entry": _look_at_entry,
    "leads again": _leads_again,
    "remove entry": _remove_entry,
    "judge member": _judge_member,
    "needs": _needs,
    "look at index": _look_at_index,
    "swap member": _swap_member,
    "remove index": _remove_index,
    "remove member": _remove_member,
    "judge pointer": _judge_pointer,
    "holders": _holders,
    "swap pointer": _collector_swaps_pointer,
    "remove data": _remove_data,
    "remove pointer": _remove_pointer,
    "remove late": _remove_late,
}


def listed(name: str) -> Actor:
    """A collector that has seen to what was mounted, and is about to judge the pointer."""
    return Actor(name, "collect", "judge pointer")


def collector(name: str, visits: int) -> Actor:
    """A collector that takes up so many things, whichever."""
    return Actor(name, "collect", "idle", tries=visits)
