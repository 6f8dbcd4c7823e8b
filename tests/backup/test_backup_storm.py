"""Backups while clients push, on files and on S3: each has every tag that was acknowledged before.

They are incremental, each is found by its moment, each restores into an empty store, and one may be
removed. What interleaves, and what breaks off, is in test_backup_histories and test_backup_faults.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from registry.service.backup.backups import Backups
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from tests.backup.keeper import Registry
from tests.fixtures.stores import s3_store, settings_of
from tests.service.content import image

CLIENTS, TAGS = 4, 5
BASE = b"what all images have" * 9_000


@pytest.fixture(params=["files", "s3"])
async def store(request, tmp_path):
    """Opens empty stores: in directories, or in buckets."""
    async with AsyncExitStack() as stack:

        async def opened(name):
            if request.param == "files":
                files = FileStore(tmp_path / name)
                stack.callback(files.close)
                return files
            return await stack.enter_async_context(
                s3_store(settings_of(request.getfixturevalue("minio")))
            )

        yield opened


@dataclass
class Storm:
    """Clients that push until they are told to end, and every push that was acknowledged."""

    registry: Registry
    acknowledged: dict[tuple[Place, str], list[Digest]] = field(default_factory=dict)
    over: bool = False

    @property
    def pushes(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def client(self, number: int) -> None:
        place, count = Place(f"demo/env{number}"), 0
        while not self.over:
            layer = f"{number} {count}".encode() * 9_000
            tag = f"v{count % TAGS}"
            digest = await self.registry.push(
                place, image(BASE, layer), BASE, layer, b"{}", tag=tag
            )
            self.acknowledged.setdefault((place, tag), []).append(digest)
            count += 1

    async def after(self, pushes: int) -> None:
        """Wait until so many more were acknowledged."""
        until = self.pushes + pushes
        while self.pushes < until:
            await asyncio.sleep(0.005)

    def stood(self) -> dict[tuple[Place, str], int]:
        """How often each tag was pushed by now."""
        return {name: len(pushed) for name, pushed in self.acknowledged.items()}


async def test_a_backup_has_every_tag_that_was_acknowledged_before_it_began(store):
    registry = Registry(await store("store"))
    backups = Backups(await store("backups"), InProcessCoordinator())
    storm = Storm(registry)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(storm.client(number))
        taken = []
        for _ in range(3):
            await storm.after(2 * CLIENTS)
            stood = storm.stood()
            taken.append((await registry.backup(backups), stood))
        storm.over = True
    assert storm.pushes > sum(taken[-1][1].values())
    for number, (backup, stood) in enumerate(taken):
        assert backup.summary.missing == 0
        assert (await backups.find(at=backup.summary.read)).id == backup.id
        if number == 1:  # what it shares with the others stays
            await backups.remove(taken[0][0].id)
        other = Registry(await store(f"restored{number}"))
        assert (await other.restore(backups, backup)).failed == 0
        found = await other.content()  # each blob is read, and compared with its digest
        for (place, tag), count in stood.items():
            tags, manifests, blobs = found[place]
            assert tags[tag] in storm.acknowledged[place, tag][count - 1 :]
            assert tags[tag] in manifests
            stored = await other.services.manifests.get(place, tags[tag])
            assert {each.digest for each in (await stored.parsed()).blobs} <= blobs.keys()
    summaries = [backup.summary for backup, _ in taken]
    for before, after in pairwise(summaries):
        assert after.blobs == after.manifests - before.manifests, "only new layers are copied"
