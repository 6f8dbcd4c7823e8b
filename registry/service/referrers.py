"""Referrers: which manifests name a manifest as their subject."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.ports import NotFound, ObjectStore

PAGE = 100
"""Referrers in one answer where the client names no number; also the most it may name."""

PAGE_BYTES = 4 * 1024 * 1024
"""An answer stops growing at this size: clients refuse larger manifests."""

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
        last = page.last or ""
        while True:
            batch = await self._batch(repository, subject, last, fallback)
            for digest, descriptor in batch:
                if _matches(descriptor, artifact_types):
                    size += len(msgspec.json.encode(descriptor, enc_hook=str))
                    if len(found) == wanted or (found and size > PAGE_BYTES):
                        return ReferrerPage(found, last)
                    found.append(descriptor)
                last = digest
            if len(batch) < PAGE:
                return ReferrerPage(found, None)

    async def _batch(
        self,
        repository: Place,
        subject: Digest,
        last: str,
        fallback: Mapping[Digest, Descriptor],
    ) -> list[tuple[str, Descriptor]]:
        """The next referrers after ``last``; one that was deleted meanwhile comes as empty."""
        prefix = keys.referrers(repository, subject)
        stored = await self._store.list(prefix, after=prefix + last if last else "", limit=PAGE)
        names = {key[len(prefix) :] for key in stored}
        names.update(digest for digest in fallback if digest > last)
        chosen = sorted(names)[:PAGE]
        read = await asyncio.gather(*(self._read(prefix + name) for name in chosen))
        return [
            (name, descriptor or fallback.get(Digest(name), {}))
            for name, descriptor in zip(chosen, read, strict=True)
        ]

    async def _read(self, key: str) -> Descriptor | None:
        try:
            value = await self._store.get(key)
        except NotFound:
            return None
        return msgspec.json.decode(value.data, type=dict[str, Any])


def _matches(descriptor: Descriptor, artifact_types: Sequence[str]) -> bool:
    if not artifact_types:
        return bool(descriptor)
    return descriptor.get("artifactType") in artifact_types
