"""Pointers from a digest to its bytes, and their states."""

import secrets
from typing import Final

import msgspec

from registry.service.entries import value
from registry.service.records import Pointer
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.life import Event, Life, advance
from storage import keys
from storage.ports import NotFound, ObjectStore, PreconditionFailed

_ROUNDS: Final = 50


class ContentGone(Exception):
    """Bytes that were to be named have been collected: nothing had named them for too long."""


class Pointers:
    """Reads pointers and changes their state. Each change is one compare-and-swap."""

    def __init__(self, store: ObjectStore, terms: Terms) -> None:
        self._store = store
        self._terms = terms

    async def read(self, digest: Digest) -> tuple[Pointer, bytes, str] | None:
        """The pointer in whatever state, the bytes of a small blob, the version; or ``None``."""
        found = await value(self._store, keys.pointer(digest))
        if found is None:
            return None
        pointer, content = Pointer.unpack(found.data)
        return pointer, content, found.version

    async def find(self, digest: Digest) -> tuple[Pointer, bytes]:
        """The pointer, and the bytes of a small blob, for who relies on it; ``NotFound``.

        One that was condemned is live again when this returns.
        """
        for _ in range(_ROUNDS):
            found = await self.read(digest)
            if found is None or not found[0].state.visible:
                raise NotFound(keys.pointer(digest))
            pointer, content, version = found
            if pointer.state is Life.LIVE:
                return pointer, content
            live = await self.swap(digest, pointer, content, version, Event.PROMISE)
            if live is not None:
                return live[0], content
        raise PreconditionFailed(keys.pointer(digest))

    async def take(
        self, digest: Digest, pointer: Pointer, content: bytes, *, make: bool = True
    ) -> Pointer | None:
        """Make the digest have bytes; return the pointer that stands.

        It is another's where that was first. What is being deleted, or is in quarantine, gets the
        bytes of ``pointer`` instead of its own, which nobody can name any more: they go. ``None``
        if there is none and ``make`` is false. ``ContentGone`` where the bytes of ``pointer`` are
        being deleted.
        """
        for _ in range(_ROUNDS):
            found = await self.read(digest)
            if found is None:
                return None
            standing, theirs, version = found
            dead = ""
            if standing.state is Life.LIVE:
                return standing
            if not standing.state.visible:
                if pointer.data and (standing.data == pointer.data or not make):
                    raise ContentGone
                dead = standing.data
                theirs, standing = content, msgspec.structs.replace(pointer, state=standing.state)
            live = await self.swap(digest, standing, theirs, version, Event.WRITE)
            if live is not None:
                if dead:
                    await self._store.delete(dead)
                return live[0]
        raise PreconditionFailed(keys.pointer(digest))

    async def swap(
        self, digest: Digest, pointer: Pointer, content: bytes, version: str, event: Event
    ) -> tuple[Pointer, str] | None:
        """Change the state as ``event`` does; return the new pointer and its version.

        ``None`` where another was first.
        """
        state = advance(pointer.state, event)
        live = state is Life.LIVE
        after = msgspec.structs.replace(
            pointer,
            state=state,
            since=0.0 if live else self._terms.clock(),
            nonce="" if live else secrets.token_hex(8),
        )
        try:
            at = await self._store.replace(keys.pointer(digest), after.pack(content), version)
        except PreconditionFailed:
            return None
        return after, at
