"""``moorage gc`` on a store in files, as a job of its own."""

import asyncio
import json
import time

import pytest

from registry.cli import main
from registry.service.collection.mark import Marker
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from storage import keys
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from tests.fixtures.audited import events_in
from tests.service.content import chunk, image, push

A = Place("project/a")
LAYER, CONFIG = b"layer" * 40_000, b"{}"
IMAGE = image(LAYER)
DIGEST_OF_LAYER = Digest.of(LAYER)


def on_store(root, work, *, window=0.0):
    async def run():
        store = FileStore(root)
        terms = Terms(1.0, window)
        coordinator = InProcessCoordinator()
        try:
            services = Services.over(store, coordinator, files=store, memory=0, terms=terms)
            marker = Marker(store, coordinator, services.candidates, terms, services.tags.histories)
            return await work(store, services, marker)
        finally:
            store.close()

    return asyncio.run(run())


async def push_image(store, services, marker):
    assert await marker.begin()
    for data in (LAYER, CONFIG):
        await services.uploads.upload(A, "me", Digest.of(data), chunk(data))
    await services.manifests.put(A, push(IMAGE, Tag("v1")), "me")


async def delete_image(store, services, marker):
    await services.deletions.delete(A, Digest.of(IMAGE), Conditions(), "me")


async def is_left(store, services, marker):
    """What there is still, but for what deleted tags were: that is kept on purpose."""
    prefixes = ("blobs/", "data/", "refs/", "repos/")
    listed = [await store.list(prefix) for prefix in prefixes]
    return [[key for key in keys if "!/history/" not in key] for keys in listed]


@pytest.fixture
def gc(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MOORAGE__COLLECTION__GRACE_SECONDS", "1")

    def run(*arguments):
        code = main(["gc", "--data", str(tmp_path / "store"), *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_a_job_collects_what_is_due_and_tells_of_each(tmp_path, gc):
    root = tmp_path / "store"
    on_store(root, push_image)
    assert gc()[:2] == (0, [])
    on_store(root, delete_image)
    time.sleep(1.1)
    code, lines, _ = gc("--dry-run")
    assert code == 0
    assert sorted(line.split(" sha256")[0] for line in lines) == 2 * ["would be condemned: member"]
    found = []
    for _ in range(3):
        code, lines, _ = gc("--json")
        assert code == 0
        found += map(json.loads, lines)
        time.sleep(1.1)
    assert on_store(root, is_left) == [[], [], [], []]
    assert [each["done"] for each in found if each["kind"] == "blob"] == [
        *2 * ["condemned"],
        *2 * ["removed"],
    ]
    assert sum(each["bytes"] for each in found) == len(LAYER) + len(CONFIG)


def test_where_people_log_in_the_audit_log_has_what_was_removed(tmp_path, gc, monkeypatch):
    monkeypatch.setenv("MOORAGE__AUTH__MODE", "projects")
    root = tmp_path / "store"
    on_store(root, push_image)
    on_store(root, delete_image)
    for _ in range(3):
        time.sleep(1.1)
        assert gc()[0] == 0
        assert gc("--dry-run")[0] == 0
    in_project = events_in(root, A.tenant)
    without = events_in(root)
    digests = sorted([Digest.of(LAYER), Digest.of(CONFIG)])
    for events, kind in ((in_project, "member"), (without, "blob")):
        assert sorted(event.subject for event in events) == digests
        assert {event.details["kind"] for event in events} == {kind}
        assert {(event.action, event.principal) for event in events} == {
            ("content.collected", "system:collector")
        }
    assert {event.repository for event in in_project} == {"a"}
    assert {event.details["bytes"] for event in without} == {str(len(LAYER)), str(len(CONFIG))}


def test_an_older_store_is_gone_over_first(tmp_path, gc):
    root = tmp_path / "store"
    on_store(root, push_image)

    async def age(store, services, marker):
        await store.delete(keys.pushed(A, Digest.of(IMAGE), "v1"))
        for key in (keys.READ, keys.MARK):
            await store.delete(key)

    on_store(root, age)
    code, _, error = gc()
    assert code == 1
    assert "moorage gc --full" in error
    code, lines, error = gc("--full")
    assert (code, lines) == (0, [])
    assert "2 needs were written down" in error
    assert gc()[0] == 0
