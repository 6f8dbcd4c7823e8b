"""Referrers: which manifests name a manifest as their subject."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from registry.service.bounded import all_of
from registry.service.entries import value
from registry.service.hashing import beside
from registry.service.presence import exists
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.ports import ObjectStore

PAGE = 100
"""Referrers in one answer where the client names no number; also the most it may name."""

PAGE_BYTES = 4 * 1024 * 1024
"""An answer stops growing at this size: clients refuse larger manifests."""

_AT_ONCE: Final = 8
"""Descriptors that are read at the same time: each may be as large as a manifest."""

Descriptor = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReferrerPage:
    """Descriptors in byte order of their digests; ``last`` is where the next page goes on."""

    descriptors: Sequence[Descriptor]
    last: str | None


def fallback_tag(subject: Digest) -> Tag:
    """The tag under which clients keep referrers where a registry has no such API.

    Specification, "Referrers Tag Schema": algorithm and hash, cut to 32 and 64 characters.
    """
    return Tag(f"{subject.algorithm[:32]}-{subject.hex[:64]}")


class Referrers:
    """Adds, removes and lists referrers, one key each."""

    def __init__(self, store: ObjectStore) -> None:
        """Keep the descriptors in ``store``."""
        self._store = store

    def entry(
        self, repository: Place, subject: Digest, digest: Digest, descriptor: Descriptor
    ) -> tuple[str, bytes]:
        """What to put to make ``digest`` a referrer of ``subject``, which need not exist."""
        key = keys.referrers(repository, subject) + digest
        return key, msgspec.json.encode(descriptor, enc_hook=str)

    async def remove(self, repository: Place, subject: Digest, digest: Digest) -> None:
        """Take the referrer away; a missing one is no error."""
        await self._store.delete(keys.referrers(repository, subject) + digest)

    async def page(
        self,
        repository: Place,
        subject: Digest,
        artifact_types: Sequence[str],
        page: Page,
        fallback: Mapping[Digest, Descriptor],
    ) -> ReferrerPage:
        """Return a page of the subject's referrers (end-12), none for an unknown subject.

        ``fallback`` are those that clients listed under the fallback tag: they are folded in, as
        far as the repository still has them. That is looked at for a page, not for all of them.
        """
        wanted = PAGE if page.n is None else min(page.n, PAGE)
        found: list[Descriptor] = []
        size = 0
        last = page.last or ""

        async def look(named: tuple[Digest, str]) -> bytes | Descriptor:
            """What is stored of a referrer; else what was listed of one that is there."""
            digest, key = named
            if key:
                stored = await value(self._store, key)
                return stored.data if stored is not None else {}
            there = await exists(self._store, keys.manifest(repository, digest))
            return fallback[digest] if there else {}

        listed = sorted(each for each in fallback if _matches(fallback[each], artifact_types))
        while True:
            named = await self._named(keys.referrers(repository, subject), last, listed)
            for start in range(0, len(named), _AT_ONCE):
                chosen = named[start : start + _AT_ONCE]
                read = await all_of(map(look, chosen))
                for (digest, _), there in zip(chosen, read, strict=True):
                    descriptor, length = await _listed(there)
                    if _matches(descriptor, artifact_types):
                        size += length
                        if len(found) == wanted or (found and size > PAGE_BYTES):
                            return ReferrerPage(found, last)
                        found.append(descriptor)
                    last = digest
            if len(named) < PAGE:
                return ReferrerPage(found, None)

    async def _named(
        self, prefix: str, last: str, listed: Sequence[Digest]
    ) -> Sequence[tuple[Digest, str]]:
        """The next referrers after ``last``, and the key of each that the store has an entry of.

        ``listed`` are those that a fallback tag lists, in their order.
        """
        stored = await self._store.list(prefix, after=prefix + last if last else "", limit=PAGE)
        behind = bisect_right(listed, last)
        named = dict.fromkeys(listed[behind : behind + PAGE], "")
        named.update((Digest(key[len(prefix) :]), key) for key in stored)
        return sorted(named.items())[:PAGE]


async def _listed(found: bytes | Descriptor) -> tuple[Descriptor, int]:
    """A referrer's descriptor, and its size in bytes; empty for one that is not there."""
    if isinstance(found, bytes):
        decoded = await beside(len(found), lambda: msgspec.json.decode(found, type=dict[str, Any]))
        return decoded, len(found)
    return found, len(msgspec.json.encode(found, enc_hook=str))


def _matches(descriptor: Descriptor, artifact_types: Sequence[str]) -> bool:
    if not artifact_types:
        return bool(descriptor)
    return descriptor.get("artifactType") in artifact_types
