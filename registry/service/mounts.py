"""Blobs that are mounted at once: one record says that a repository holds all of them.

A derived image brings all its layers with that one write. A blob that is in the record of a
repository is held by it as a member is. Later each is made a member, and then the record goes
(``settling``).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection
from functools import partial
from typing import Final

from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.quotas.charges import Charge
from registry.service.records import MountRecord
from registry.service.remembered import Remembered
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ObjectStore, PreconditionFailed

MOST: Final = 2000
"""Blobs in one record at the most: it is read as a whole by who asks for any of them."""

_ROUNDS: Final = 50
_NOTHING: Final = MountRecord((), (), "")


class Mounts:
    """Writes down what is mounted at once, and remembers of which repository what is, or nothing.

    What it tells is never older than the last acknowledged change, on any worker or replica.
    """

    def __init__(self, store: ObjectStore, coordinator: Coordinator, memory: int) -> None:
        """Remember up to ``memory`` bytes."""
        self._store = store
        self._coordinator = coordinator
        self.known: Remembered[frozenset[Digest]] = Remembered(
            coordinator, memory, lambda blobs: 300 + 200 * len(blobs)
        )
        self._looks: dict[tuple[str, int], asyncio.Task[frozenset[Digest]]] = {}

    def find(self, place: Place, stamp: int | None) -> frozenset[Digest] | None:
        """What is remembered of the repository's record if it is still so, by a stamp of just now.

        ``None`` where nothing is remembered; nothing at all may be what is.
        """
        return self.known.find(mounts_name(place), stamp)

    async def load(self, place: Place, stamp: int | None) -> frozenset[Digest]:
        """Return the blobs that are in the repository's record, with a stamp of just now.

        Who asks for all layers of an image asks for each at once: those who have the same stamp
        share one look at the store.
        """
        if stamp is None:
            return await mounted(self._store, place)
        look = mounts_name(place), stamp
        task = self._looks.get(look)
        if task is None:
            load = self.known.use(*look, partial(mounted, self._store, place))
            task = self._looks[look] = asyncio.create_task(load)
            task.add_done_callback(partial(self._looked, look))
        # Whoever leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _looked(self, look: tuple[str, int], task: "asyncio.Task[frozenset[Digest]]") -> None:
        del self._looks[look]
        if not task.cancelled():
            task.exception()  # everybody who wanted to know may have left

    async def add(
        self,
        place: Place,
        blobs: Collection[Digest],
        manifest: Digest,
        charge: Charge,
        size: int,
    ) -> bool:
        """Make the repository hold the blobs, which are ``size`` bytes, for this manifest.

        ``False``, and nothing is written, where there are too many. May be repeated, and by many at
        once; ``charge`` pays. ``QuotaExceeded`` where it can't.
        """
        key, standing = keys.mounted(place), None
        async with self._coordinator.change(mounts_name(place)):
            for _ in range(_ROUNDS):
                before = MountRecord.decode(standing.data) if standing is not None else _NOTHING
                after = MountRecord(
                    tuple(sorted({*before.blobs, *blobs})),
                    tuple(sorted({*before.manifests, manifest})),
                    secrets.token_hex(8),
                )
                if len(after.blobs) > MOST:
                    return False
                async with charge.storing(Amounts(bytes=size)) as storing:
                    try:
                        if standing is None:
                            await self._store.create(key, after.encode())
                        else:
                            await self._store.replace(key, after.encode(), standing.version)
                    except (AlreadyExists, PreconditionFailed):
                        storing.was_there()
                    else:
                        return True
                standing = await value(self._store, key)
        raise PreconditionFailed(key)


async def mounted(store: ObjectStore, place: Place) -> frozenset[Digest]:
    """The blobs that were mounted at once into a repository, and were not made members since."""
    found = await value(store, keys.mounted(place))
    if found is None:
        return frozenset()
    return frozenset(map(Digest, MountRecord.decode(found.data).blobs))


async def every_mounted(
    store: ObjectStore, prefix: str = keys.MOUNTS
) -> AsyncIterator[tuple[Place, frozenset[Digest]]]:
    """Yield each repository of which there is a record, and the blobs in it."""
    async for key in every_key(store, prefix):
        place = keys.mounted_place(key)
        yield place, await mounted(store, place)


async def mounted_of(
    store: ObjectStore, tenant: str
) -> AsyncIterator[tuple[Place, frozenset[Digest]]]:
    """As ``every_mounted``, of the repositories of one project."""
    root = Place(tenant)
    if blobs := await mounted(store, root):
        yield root, blobs
    async for found in every_mounted(store, keys.mounted_below(tenant)):
        yield found


async def all_mounted(store: ObjectStore) -> frozenset[Digest]:
    """The blobs that are in any record. For who changes nothing, and can't settle them."""
    blobs: set[Digest] = set()
    async for _, found in every_mounted(store):
        blobs |= found
    return frozenset(blobs)


def mounts_name(place: Place) -> str:
    """What the coordinator calls a repository's record."""
    return f"mounts/{place}"
