"""What clients and the registry do, one step of the store at a time."""

from registry.spec.life import Event, Life, advance
from tests.model.protocol import END, Model, Step, Steps, go, nonce_of, swap
from tests.model.world import WINDOW, A, Actor, B, Link, Manifest, Record, World

# Questions whose answer is a promise: HEAD, the source of a mount, each blob of a manifest


def _where(actor: Actor) -> int:
    """The repository that is asked: a mount asks its source first."""
    asks = actor.kind in ("mount", "derive") and actor.step.startswith("find")
    return A if asks else actor.repository


def _find(model: Model, world: World, number: int) -> Steps:
    """Read the record of what was mounted at once, where there may be one, and the membership."""
    repository = _where(world.actors[number])
    if not any(world.mounts):
        yield from _find_member(model, world, number)
    elif world.mounts[repository] is None:
        yield "reads no record", go(world, number, "find member", seen=())
    else:
        yield "reads a record", go(world, number, "find member", seen=("mounted",))


def _find_member(model: Model, world: World, number: int) -> Steps:
    repository = _where(world.actors[number])
    held = world.actors[number].seen == ("mounted",)
    member = world.members[repository]
    if held and (member is None or not member.life.visible):
        yield "reads no member", go(world, number, "find pointer", seen=())
    elif member is None or not member.life.visible:
        yield "reads no member", _unknown(model, world, number)
    elif member.life is Life.CONDEMNED and model.keeps("revive"):
        yield "reads a condemned member", go(world, number, "find revive", seen=(member,))
    else:
        yield "reads a member", go(world, number, "find pointer", seen=())


def _find_revive(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    repository = _where(actor)
    (seen,) = actor.seen
    after = swap(world.members[repository], seen, Event.PROMISE, "")
    if after is None:
        yield "is too late to revive it", go(world, number, "find", seen=())
    else:
        revived = world.after("members", repository, after)
        yield "revives it", go(revived, number, "find pointer", seen=())


def _find_pointer(model: Model, world: World, number: int) -> Steps:
    pointer = world.pointer
    if pointer is None or not pointer.life.visible:
        yield "reads no pointer", _unknown(model, world, number)
    elif pointer.life is Life.CONDEMNED and model.keeps("revive pointer"):
        after = pointer._replace(life=advance(pointer.life, Event.PROMISE), age=0)
        after = after._replace(nonce=nonce_of(world, number))
        # reading it and swapping it in one step: a swap that lost would only read it again
        yield "revives the pointer", _known(model, world._replace(pointer=after), number)
    else:
        yield "reads the pointer", _known(model, world, number)


def _known(model: Model, world: World, number: int) -> World:
    actor = world.actors[number]
    if actor.kind == "push":
        if actor.slow and model.keeps("patient answers"):
            if actor.tries >= model.tries:
                return go(world, number, END, seen=())
            return go(world, number, "find", slow=0, tries=actor.tries + 1, seen=())
        world = world.after("promised", actor.repository, 0)
        return _put(world, number)
    if actor.kind == "mount":
        return go(world, number, "index", seen=())
    if actor.kind == "derive":
        return go(world, number, "record", seen=())
    return go(world, number, "announce" if model.keeps("pushed first") else "store", seen=())


def _unknown(model: Model, world: World, number: int) -> World:
    actor = world.actors[number]
    if actor.kind in ("mount", "derive", "undelete") or actor.tries >= model.tries:
        return go(world, number, END, seen=())
    data = f"{actor.name}{actor.tries + 1}"
    world = world._replace(data=world.data | {data})
    return go(world, number, "publish", kind="push", slow=0, tries=actor.tries + 1, seen=(data,))


# An upload that is finished, or a mount


def _publish(model: Model, world: World, number: int) -> Steps:
    """Create the pointer, or read the one that stands."""
    (data,) = world.actors[number].seen
    pointer = world.pointer
    doomed = data not in world.data if pointer is None else _is_deleting(pointer, data)
    if doomed and model.keeps("own bytes"):
        yield "finds that its bytes are gone", _unknown(model, world, number)
    elif pointer is None:
        made = Record(Life.LIVE, nonce_of(world, number), 0, data)
        yield "creates the pointer", go(world._replace(pointer=made), number, "index")
    elif pointer.life is Life.LIVE:
        seen = (data,) if pointer.data == data else (data, "other")
        yield "reads the pointer", go(world, number, "index", seen=seen)
    elif pointer.life is Life.DELETING and model.keeps("settle") and pointer.age < model.settle:
        return
    elif pointer.life is Life.CONDEMNED and not model.keeps("revive pointer"):
        yield "reads the pointer", go(world, number, "index", seen=(data, "other"))
    else:
        yield f"reads a {pointer.life} pointer", go(world, number, "swap", seen=(data, pointer))


def _is_deleting(pointer: Record, data: str) -> bool:
    return pointer.life is Life.DELETING and pointer.data == data


def _swap_pointer(model: Model, world: World, number: int) -> Steps:
    data, seen = world.actors[number].seen
    deleting = seen.life is Life.DELETING
    own = data if deleting and model.keeps("fresh bytes") else seen.data
    after = swap(world.pointer, seen, Event.WRITE, nonce_of(world, number), own)
    if after is None:
        yield "is too late to swap it", go(world, number, "publish", seen=(data,))
        return
    seen = (data,) if own == data else (data, "other")
    yield "swaps the pointer", go(world._replace(pointer=after), number, "index", seen=seen)


def _index(model: Model, world: World, number: int) -> Steps:
    link = Link(nonce_of(world, number))
    entered = world.after("index", world.actors[number].repository, link)
    yield "enters it in the index", go(entered, number, "member")


def _member(model: Model, world: World, number: int) -> Steps:
    """Make it a member. Stores that are not exact must not write over what is being deleted."""
    actor = world.actors[number]
    member = world.members[actor.repository]
    live = Record(Life.LIVE, "")
    entered = _held(model, world.after("members", actor.repository, live), number)
    if model.exact or not model.keeps("settle") or member is None or member.life.visible:
        yield "makes it a member", entered
    elif member.life is Life.HIDDEN:
        # a swap: between the look and the swap it may have become DELETING
        yield "reads a hidden member", go(world, number, "member swap", seen=(*actor.seen, member))
    elif member.age >= model.settle:
        yield (
            "reads a deleting member",
            go(world, number, "member swap", seen=(*actor.seen, member)),
        )


def _member_swap(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    *rest, seen = actor.seen
    after = swap(world.members[actor.repository], seen, Event.WRITE, "")
    if after is None:
        yield "is too late to swap it", go(world, number, "member", seen=tuple(rest))
    else:
        swapped = world.after("members", actor.repository, after)
        swapped = go(swapped, number, "index", seen=tuple(rest))
        if seen.life is not Life.DELETING:
            swapped = _held(model, swapped, number)
        yield "swaps the member", swapped


def _held(model: Model, world: World, number: int) -> World:
    """The end of the sequence."""
    actor = world.actors[number]
    if actor.slow and model.keeps("patient uploads"):
        if actor.tries >= model.tries:
            return go(world, number, END, seen=())
        mounts = actor.kind in ("mount", "derive")
        again, seen = ("find", ()) if mounts else ("publish", actor.seen[:1])
        return go(world, number, again, slow=0, tries=actor.tries + 1, seen=seen)
    if len(actor.seen) == 2:
        world = world._replace(data=world.data - {actor.seen[0]})
    return _put(world.after("promised", actor.repository, 0), number)


def _record(model: Model, world: World, number: int) -> Steps:
    """Write down what is mounted at once."""
    record = Link(nonce_of(world, number))
    recorded = world.after("mounts", world.actors[number].repository, record)
    yield "writes the record", _held(model, recorded, number)


# A manifest is pushed


def _put(world: World, number: int, kind: str = "put") -> World:
    return go(world, number, "find", kind=kind, slow=0, seen=())


def _announce(model: Model, world: World, number: int) -> Steps:
    """Write down that a manifest is pushed, with a mark that no earlier entry had."""
    actor = world.actors[number]
    world = world.after("pushed", actor.repository, Link(nonce_of(world, number)))
    if model.keeps("pushed first"):
        yield "announces the manifest", go(world, number, "store")
    else:
        yield "announces the manifest", _stored(model, world, number)


def _store(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    world = world.after("manifests", actor.repository, Manifest(timely=not actor.slow))
    if model.keeps("pushed first"):
        yield "stores the manifest", _stored(model, world, number)
    else:
        yield "stores the manifest", go(world, number, "announce")


def _stored(model: Model, world: World, number: int) -> World:
    """The end of the sequence: the client is told that the image is there."""
    actor = world.actors[number]
    if actor.slow and model.keeps("patient manifests"):
        if actor.tries >= model.tries:
            return go(world, number, END)
        return _put(go(world, number, "", tries=actor.tries + 1), number, actor.kind)
    world = world.after("acknowledged", actor.repository, True)  # noqa: FBT003
    return go(world, number, "forget copy" if actor.kind == "undelete" else END)


def _ask(model: Model, world: World, number: int) -> Steps:
    """Ask for the manifest: a client that is told of it does not push it."""
    actor = world.actors[number]
    manifest = world.manifests[actor.repository]
    if manifest is not None and manifest.timely:
        world = world.after("acknowledged", actor.repository, True)  # noqa: FBT003
    yield "asks for the manifest", go(world, number, END)


# What was deleted is had back


def _find_copy(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    copy = world.copies[actor.repository]
    if copy is None or copy.age >= WINDOW:
        yield "finds no copy", go(world, number, END)
    else:
        yield "finds a copy", _put(world, number, "undelete")


def _forget_copy(model: Model, world: World, number: int) -> Steps:
    forgotten = world.after("copies", world.actors[number].repository, None)
    yield "forgets the copy", go(forgotten, number, END)


# Deletion by clients


def _delete(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    manifest = world.manifests[actor.repository]
    if manifest is None:
        yield "finds no manifest", go(world, number, END)
    else:
        yield "reads the manifest", go(world, number, "copy", seen=(manifest,))


def _copy(model: Model, world: World, number: int) -> Steps:
    """Keep a copy first, so that it can be had back."""
    actor = world.actors[number]
    (seen,) = actor.seen
    copy = Link(nonce_of(world, number), 0, seen.timely)
    copied = world.after("copies", actor.repository, copy)
    yield "copies the manifest", go(copied, number, "remove", seen=())


def _remove(model: Model, world: World, number: int) -> Steps:
    """Remove the manifest, whatever was pushed meanwhile: that came before this deletion."""
    actor = world.actors[number]
    world = world.after("manifests", actor.repository, None)
    world = world.after("acknowledged", actor.repository, False)  # noqa: FBT003
    yield "removes the manifest", go(world, number, END)


def _delete_blob(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    member = world.members[actor.repository]
    if member is None or not member.life.visible:
        yield "finds no blob", go(world, number, END)
        return
    yield "reads the member", go(world, number, "hide blob", seen=(member,))


def _hide_blob(model: Model, world: World, number: int) -> Steps:
    actor = world.actors[number]
    (seen,) = actor.seen
    after = swap(world.members[actor.repository], seen, Event.HIDE, nonce_of(world, number))
    if after is None:
        yield "is too late to hide it", go(world, number, END, seen=())
        return
    world = world.after("members", actor.repository, after)
    world = world.after("promised", actor.repository, None)
    world = world.after("exempt", actor.repository, True)  # noqa: FBT003
    yield "hides the member", go(world, number, END, seen=())


STEPS: dict[str, Step] = {
    "find": _find,
    "find member": _find_member,
    "find revive": _find_revive,
    "find pointer": _find_pointer,
    "publish": _publish,
    "swap": _swap_pointer,
    "index": _index,
    "member": _member,
    "member swap": _member_swap,
    "record": _record,
    "announce": _announce,
    "store": _store,
    "ask": _ask,
    "find copy": _find_copy,
    "forget copy": _forget_copy,
    "delete": _delete,
    "copy": _copy,
    "remove": _remove,
    "delete blob": _delete_blob,
    "hide blob": _hide_blob,
}


def pusher(name: str, repository: int = A) -> Actor:
    """A client that asks for the blob, uploads it if need be, and pushes the manifest."""
    return Actor(name, "push", "find", repository)


def mounter(name: str) -> Actor:
    """A client that mounts the blob from A to B and pushes the manifest there."""
    return Actor(name, "mount", "find", B)


def deriver(name: str) -> Actor:
    """A client that has an image of A derived to B, with one record of what it needs."""
    return Actor(name, "derive", "find", B)


def deleter(name: str, repository: int = A) -> Actor:
    """A client that deletes the manifest."""
    return Actor(name, "delete", "delete", repository)


def blob_deleter(name: str, repository: int = A) -> Actor:
    """A client that deletes the blob."""
    return Actor(name, "delete", "delete blob", repository)


def asker(name: str, repository: int = A) -> Actor:
    """A client that asks for the manifest, and relies on the answer."""
    return Actor(name, "ask", "ask", repository)


def undeleter(name: str, repository: int = A) -> Actor:
    """A client that has the deleted manifest back."""
    return Actor(name, "undelete", "find copy", repository)
