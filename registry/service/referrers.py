"""Referrers: which manifests name a manifest as their subject."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from registry.service.entries import value
from registry.service.hashing import beside
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.ports import ObjectStore, Value

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

        ``fallback`` are those that clients listed under the fallback tag: they are folded in.
        """
        wanted = PAGE if page.n is None else min(page.n, PAGE)
        found: list[Descriptor] = []
        size = 0
        prefix = keys.referrers(repository, subject)
        last = page.last or ""
        while True:
            names = await self._names(prefix, last, fallback)
            for start in range(0, len(names), _AT_ONCE):
                chosen = names[start : start + _AT_ONCE]
                read = await asyncio.gather(*(value(self._store, prefix + name) for name in chosen))
                for name, stored in zip(chosen, read, strict=True):
                    descriptor, length = await _listed(name, stored, fallback)
                    if _matches(descriptor, artifact_types):
                        size += length
                        if len(found) == wanted or (found and size > PAGE_BYTES):
                            return ReferrerPage(found, last)
                        found.append(descriptor)
                    last = name
            if len(names) < PAGE:
                return ReferrerPage(found, None)

    async def _names(
        self, prefix: str, last: str, fallback: Mapping[Digest, Descriptor]
    ) -> Sequence[str]:
        """The digests of the next referrers after ``last``."""
        stored = await self._store.list(prefix, after=prefix + last if last else "", limit=PAGE)
        names = {key[len(prefix) :] for key in stored}
        names.update(digest for digest in fallback if digest > last)
        return sorted(names)[:PAGE]


async def _listed(
    name: str, stored: Value | None, fallback: Mapping[Digest, Descriptor]
) -> tuple[Descriptor, int]:
    """A referrer's descriptor, and its size in bytes; one that was deleted meanwhile is empty."""
    if stored is None:
        descriptor = fallback.get(Digest(name), {})
        return descriptor, len(msgspec.json.encode(descriptor, enc_hook=str))
    data = stored.data
    decoded = await beside(len(data), lambda: msgspec.json.decode(data, type=dict[str, Any]))
    return decoded, len(data)


def _matches(descriptor: Descriptor, artifact_types: Sequence[str]) -> bool:
    if not artifact_types:
        return bool(descriptor)
    return descriptor.get("artifactType") in artifact_types
