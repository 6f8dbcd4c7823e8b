"""Tags: names that move, with compare-and-swap."""

import asyncio
import random
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from registry.service.catalog import Catalog
from registry.service.history import HISTORY_TERMS, Histories, HistoryTerms
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.quotas.quotas import Quotas
from registry.service.records import TagRecord, TagState
from registry.service.remembered import Remembered, stamps_of
from registry.service.tag_rules import Guard
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown, NameUnknown, PreconditionFailed
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Change, CoordinationUnavailable, Coordinator
from storage.ports import AlreadyExists, NotFound, ObjectStore, Value
from storage.ports import PreconditionFailed as SwapLost

T = TypeVar("T")

_SWAPS = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """The manifest that a tag is to point at."""

    digest: Digest
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class TagPage:
    """Some of a repository's tags in byte order; ``more`` if others follow."""

    tags: Sequence[str]
    more: bool


class Tags:
    """Resolves, lists, points and deletes tags. One key per tag; each change is one swap of it."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        catalog: Catalog,
        memory: int,
        quotas: Quotas,
        *,
        exact: bool = True,
        history: HistoryTerms = HISTORY_TERMS,
    ) -> None:
        """Remember tags and lists of tags in up to ``memory`` bytes.

        ``exact``: whether the store deletes an object at a version in one step. ``history`` says
        how much is kept of what tags were.
        """
        self.histories = Histories(store, history)
        self._quotas = quotas
        self._store = store
        self._exact = exact
        self._coordinator = coordinator
        self._catalog = catalog
        self.records: Remembered[TagRecord] = Remembered(coordinator, memory // 2, lambda _: 600)
        self.lists: Remembered[tuple[str, ...]] = Remembered(
            coordinator, memory // 2, lambda names: sum(map(len, names)) + 60 * len(names)
        )

    async def resolve(self, repository: Place, tag: Tag) -> TagRecord:
        """Return where the tag points, never older than the last acknowledged change (end-3).

        ``ManifestUnknown`` if there is no such tag.
        """
        (stamp,) = await stamps_of(self._coordinator, tag_name(repository, tag))
        return await self.resolve_at(repository, tag, stamp)

    async def resolve_at(self, repository: Place, tag: Tag, stamp: int | None) -> TagRecord:
        """As ``resolve``, with a stamp of ``tag_name`` that was taken just now."""

        async def load() -> TagRecord:
            try:
                found = TagRecord.decode((await self._store.get(keys.tag(repository, tag))).data)
            except NotFound:
                raise ManifestUnknown(tag) from None
            # What it was is not remembered: few ask for it.
            return msgspec.structs.replace(found, history=())

        return await self.records.use(tag_name(repository, tag), stamp, load)

    async def page(self, repository: Place, page: Page) -> TagPage:
        """Return the tags after ``page.last``, all of them or ``page.n`` (end-8a, end-8b).

        ``NameUnknown`` for a repository that never was; one that has been emptied has no tags.
        """
        names = await self.lists.get(_list(repository), lambda: self._read_list(repository))
        if not names and not await self._catalog.knows(repository):
            raise NameUnknown
        return cut(names, page)

    async def standing(self, repository: Place, tag: Tag) -> Value | None:
        """The tag's record as the store has it now, for ``point``; ``None`` for no such tag."""
        try:
            return await self._store.get(keys.tag(repository, tag))
        except NotFound:
            return None

    def target(self, standing: Value | None) -> Digest | None:
        """Where a record of ``standing`` points."""
        record = _decode(standing)
        return record.target if record else None

    def changing(
        self, repository: Place, tags: Sequence[Tag], *more: str
    ) -> AbstractAsyncContextManager[Change]:
        """A change of tags, and of what the coordinator calls ``more``, to ``point`` them within.

        While it is ``sole()`` nobody else points or deletes them, nor removes links to them.
        """
        names = [tag_name(repository, tag) for tag in tags]
        return self._coordinator.change(*names, _list(repository), *more)

    async def point(
        self,
        repository: Place,
        tag: Tag,
        target: Target,
        by: str,
        conditions: Conditions,
        standing: Value | None,
        guard: Guard,
        change: Change | None = None,
        charge: Charge = NO_CHARGE,
        *,
        was: TagRecord | None = None,
    ) -> bool:
        """Point the tag at a manifest of the repository (end-7), to which a link leads already.

        ``standing`` is what the tag was a moment ago; where it is something else by now, the swap
        is lost and tried again. ``change`` is the one of ``changing`` that it is pointed within; by
        itself, if there is none. ``False`` if it points there already: nothing was written.
        ``PreconditionFailed`` where ``conditions`` do not hold of the tag as it is: of concurrent
        swaps from one digest, one succeeds. ``Denied`` where it points elsewhere and ``guard`` says
        that it has to stay.
        ``charge`` pays for one that was not there; ``was`` is the record that such a one gets: what
        it was where it comes from, its history included.
        """
        written: set[bytes] = set()
        seen = [standing]

        async def swap(change: Change) -> bool:
            standing = seen.pop() if seen else await self.standing(repository, tag)
            if standing is not None and standing.data in written:
                return True
            before = _decode(standing)
            current = before.target if before else None
            if not conditions.check_write(current):
                raise PreconditionFailed(current)
            if current == target.digest:
                return False
            if current is not None:
                guard.check(tag)
            record = _moved(before, target, by, self.histories.after(before))
            if standing is None and was is not None:
                record = was.encode()
            written.add(record)
            if standing is None:
                await self._create(keys.tag(repository, tag), record, charge)
            else:
                await self._store.replace(keys.tag(repository, tag), record, standing.version)
            if current is not None:
                await self._unlink(repository, tag, current, change)
            return True

        if change is not None:
            return await _swapped(tag, swap, change)
        return await self._change(repository, tag, swap)

    async def delete(
        self, repository: Place, tag: Tag, conditions: Conditions, by: str, guard: Guard
    ) -> None:
        """Delete the tag (end-9); the manifest stays, and what the tag was is kept.

        ``ManifestUnknown`` if there is no such tag, ``PreconditionFailed`` as in ``point``.
        ``Denied`` where ``guard`` says that it has to stay.
        ``CoordinationUnavailable`` where there are conditions, and neither the store nor a lock
        can see to it that they still hold when it goes.
        """

        async def swap(change: Change) -> None:
            standing = await self.standing(repository, tag)
            record = _decode(standing)
            if not conditions.check_write(record.target if record else None):
                raise PreconditionFailed(record.target if record else None)
            if record is None or standing is None:
                raise ManifestUnknown(tag)
            guard.check(tag)
            if conditions:
                self._check_exact(tag, change)
            await self._remove(repository, tag, standing, record, by, change)

        await self._change(repository, tag, swap)

    async def drop(
        self, repository: Place, tag: Tag, target: Digest, by: str, guard: Guard, *, gone: bool
    ) -> bool:
        """Delete the tag if it points at ``target``, and the link to it. One that moved stays.

        With ``gone``, only if that manifest is gone: it may have been pushed again meanwhile.
        Return whether it was deleted. Where the tag points elsewhere its link stays too: a push
        that has written it may be about to point the tag.
        ``CoordinationUnavailable`` as in ``delete``; ``Denied`` too, but not with ``gone``: nothing
        is left that a tag could be kept for.
        """

        async def swap(change: Change) -> bool:
            standing = await self.standing(repository, tag)
            record = _decode(standing)
            if standing is None or record is None or record.target != target:
                return False
            if gone and await exists(self._store, keys.manifest(repository, target)):
                return False
            if not gone:
                guard.check(tag)
            self._check_exact(tag, change)
            await self._remove(repository, tag, standing, record, by, change)
            return True

        return await self._change(repository, tag, swap)

    async def expire(
        self, repository: Place, tag: Tag, seen: TagRecord, by: str, guard: Guard
    ) -> bool:
        """Delete the tag if it is just as it was ``seen``; return whether it was deleted.

        One that moved since stays, also if it came back. Raises what ``drop`` does.
        """

        async def swap(change: Change) -> bool:
            standing = await self.standing(repository, tag)
            if standing is None or _decode(standing) != seen:
                return False
            guard.check(tag)
            self._check_exact(tag, change)
            await self._remove(repository, tag, standing, seen, by, change)
            return True

        return await self._change(repository, tag, swap)

    async def _change(
        self, repository: Place, tag: Tag, swap: Callable[[Change], Awaitable[T]]
    ) -> T:
        """Swap within a change of the tag; return what the swap returns."""
        async with self.changing(repository, [tag]) as change:
            return await _swapped(tag, swap, change)

    async def _create(self, key: str, record: bytes, charge: Charge) -> None:
        async with charge.storing(Amounts(tags=1)) as storing:
            with storing.unless_there():
                await self._store.create(key, record)

    async def _remove(
        self,
        repository: Place,
        tag: Tag,
        standing: Value,
        record: TagRecord,
        by: str,
        change: Change,
    ) -> None:
        """Keep what the tag was, remove it at its version, and then the link to it.

        What it counted is given back. Where another may have removed it too, that is left to the
        next count.
        """
        await self.histories.keep(repository, tag, record, by)
        async with self._quotas.charging(repository.tenant) as charge:
            seen = await charge.round()
            await self._store.delete(keys.tag(repository, tag), version=standing.version)
            if change.sole():
                charge.removed(Amounts(tags=1), seen)
        await self._unlink(repository, tag, record.target, change)

    def _check_exact(self, tag: Tag, change: Change) -> None:
        if not (self._exact or change.sole()):
            raise CoordinationUnavailable(f"another may be moving the tag {tag} that is to go")

    async def _unlink(self, repository: Place, tag: Tag, target: Digest, change: Change) -> None:
        """Remove the link from a manifest that the tag has left.

        Not where another writer may be pointing the tag back at it: a link too many does no harm.
        """
        if change.sole():
            await self._store.delete(keys.tagged(repository, target) + tag)

    async def _read_list(self, repository: Place) -> tuple[str, ...]:
        prefix = keys.tags(repository)
        return tuple([key[len(prefix) :] async for key in every_key(self._store, prefix)])


async def _swapped(tag: Tag, swap: Callable[[Change], Awaitable[T]], change: Change) -> T:
    """Read and swap; where another writer was first, again. Return what the swap returns.

    There is one only where the lock was lost, or where there is none to be had: then the store
    is the judge. ``CoordinationUnavailable`` for who loses again and again.
    """
    pause = _FIRST_PAUSE
    for _ in range(_SWAPS):
        try:
            return await swap(change)
        except (AlreadyExists, SwapLost):
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  no secret
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise CoordinationUnavailable(f"too many others are changing the tag {tag}")


def _moved(
    before: TagRecord | None, target: Target, by: str, history: tuple[TagState, ...]
) -> bytes:
    return TagRecord(
        digest=target.digest,
        media_type=target.media_type,
        size=target.size,
        version=before.version + 1 if before else 1,
        by=by,
        at=time.time(),
        history=history,
    ).encode()


def _decode(value: Value | None) -> TagRecord | None:
    return TagRecord.decode(value.data) if value else None


def cut(names: Sequence[str], page: Page) -> TagPage:
    """Return the page of ``names``, which are in byte order."""
    start = bisect_right(names, page.last) if page.last else 0
    end = len(names) if page.n is None else start + page.n
    return TagPage(names[start:end], end < len(names))


def tag_name(repository: Place, tag: str) -> str:
    """What the coordinator calls a tag."""
    return "tag/" + repository + "/" + tag


def _list(repository: Place) -> str:
    return f"tags/{repository}"
