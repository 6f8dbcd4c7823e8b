"""How many requests to S3 a request to the registry takes: as many, however much is stored.

Objects are generated in all places of the layout, 3,000 of them. For a million, which takes about
a quarter of an hour::

    S3_OBJECTS=1000000 .venv/bin/pytest tests/http/test_s3_calls.py --timeout=7200
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from registry.spec.digest import Digest
from registry.spec.names import Place, SessionId, Tag
from storage import keys
from tests.fixtures.stores import s3_store, settings_of
from tests.oracle.content import digest_of, image, push_blob, put_manifest, random_bytes
from tests.oracle.local import LocalRegistry

OBJECTS = int(os.environ.get("S3_OBJECTS", "3000"))
WRITERS = 32

pytestmark = pytest.mark.timeout(120 if OBJECTS <= 10_000 else 7200)


def generated() -> Iterator[str]:
    """Keys of other repositories' content, before and behind those of the test's own."""
    for number in itertools.count():
        place = Place(f"{'az'[number % 2]}-project/{number // 100}")
        digest = Digest.of(b"%d" % number)
        yield keys.data(SessionId(digest.hex))
        yield keys.pointer(digest)
        yield keys.reference(digest, place)
        yield keys.blob(place, digest)
        yield keys.manifest(place, digest)
        yield keys.tagged(place, digest) + "v1"
        yield keys.tag(place, Tag(f"v{number}"))
        yield keys.referrers(place, digest) + Digest.of(b"%d referrer" % number)
        yield keys.catalog(place)
        yield keys.upload(SessionId(digest.hex))


async def fill(settings, objects):
    async with s3_store(settings) as store:
        source = itertools.islice(generated(), objects)

        async def write():
            for key in source:
                await store.put(key, b"{}")

        await asyncio.gather(*[write() for _ in range(WRITERS)])


@pytest.fixture(scope="module")
def counts(minio):
    """Requests to S3 by what was asked for: in an empty bucket, and in a full one."""
    return [_count(settings_of(minio), objects) for objects in (0, OBJECTS)]


def _count(settings, objects):
    asyncio.run(fill(settings, objects))
    told: Counter[str] = Counter()
    found: dict[str, dict[str, int]] = {}

    def observe(operation: str, outcome: str, seconds: float) -> None:
        told[operation] += 1

    def served():
        return LocalRegistry("s3", s3=settings, observe=observe)

    layer, config = random_bytes("layer", 200_000), b"{}"
    manifest = image(config, [layer])
    repo = "m-project/env"
    url = f"/v2/{repo}"
    with served() as registry, registry.client() as client:
        for data in (layer, config):
            push_blob(client, repo, data)
        put_manifest(client, repo, "warm", manifest).expect(201)

        def push(name, request, status=201):
            told.clear()
            answer = request().expect(status)
            found[name] = dict(told)
            return answer

        small = random_bytes("small", 4096)
        start = client.post(f"{url}/blobs/uploads/").expect(202)["Location"]
        digest = digest_of(small)
        push("push blob", lambda: client.put(f"{start}?digest={digest}", body=small))

        def push_as_docker(name, data):
            start = client.post(f"{url}/blobs/uploads/").expect(202)["Location"]
            sent = push(f"send {name}", lambda: client.patch(start, body=data), 202)["Location"]
            end = f"{sent}?digest={digest_of(data)}"
            push(f"close {name}", lambda: client.put(end))

        push_as_docker("config", random_bytes("config", 4000))
        push_as_docker("layer", random_bytes("layer", 400_000))
        other = image(config, [layer], annotations={"is": "new"})
        push("push manifest", lambda: put_manifest(client, repo, "new", other))
        push("move tag", lambda: put_manifest(client, repo, "new", image(config)))
    asked = {
        "manifest by tag": ("GET", f"{url}/manifests/warm"),
        "blob": ("GET", f"{url}/blobs/{digest_of(layer)}"),
        "small blob": ("GET", f"{url}/blobs/{digest}"),
        "head": ("HEAD", f"{url}/blobs/{digest}"),
        "tags": ("GET", f"{url}/tags/list?n=50"),
        "catalog": ("GET", "/v2/_catalog?n=10"),
        "missing": ("GET", f"{url}/manifests/none"),
    }
    for name, (method, target) in asked.items():
        # A registry of its own for each: it remembers nothing yet.
        with served() as registry, registry.client() as client:
            told.clear()
            assert client.request(method, target).status in (200, 404)
            found[name] = dict(told)
    return found


def test_requests_take_as_many_calls_in_a_full_bucket_as_in_an_empty_one(counts):
    empty, full = counts
    assert full == empty


def test_reads_and_pushes_take_few_calls(counts):
    """So that a change that makes it more shows."""
    (_, full) = counts
    totals = {name: sum(calls.values()) for name, calls in full.items()}
    most = {
        "push blob": 5,
        # The session is looked for, and written down with its bytes.
        "send config": 2,
        "send layer": 2,
        # Its record, what a blob takes, and the record goes.
        "close config": 5,
        "close layer": 6,
        # Looks at catalog and tag; that it is pushed, the manifest, the tag: whatever it needs.
        "push manifest": 5,
        # And the link goes that the tag had.
        "move tag": 5,
        "manifest by tag": 3,
        "blob": 4,
        "small blob": 4,
        "head": 3,
        "tags": 1,
        "catalog": 1,
        "missing": 2,
    }
    assert {name: calls for name, calls in totals.items() if calls > most[name]} == {}


def test_a_push_writes_as_few_objects_as_this(counts):
    """Where a store syncs each of them on one disk, their number is what a push takes."""
    (_, full) = counts
    assert [full[name]["put"] for name in ("push blob", "push manifest", "move tag")] == [3, 3, 3]


def test_a_listing_is_only_made_for_lists(counts):
    (_, full) = counts
    assert {name for name, calls in full.items() if "list" in calls} == {"tags", "catalog"}
