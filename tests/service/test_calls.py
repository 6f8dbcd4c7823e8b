"""What each request asks of the store, so that it can't grow unnoticed.

A line is one round: what is asked at once, and waited for together. On S3 a round takes the time of
one request, and ``create`` or ``put_all`` that of one for each step.
"""

import asyncio

import pytest

from registry.service.services import Services
from registry.service.uploads import Uploads
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.names import Place, Tag
from storage.coordination import Coordinator
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.service.content import chunk, image, push

REPOSITORY, OTHER, TAG = Place("project/env"), Place("project/other"), Tag("v1")
SMALL, LARGE = b"{}", b"layer" * 40_000
IMAGE, NEXT, ARTIFACT = (
    image(LARGE),
    image(SMALL, config=LARGE),
    image(subject=Digest.of(b"subject")),
)


class Rounds(FaultyStore):
    """Notes which calls are asked for before any of them is answered."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.rounds: list[list[str]] = []
        self._end: asyncio.Future[None] | None = None

    async def step(self, method, key, call, half=None):
        name = f"{method} {key.partition('/')[0]}{_kind(key)}"
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
            self.rounds.append([name])
            for _ in range(20):
                await asyncio.sleep(0)
            self._end.set_result(None)
            self._end = None
        else:
            self.rounds[-1].append(name)
            await self._end
        return await super().step(method, key, call, half)


def _kind(key: str) -> str:
    parts = key.split(" ", maxsplit=1)[0].split("!/")
    return f"/{parts[1].partition('/')[0]}" if len(parts) > 1 else ""


class Client:
    """Does one request after another over one store, in a process that may be new."""

    def __init__(self) -> None:
        self.store = Rounds()
        self.services = self.process()

    def process(
        self, coordinator: Coordinator | None = None, *, projects: bool = False
    ) -> Services:
        coordinator = coordinator or InProcessCoordinator()
        return Services.over(
            self.store, coordinator, files=None, memory=1024 * 1024, projects=projects
        )

    async def prepare(self) -> None:
        """Everything is there, and this process knows nothing of it; the sessions' key is read."""
        uploads = self.services.uploads
        for data in (SMALL, LARGE):
            await uploads.upload(REPOSITORY, "me", Digest.of(data), chunk(data))
        for body, tag in ((IMAGE, TAG), (ARTIFACT, Tag("artifact"))):
            await self.services.manifests.put(REPOSITORY, push(body, tag), "me")
        self.services = self.process()
        await self.services.uploads.start(REPOSITORY, "me")

    async def asked(self, request) -> list[str]:
        del self.store.rounds[:]
        await request
        return [" + ".join(sorted(each)) for each in self.store.rounds]

    @property
    def uploads(self) -> Uploads:
        return self.services.uploads

    async def finish(self, data, repository=REPOSITORY):
        session = (await self.uploads.start(repository, "me")).session
        return await self.uploads.finish(repository, session, "me", Digest.of(data), chunk(data))

    def put(self, body, tag=TAG):
        return self.services.manifests.put(REPOSITORY, push(body, tag), "me")

    def get(self, reference=TAG):
        return self.services.manifests.get(REPOSITORY, reference)

    async def read(self, data):
        blob = await self.services.blobs.find(REPOSITORY, Digest.of(data))
        async with self.services.blobs.open(blob, 0, blob.size) as reader:
            return [piece async for piece in reader]

    async def patch(self, data):
        session = (await self.uploads.start(REPOSITORY, "me")).session
        await self.uploads.append(REPOSITORY, session, "me", chunk(data, piece=1 << 20))
        return session

    async def close(self, data):
        """The end of an upload whose bytes came before, on another process."""
        session = await self.patch(data)
        self.services = self.process()
        await self.uploads.start(REPOSITORY, "me")
        del self.store.rounds[:]
        await self.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(b""))

    async def push(self):
        """What docker sends of an image, on one process."""
        for data in (b"new", LARGE + b"1"):
            session = await self.patch(data)
            await self.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(b""))
        await self.put(image(LARGE + b"1", config=b"new"), Tag("v2"))

    def mount(self):
        return self.services.blobs.mount(OTHER, Digest.of(LARGE), REPOSITORY)

    def delete(self, reference):
        return self.services.deletions.delete(REPOSITORY, reference, Conditions())


CHECK = ["get mounts + get repos/blobs + get repos/blobs", "get blobs + get blobs"]
LOOKS = [f"{CHECK[0]} + stat catalog", CHECK[1]]
KEPT = ["get repos/history", "put_all gc"]
TABLE = {
    "open a session": (lambda c: c.uploads.start(REPOSITORY, "me"), []),
    "push a small blob": (
        lambda c: c.finish(b"new"),
        ["get uploads", "create blobs"],
    ),
    "push a small blob that others hold": (
        lambda c: c.finish(SMALL, OTHER),
        ["get uploads", "create blobs", "get blobs + put_all repos/blobs"],
    ),
    "push a larger blob that others hold": (
        lambda c: c.finish(LARGE, OTHER),
        [
            *("get uploads", "append data", "write data", "finish data", "create blobs"),
            "get blobs + put_all repos/blobs",
        ],
    ),
    "push a larger blob": (
        lambda c: c.finish(LARGE + b"1"),
        ["get uploads", "append data", "write data", "finish data", "create blobs"],
    ),
    "send a chunk": (lambda c: c.patch(LARGE), ["get uploads", "create uploads"]),
    "send a larger chunk": (
        lambda c: c.patch(LARGE * 3),
        ["get uploads", "append data", "write data", "checkpoint data", "create uploads"],
    ),
    "close a small upload": (
        lambda c: c.close(b"new"),
        ["get uploads", "create blobs", "delete uploads"],
    ),
    "close an upload": (
        lambda c: c.close(LARGE + b"1"),
        [
            *("get uploads", "append data", "write data", "finish data", "create blobs"),
            "delete uploads",
        ],
    ),
    "close a larger upload": (
        lambda c: c.close(LARGE * 3),
        ["get uploads", "append data", "finish data", "create blobs", "delete uploads"],
    ),
    "push an image as docker does": (
        lambda c: c.push(),
        [
            *("get uploads", "create uploads"),
            *("get uploads", "create blobs", "delete uploads"),
            *("get uploads", "create uploads"),
            *("get uploads", "append data", "write data", "finish data", "create blobs"),
            "delete uploads",
            *("stat catalog", "get repos/tags + put_all repos/pushed"),
            *("put_all repos/manifests", "create repos/tags"),
        ],
    ),
    "mount": (lambda c: c.mount(), ["get mounts + get repos/blobs", "get blobs", "put_all refs"]),
    "pull a small blob": (
        lambda c: c.read(SMALL),
        ["get mounts + get repos/blobs", "get blobs"],
    ),
    "pull a larger blob": (
        lambda c: c.read(LARGE),
        ["get mounts + get repos/blobs", "get blobs", "open data", "read data", "read data"],
    ),
    "pull a manifest by its tag": (lambda c: c.get(), ["get repos/tags", "get repos/manifests"]),
    "push a manifest to a new tag": (
        lambda c: c.put(NEXT, Tag("v2")),
        [
            *LOOKS,
            "get repos/tags + put_all repos/pushed",
            "put_all repos/manifests",
            "create repos/tags",
        ],
    ),
    "push a manifest to a tag that moves": (
        lambda c: c.put(NEXT),
        [
            *LOOKS,
            "get repos/tags + put_all repos/pushed",
            "put_all repos/manifests",
            "replace repos/tags",
            "delete repos/tagged",
        ],
    ),
    "push a manifest once more": (
        lambda c: c.put(IMAGE),
        [
            *LOOKS,
            "get repos/tags + put_all repos/pushed",
            "put_all repos/manifests",
            "put_all repos/pushed",
            "stat repos/manifests",
            "stat repos/pushed",
        ],
    ),
    "delete a tag": (
        lambda c: c.delete(TAG),
        [
            "get repos/tags",
            *KEPT,
            "delete repos/tags",
            "delete repos/tagged",
        ],
    ),
    "delete a manifest": (
        lambda c: c.delete(Digest.of(IMAGE)),
        [
            "get repos/manifests",
            "list repos/pushed + put gc",
            "get repos/tags",
            "list repos/tagged",
            "put repos/deleted",
            "list repos/pushed",
            "get repos/tags",
            *KEPT,
            "delete repos/tags",
            "delete repos/tagged",
            "list repos/tagged",
            "delete repos/manifests",
            "list repos/pushed",
            "get repos/tags",
            "list repos/tagged",
        ],
    ),
}


@pytest.mark.parametrize("name", TABLE)
async def test_a_request_asks_no_more_of_the_store_than_this(name):
    request, expected = TABLE[name]
    client = Client()
    await client.prepare()
    assert await client.asked(request(client)) == expected


async def test_what_was_asked_once_is_not_asked_again():
    client = Client()
    await client.prepare()
    for _ in range(2):
        found = [await client.asked(each) for each in (client.get(), client.read(SMALL))]
    assert found == [[], []]


async def test_rules_of_a_project_take_a_call_once_and_no_round():
    """What a process does not know of them yet it asks for beside all else that it looks at."""
    client = Client()
    await client.prepare()
    client.services = client.process(projects=True)
    pushes = [await client.asked(client.put(body, Tag("v2"))) for body in (NEXT, ARTIFACT)]
    asked = [[each for each in rounds if "tenants" in each] for rounds in pushes]
    assert asked == [[f"{CHECK[0]} + get tenants + stat catalog"], []]
    assert not any("tenants" in each for each in await client.asked(client.delete(Tag("v2"))))


class Asked(InProcessCoordinator):
    """Counts the round trips that stamps would take through Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.trips = 0

    async def stamps(self, *names):
        self.trips += 1
        return await super().stamps(*names)


async def test_stamps_of_a_tag_and_its_manifest_are_asked_for_at_once():
    client, coordinator = Client(), Asked()
    await client.prepare()
    client.services = client.process(coordinator)
    for expected, request in (
        (2, client.get),  # nothing is known yet
        (1, client.get),
        (1, lambda: client.get(Digest.of(IMAGE))),
        (1, lambda: client.read(SMALL)),
        (1, lambda: client.read(SMALL)),
    ):
        coordinator.trips = 0
        await request()
        assert coordinator.trips == expected
    await client.put(NEXT)
    coordinator.trips = 0
    assert (await client.get()).data == NEXT, "the tag has moved since it was asked for"
    assert coordinator.trips == 2
    await client.delete(Digest.of(NEXT))
    with pytest.raises(ManifestUnknown):
        await client.get()
