"""What a collector does, one step of the store at a time."""

from registry.spec.life import Event, Life, judge
from tests.model.protocol import BrokenError, Model, Step, Steps, go, nonce_of, swap
from tests.model.world import GRACE, A, Actor, B, Link, Record, World


def _idle(model: Model, world: World, number: int) -> Steps:
    """Take up anything: the queue and the full mark only say where to look."""
    actor = world.actors[number]
    if actor.tries == 0:
        return
    more = {"tries": actor.tries - 1, "seen": ()}
    if world.pointer is not None:
        yield "takes up pointer", go(world, number, "judge pointer", **more)
    for repository in (A, B):
        more["repository"] = repository
        if world.members[repository] is not None:
            yield f"takes up member {repository}", go(world, number, "judge member", **more)
        if world.manifests[repository] is not None or world.links[repository] is not None:
            yield f"takes up manifest {repository}", go(world, number, "judge manifest", **more)


def _due(model: Model, record: Record) -> bool:
    """Whether it is worth asking what needs it."""
    if record.life is Life.DELETING:
        return record.age >= model.settle
    return record.life is Life.LIVE or record.age >= GRACE or not model.keeps("grace")


def _judge(model: Model, record: Record, *, needed: bool) -> Event | None:
    age = record.age if model.keeps("grace") else GRACE
    if record.life is Life.LIVE:
        age = GRACE  # that it must be old to be condemned is politeness, not safety
    elif not model.keeps("look again"):
        needed = False
    return judge(record.life, age, grace=GRACE, settle=model.settle, needed=needed).event


def _judge_member(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    member = world.members[actor.repository]
    if member is None or not _due(model, member):
        yield "leaves it", go(world, number, "idle")
    else:
        yield f"reads a {member.life} member", go(world, number, "needs", seen=(member,))


def _needs(model: Model, world: World, number: int) -> Steps:
    """List what needs it."""
    actor = world.actors[number]
    (seen,) = actor.seen
    event = _judge(model, seen, needed=world.links[actor.repository] is not None)
    if event is None:
        yield "leaves it", go(world, number, "idle", seen=())
    elif event is Event.EXPIRE:
        yield "finds nothing that needs it", go(world, number, "look at index", seen=(seen,))
    else:
        yield f"wants to {event}", go(world, number, "swap member", seen=(seen, event))


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
    if after.life is Life.DELETING:
        _check_promise(world.promised[actor.repository])
    world = world.after("members", actor.repository, after)
    if event is Event.EXPIRE:
        yield (
            "expires the member",
            go(world, number, "remove index", slow=False, seen=(after, link[0])),
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
    if pointer is None or not _due(model, pointer):
        yield "leaves it", go(world, number, "idle")
    else:
        yield f"reads a {pointer.life} pointer", go(world, number, "holders", seen=(pointer,))


def _holders(model: Model, world: World, number: int) -> Steps:
    """List the repositories that hold it, in whatever state."""
    (seen,) = world.actors[number].seen
    held = any(member is not None for member in world.members)
    event = _judge(model, seen, needed=held and model.keeps("look at members"))
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
        yield "expires the pointer", go(world, number, "remove data", slow=False, seen=(after,))
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


def _judge_manifest(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    manifest = world.manifests[actor.repository]
    link = world.links[actor.repository]
    if manifest is None:
        if link is None or link.age < GRACE:
            yield "leaves it", go(world, number, "idle")
        elif model.keeps("void"):
            yield "finds a link without manifest", go(world, number, "void")
        else:
            yield from _remove(model, world, number, "links", link, ("idle", ()))
    elif manifest.life is Life.LIVE or not _due(model, manifest):
        yield "leaves it", go(world, number, "idle")
    else:
        yield (
            f"reads a {manifest.life} manifest",
            go(world, number, "look at link", seen=(manifest,)),
        )


def _void(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    if world.manifests[actor.repository] is None:
        made = Record(Life.HIDDEN, nonce_of(world, number))
        world = world.after("manifests", actor.repository, made)
    yield "makes a hidden one", go(world, number, "idle")


def _look_at_link(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    (seen,) = actor.seen
    link = world.links[actor.repository]
    yield "looks at the link", go(world, number, "swap manifest", seen=(seen, link))


def _swap_manifest(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    seen, link = actor.seen
    after = swap(world.manifests[actor.repository], seen, Event.EXPIRE, nonce_of(world, number))
    if after is None:
        yield "is too late", go(world, number, "idle", seen=())
        return
    world = world.after("manifests", actor.repository, after)
    yield "expires the manifest", go(world, number, "remove link", slow=False, seen=(after, link))


def _remove_link(model: Model, world: World, number: int) -> Steps:
    own, link = world.actors[number].seen
    yield from _remove(model, world, number, "links", link, ("remove manifest", (own,)))


def _remove_manifest(model: Model, world: World, number: int) -> Steps:
    (own,) = world.actors[number].seen
    yield from _remove(model, world, number, "manifests", own, ("idle", ()))


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
    "judge manifest": _judge_manifest,
    "void": _void,
    "look at link": _look_at_link,
    "swap manifest": _swap_manifest,
    "remove link": _remove_link,
    "remove manifest": _remove_manifest,
    "remove late": _remove_late,
}


def collector(name: str, visits: int) -> Actor:
    """A collector that takes up so many things, whichever."""
    return Actor(name, "collect", "idle", tries=visits)
