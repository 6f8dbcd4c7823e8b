"""Retention at work: a repository is surveyed, a plan is made of it, and what goes is deleted.

Deletions are the ordinary ones, each on the condition that what goes still is what was seen: a tag
that moved meanwhile stays, and so does a manifest that a tag leads to by now. What an index that
was pushed meanwhile needs is had back. So it may run beside pushes, be broken off, and run twice.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from registry.service.bounded import both, each
from registry.service.entries import value
from registry.service.expiry import Expiry
from registry.service.history import PastRecord
from registry.service.listing import every_key
from registry.service.pulls.history import PullHistory
from registry.service.records import DeletedRecord, TagRecord, TagState
from registry.service.reinstatements import Reinstatements
from registry.service.stored import StoredManifest
from registry.service.tag_rules import Guards
from registry.service.tags import Tags
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestBlobUnknown, ManifestUnknown
from registry.spec.names import Place, Tag
from registry.spec.problems import Invalid
from registry.spec.retention import (
    ManifestFacts,
    Plan,
    Retention,
    TagFacts,
    plan_manifests,
    plan_tags,
)
from storage import keys
from storage.ports import NotFound, ObjectStore

BY: Final = "system:retention"
"""Who deletes, as records and the audit log have it."""

MOST: Final = 100_000
"""Most tags, and most manifests, of a repository that is surveyed."""

_AT_ONCE: Final = 8

Pace = Callable[[], Awaitable[None]]
"""Awaited before each thing that is read or deleted."""


async def no_pace() -> None:
    """Go on at once."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a repository holds, and what is planned for it."""

    plan: Plan
    records: Mapping[str, TagRecord]
    manifests: Mapping[str, ManifestFacts]


@dataclass(slots=True)
class Expired:
    """What a run deleted; ``more``: there is more to be deleted."""

    tags: list[Tag] = field(default_factory=list)
    manifests: list[Digest] = field(default_factory=list)
    restored: list[Digest] = field(default_factory=list)
    more: bool = False


class Retainer:
    """Plans and runs retention, one repository at a time."""

    def __init__(
        self,
        store: ObjectStore,
        expiry: Expiry,
        reinstatements: Reinstatements,
        tags: Tags,
        guards: Guards,
        pulls: PullHistory,
        terms: Terms,
    ) -> None:
        self._store = store
        self._expiry = expiry
        self._reinstatements = reinstatements
        self._tags = tags
        self._guards = guards
        self.pulls = pulls
        self._terms = terms

    async def plan(self, place: Place, name: str, retention: Retention) -> Plan:
        """Say what would go now, and why. ``name`` is the repository's, for the rules' patterns.

        ``Invalid`` for a repository with more than ``MOST`` tags or manifests.
        """
        return (await self._survey(place, name, retention, no_pace)).plan

    async def run(
        self,
        place: Place,
        name: str,
        retention: Retention,
        *,
        limit: int = 1000,
        pace: Pace = no_pace,
    ) -> Expired:
        """Delete what goes now, at most ``limit`` things, tags before manifests.

        What an earlier run that broke off took from an index is had back first.
        """
        survey = await self._survey(place, name, retention, pace)
        done = Expired()
        await self._restore(place, survey.manifests, done)
        guard = await self._guards.of(place, None)
        for verdict in survey.plan.tags:
            if not verdict.goes:
                continue
            if len(done.tags) == limit:
                done.more = True
                return done
            await pace()
            tag, seen = Tag(verdict.name), survey.records[verdict.name]
            try:
                if await self._tags.expire(place, tag, seen, BY, guard):
                    done.tags.append(tag)
            except Denied:  # it has a rule by now
                continue
        await each(await self._keys(keys.histories(place)), self._prune, at_once=_AT_ONCE)
        going = [Digest(each.digest) for each in survey.plan.manifests if each.goes]
        room = limit - len(done.tags)
        done.more = len(going) > room
        for digest in going[:room]:
            await pace()
            if await self._expiry.expire(place, digest, BY):
                done.manifests.append(digest)
        if done.manifests:
            await self._restore(place, await self._since(place, survey.manifests), done)
        return done

    async def _survey(self, place: Place, name: str, retention: Retention, pace: Pace) -> Survey:
        prefix, guard = keys.tags(place), await self._guards.of(place, None)
        records: dict[str, TagRecord] = {}

        async def read(key: str) -> None:
            await pace()
            found = await value(self._store, key)
            if found is not None:
                records[key[len(prefix) :]] = TagRecord.decode(found.data)

        await each(await self._keys(prefix), read, at_once=_AT_ONCE)
        now = self._terms.clock()
        pulled: dict[str, float | None] = {}

        async def read_pulls(tag: str) -> None:
            await pace()
            pulled[tag] = await self._pulled(place, records[tag], Tag(tag), now)

        if any(rule.pulled_within_days is not None for rule in retention.rules):
            await each(records, read_pulls, at_once=_AT_ONCE)
        facts = [
            TagFacts(tag, record.digest, record.at, pulled.get(tag), guard.reason(Tag(tag)))
            for tag, record in sorted(records.items())
        ]
        verdicts = plan_tags(name, retention, facts, now)
        manifests: dict[str, ManifestFacts] = {}
        if retention.untagged_days is not None:
            left = await self._left(place, records.values(), pace)
            tagged = {record.digest for record in records.values()}
            read_one = partial(self._facts, left, tagged, manifests, pace)
            await each(await self._keys(keys.manifests(place)), read_one, at_once=_AT_ONCE)
        return Survey(
            plan_manifests(retention, facts, verdicts, manifests, now), records, manifests
        )

    async def _pulled(self, place: Place, record: TagRecord, tag: Tag, now: float) -> float | None:
        """When the tag or its digest was pulled last; where pulls are not counted: just now."""
        if not self.pulls.counting:
            return now
        times = await both(self.pulls.last(place, tag), self.pulls.last(place, record.target))
        return max((each for each in times if each is not None), default=None)

    async def _prune(self, key: str) -> None:
        await self._tags.histories.prune(key)

    async def _keys(self, prefix: str) -> list[str]:
        found: list[str] = []
        async for key in every_key(self._store, prefix):
            if len(found) == MOST:
                raise Invalid(f"retention works on repositories of up to {MOST:,} tags")
            found.append(key)
        return found

    async def _left(
        self, place: Place, records: Iterable[TagRecord], pace: Pace
    ) -> dict[str, float]:
        """When a tag last left each manifest, as far as histories go."""
        left: dict[str, float] = {}

        def note(states: Iterable[TagState]) -> None:
            ended: float | None = None
            for state in states:
                if ended is not None:
                    left[state.digest] = max(ended, left.get(state.digest, 0.0))
                ended = state.at

        for record in records:
            note((TagState(record.digest, record.version, record.by, record.at), *record.history))

        async def read(key: str) -> None:
            await pace()
            found = await value(self._store, key)
            if found is not None:
                note(PastRecord.decode(found.data).states)

        await each(await self._keys(keys.histories(place)), read, at_once=_AT_ONCE)
        return left

    async def _facts(
        self,
        left: Mapping[str, float],
        tagged: set[str],
        facts: dict[str, ManifestFacts],
        pace: Pace,
        key: str,
    ) -> None:
        await pace()
        digest = keys.last_segment(key)
        found = await value(self._store, key)
        if found is None:
            return
        since = pulled = 0.0
        if digest not in tagged:
            try:
                since = (await self._store.stat(key)).modified
            except NotFound:
                return
            if self.pulls.counting:
                place, _, _ = keys.repository_parts(key)
                pulled = await self.pulls.last(place, Digest(digest)) or 0.0
        stored = StoredManifest.unpack(Digest(digest), found.data)
        parsed = await stored.parsed()
        facts[digest] = ManifestFacts(
            digest,
            max(since, left.get(digest, 0.0)),
            [each.digest for each in parsed.manifests],
            parsed.subject.digest if parsed.subject else "",
            pulled,
        )

    async def _since(
        self, place: Place, known: Mapping[str, ManifestFacts]
    ) -> dict[str, ManifestFacts]:
        """Manifests that were pushed since the survey."""
        fresh: dict[str, ManifestFacts] = {}
        pushed = [
            key
            for key in await self._keys(keys.manifests(place))
            if keys.last_segment(key) not in known
        ]
        await each(pushed, partial(self._facts, {}, set(), fresh, no_pace), at_once=_AT_ONCE)
        return fresh

    async def _restore(
        self, place: Place, manifests: Mapping[str, ManifestFacts], done: Expired
    ) -> None:
        """Have back what retention deleted, and a manifest that is there lists or is about."""
        needed = {each for facts in manifests.values() for each in (*facts.children, facts.subject)}
        for digest in map(Digest, sorted(needed - {"", *manifests})):
            found = await value(self._store, keys.deleted(place, digest))
            if found is None or DeletedRecord.unpack(found.data)[0].by != BY:
                continue
            if await value(self._store, keys.manifest(place, digest)) is not None:
                continue
            try:
                await self._reinstatements.undelete(place, digest, BY)
            except (ManifestUnknown, ManifestBlobUnknown):
                continue
            done.restored.append(digest)
            if digest in done.manifests:
                done.manifests.remove(digest)
