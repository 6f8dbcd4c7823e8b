"""Importing a storage tree: all that it links to, nothing else, and nothing without a check."""

import asyncio
import json
import os
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import pytest

from registry.cli import main
from registry.service.imports.importer import Importer
from registry.service.imports.tree import TreeSource
from registry.service.ingest import Ingest
from registry.spec.digest import Digest
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST, OCI_NONDISTRIBUTABLE_GZIP
from registry.spec.names import Place
from registry.spec.quota import Limits
from storage import keys
from storage.filesystem import FileStore
from storage.memory import MemoryStore
from storage.plain import PlainDirectory
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.backup.keeper import Registry
from tests.imports.old import LAYERS, Tree, killed
from tests.service.content import encode, image

MEMORY = "/dev/shm"  # noqa: S108
LARGE, SMALL, CONFIG = b"layer" * 40_000, b"a small layer", b"{}"
FIRST, SECOND = image(LARGE), image(SMALL)


def index(*children):
    manifests = [
        {"mediaType": OCI_MANIFEST, "digest": Digest.of(child), "size": len(child)}
        for child in children
    ]
    return encode({"schemaVersion": 2, "manifests": manifests})


def filled(root):
    tree = Tree(root)
    tree.push("demo/env", FIRST, LARGE, CONFIG, tag="v1")
    tree.push("demo/env", SECOND, SMALL, CONFIG, tag="v1")
    tree.push("demo/env", FIRST, tag="latest")
    tree.push("base", FIRST, LARGE, CONFIG)
    tree.push("base", index(FIRST), tag="all")
    tree.push("base/2nd", SECOND, SMALL, CONFIG, tag="v1")
    tree.write("repositories/uploads-only/_uploads/x/startedat", b"")
    tree.link("layers-only", "_layers", tree.blob(b"a layer"))
    return tree


WANTED = {
    Place("demo/env"): {"v1": Digest.of(SECOND), "latest": Digest.of(FIRST)},
    Place("base"): {"all": Digest.of(index(FIRST))},
    Place("base/2nd"): {"v1": Digest.of(SECOND)},
}


async def where(name):
    return Place(name)


@contextmanager
def importing(root, store, *, into="", jobs=4, failed=None):
    """An importer, and the registry that it imports into."""
    registry, plain = Registry(store), PlainDirectory(root)
    registry.services = registry.services.over(
        registry.store, registry.coordinator, files=None, memory=0
    )
    told = failed if failed is not None else []
    try:
        yield (
            registry,
            Importer(
                registry.store,
                registry.coordinator,
                registry.services,
                Ingest(registry.store, registry.services.blobs),
                TreeSource(plain, str(root)),
                where,
                into=into,
                jobs=jobs,
                failed=lambda what, reason: told.append((what, reason)),
            ),
        )
    finally:
        plain.close()


async def repositories_go_on(source):
    """A source that has what NESTED names, and nothing else."""
    names = [name async for name in source.repositories("")]
    assert sorted(names) == sorted(NESTED)
    for number, after in enumerate(names):
        assert [name async for name in source.repositories(after)] == names[number + 1 :]


async def tags_of(registry):
    return {place: tags for place, (tags, _, _) in (await registry.content()).items()}


async def test_all_that_a_tree_links_to_is_imported(tmp_path):
    filled(tmp_path)
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        done = await importer.run()
        assert await tags_of(registry) == WANTED
        content = await registry.content()
        assert content[Place("base")][1] == {Digest.of(FIRST), Digest.of(index(FIRST))}
        assert (done.repositories, done.tags, done.failed) == (3, 4, 0)
        assert (done.manifests, done.blobs) == (5, 3)
        assert done.bytes == len(LARGE) + len(SMALL) + len(CONFIG)
        stored = await registry.services.manifests.get(Place("base"), Digest.of(index(FIRST)))
        assert stored.media_type == OCI_INDEX
        again = await importer.run()
        assert (again.repositories, again.manifests, again.blobs) == (3, 0, 0)


NESTED = ("a", "a/b", "a/b-c", "a/b/c", "a-b", "a0/b")


async def test_repositories_go_on_behind_any_of_them(tmp_path):
    tree = Tree(tmp_path)
    for name in NESTED:
        tree.push(name, SECOND, SMALL, CONFIG, tag="v1")
    with importing(tmp_path, MemoryStore()) as (_, importer):
        await repositories_go_on(importer._source)


async def test_what_was_deleted_there_is_not_missed(tmp_path):
    """Distribution removes the link of a manifest, and leaves its directory."""
    tree = filled(tmp_path)
    gone = tree.push("demo/env", image(b"gone"), b"gone", CONFIG)
    tree.data(gone).unlink()
    next(tree.root.glob(f"**/revisions/sha256/{gone.hex}/link")).unlink()
    with importing(tmp_path, MemoryStore()) as (_, importer):
        assert (await importer.run()).failed == 0


async def test_what_is_pushed_after_an_import_comes_with_the_next(tmp_path):
    tree = filled(tmp_path)
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        await importer.run()
        tree.push("demo/env", image(b"new"), b"new", CONFIG, tag="v1")
        done = await importer.run()
        assert (done.manifests, done.blobs, done.bytes) == (1, 1, 3)
        states = await registry.states(Place("demo/env"), "v1")
        assert [state.digest for state in states] == [Digest.of(image(b"new")), Digest.of(SECOND)]
        assert states[0].by == "system:import"


async def test_what_is_damaged_missing_or_not_linked_is_told_and_not_taken(tmp_path):
    tree, told = filled(tmp_path), []
    tree.data(Digest.of(LARGE)).write_bytes(b"something else")
    tree.push("other", image(b"never linked"), CONFIG, tag="unlinked")
    tree.blob(b"never linked")
    tree.push("other", image(b"gone"), b"gone", CONFIG, tag="gone")
    tree.data(Digest.of(b"gone")).unlink()
    tree.write("repositories/other/_manifests/tags/broken/current/link", b"nonsense")
    tree.write("repositories/other/_manifests/tags/a~b/current/link", b"nonsense")
    good = tree.push("other", SECOND, SMALL, CONFIG, tag="good")
    tree.data(tree.push("other", image(b"x"), b"x", CONFIG, tag="changed")).write_bytes(SECOND)
    with importing(tmp_path, MemoryStore(), failed=told) as (registry, importer):
        done = await importer.run()
        assert (await tags_of(registry))[Place("other")] == {"good": good}
        assert (await tags_of(registry))[Place("demo/env")] == {"v1": Digest.of(SECOND)}
        assert done.failed == len(told)
        assert {what.partition("@")[0] for what, _ in told} >= {
            *("other", "other:broken", "other:a~b", "demo/env", "base"),
        }
        for place, (_, _, blobs) in (await registry.content()).items():
            assert b"never linked" not in blobs.values(), place


async def test_what_another_repository_here_holds_is_not_given_for_its_digest(tmp_path):
    tree, store = filled(tmp_path), MemoryStore()
    secret = b"of another project"
    await Registry(store).push(Place("victim/env"), image(secret), secret, CONFIG, tag="v1")
    tree.push("evil", image(secret), CONFIG, tag="v1")
    with importing(tmp_path, store) as (registry, importer):
        assert (await importer.run()).failed == 1
        assert secret not in (await registry.content()).get(Place("evil"), ((), (), {}))[2].values()


async def test_a_download_that_breaks_off_leaves_nothing(tmp_path):
    tree = filled(tmp_path / "old")
    large = b"large" * 200_000
    tree.push("a", image(large), large, CONFIG, tag="v1")
    files = FileStore(tmp_path / "store")
    with importing(tmp_path / "old", files) as (_, importer):
        blob = importer._source.blob

        @asynccontextmanager
        async def broken(*arguments):
            async with blob(*arguments) as pieces:

                async def some():
                    async for piece in pieces:
                        yield piece
                        if len(piece) > 64 * 1024:
                            raise Unavailable("old", "it broke off")

                yield some()

        importer._source.blob = broken
        with pytest.raises(Unavailable):
            await importer.run()
    files.close()
    assert list((tmp_path / "store" / "partial").iterdir()) == []


async def test_a_referrer_may_list_what_it_refers_to(tmp_path):
    tree = Tree(tmp_path)
    tree.push("demo", FIRST, LARGE, CONFIG, tag="v1")
    listing = json.loads(index(FIRST))
    listing["subject"] = listing["manifests"][0]
    referrer = tree.push("demo", encode(listing))
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        source = importer._source

        async def referrers(_, subject):
            return [referrer] if subject == Digest.of(FIRST) else []

        async def untagged(_):
            for digest in ():
                yield digest

        source.referrers, source.untagged = referrers, untagged
        done = await asyncio.wait_for(importer.run(), 5)
        assert (done.manifests, done.failed) == (2, 0)
        assert referrer in (await registry.content())[Place("demo")][1]


async def test_foreign_layers_may_be_missing_and_are_kept_where_they_are(tmp_path):
    tree = Tree(tmp_path)
    document = json.loads(image(SMALL))
    for data in (b"here", b"elsewhere"):
        document["layers"].append(
            {
                "mediaType": OCI_NONDISTRIBUTABLE_GZIP,
                "digest": Digest.of(data),
                "size": len(data),
                "urls": ["https://elsewhere.example/layer"],
            }
        )
    tree.push("demo", encode(document), SMALL, CONFIG, b"here", tag="windows")
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        assert (await importer.run()).failed == 0
        _, _, blobs = (await registry.content())[Place("demo")]
        assert set(blobs.values()) == {SMALL, CONFIG, b"here"}


@pytest.mark.parametrize("when", ["before", "after", "crash"])
async def test_an_import_that_failed_anywhere_goes_on(tmp_path, when):
    filled(tmp_path)
    for n in count(1):
        inner = MemoryStore()
        faulty = FaultyStore(inner)
        if when == "crash":
            faulty.crash(n)
        else:
            faulty.fail(n, when=when)
        with importing(tmp_path, faulty) as (_, importer):
            try:
                await importer.run()
            except (Unavailable, Crash):
                for place, (tags, manifests, _) in (await Registry(inner).content()).items():
                    assert set(tags.values()) <= manifests, place
        told = []
        with importing(tmp_path, inner, failed=told) as (registry, importer):
            assert (await importer.run()).failed == 0, (told, faulty.log[n - 1])
            assert await tags_of(registry) == WANTED
        if faulty.total < n:
            assert n > 50
            return


async def test_a_resumed_import_looks_again_at_what_it_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("registry.service.imports.importer._AT_ONCE", 1)
    tree, told = filled(tmp_path), []
    with importing(tmp_path, MemoryStore(), failed=told) as (registry, importer):
        repositories = importer._source.repositories

        async def broken(after):
            async for name in repositories(after):
                if name == "demo/env":
                    raise Unavailable("old", "it broke off")
                yield name

        importer._source.repositories = broken
        with pytest.raises(Unavailable):
            await importer.run()
        importer._source.repositories = repositories
        new = tree.push("base/2nd", image(b"new"), b"new", CONFIG, tag="v1")
        done = await importer.run()
        assert (await tags_of(registry))[Place("base/2nd")] == {"v1": new}
        assert (done.repositories, done.tags, done.manifests) == (3, 4, 6)


async def test_another_choice_is_another_import(tmp_path):
    filled(tmp_path)
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        whole = importer._key
        with importing(tmp_path, registry.store, into="mirror") as (_, other):
            assert other._key != whole


async def test_what_came_is_counted_in_quotas_also_where_it_breaks_off(tmp_path, monkeypatch):
    # So that one is there whole when the next is asked for.
    monkeypatch.setattr("registry.service.imports.importer._AT_ONCE", 1)
    filled(tmp_path)
    with importing(tmp_path, MemoryStore()) as (registry, importer):
        await registry.services.quotas.limit("base", Limits(bytes=10_000_000), None)
        await registry.services.quotas.counting.of("base")
        repositories = importer._source.repositories

        async def broken(after):
            async for name in repositories(after):
                if name == "demo/env":
                    raise Unavailable("old", "it broke off")
                yield name

        importer._source.repositories = broken
        with pytest.raises(Unavailable):
            await importer.run()
        account = await registry.services.quotas.find("base")
        assert account.used.bytes >= len(LARGE)


async def test_no_more_is_fetched_at_once_than_it_is_told(tmp_path):
    tree, at_once, most = Tree(tmp_path), 0, 0
    layers = [bytes([number]) * 70_000 for number in range(12)]
    tree.push("demo", image(*layers), *layers, CONFIG, tag="v1")
    with importing(tmp_path, MemoryStore(), jobs=3) as (_, importer):
        blob = importer._source.blob

        def counted(*arguments):
            context = blob(*arguments)

            class Counted:
                async def __aenter__(self):
                    nonlocal at_once, most
                    at_once += 1
                    most = max(most, at_once)
                    return await context.__aenter__()

                async def __aexit__(self, *error):
                    nonlocal at_once
                    at_once -= 1
                    return await context.__aexit__(*error)

            return Counted()

        importer._source.blob = counted
        assert (await importer.run()).failed == 0
    assert most == 3


# as a command, over files


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        code = main(
            [
                *("import", "tree", str(tmp_path / "old"), "--json"),
                *("--data", str(tmp_path / "store"), *arguments),
            ]
        )
        captured = capsys.readouterr()
        return code, json.loads(captured.out or "{}"), captured.err

    return run


def on(root, work):
    async def done():
        store = FileStore(root)
        try:
            return await work(Registry(store))
        finally:
            store.close()

    return asyncio.run(done())


def inodes(root):
    return {file.stat().st_ino for file in root.rglob("*") if file.is_file()}


def test_files_are_taken_over_without_a_byte_copied(tmp_path, run):
    tree, began = filled(tmp_path / "old"), time.time()
    for data in (LARGE, SMALL, CONFIG):
        os.utime(tree.data(Digest.of(data)), (1, 1))
    code, done, _ = run()
    assert (code, done["repositories"], done["blobs"]) == (0, 3, 3)
    assert on(tmp_path / "store", tags_of) == WANTED
    assert on(tmp_path / "store", Registry.taken_over)
    for data in (LARGE, SMALL, CONFIG):
        assert tree.data(Digest.of(data)).stat().st_ino in inodes(tmp_path / "store")
    # A full mark leaves what has not been here for long: a name may be on its way.
    for data in (LARGE, SMALL, CONFIG):
        assert tree.data(Digest.of(data)).stat().st_mtime > began
    # The old registry goes on, and what it removes stays here.
    assert tree.data(Digest.of(LARGE)).read_bytes() == LARGE
    tree.data(Digest.of(LARGE)).unlink()
    assert Digest.of(LARGE) in on(tmp_path / "store", Registry.content)[Place("demo/env")][2]


def test_files_are_left_as_they_are_where_that_is_wanted(tmp_path, run):
    tree = filled(tmp_path / "old")
    before = {file: file.stat().st_mode for file in tree.root.rglob("*")}
    assert run("--copy", "--into", "mirror")[0] == 0
    assert {file: file.stat().st_mode for file in tree.root.rglob("*")} == before
    assert not inodes(tree.root) & inodes(tmp_path / "store")
    places = {Place(f"mirror/{name}") for name in WANTED}
    assert set(on(tmp_path / "store", tags_of)) == places


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="there is one file system only")
def test_files_on_another_file_system_are_copied(tmp_path, capsys):
    with tempfile.TemporaryDirectory(dir=MEMORY) as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one file system only")
        filled(Path(other))
        assert main(["import", "tree", "--data", str(tmp_path / "store"), other]) == 0
    capsys.readouterr()
    assert on(tmp_path / "store", tags_of) == WANTED
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_no_link_is_followed_out_of_a_tree(tmp_path, run):
    tree = filled(tmp_path / "old")
    (tmp_path / "secret").write_bytes(SMALL)
    data = tree.data(Digest.of(SMALL))
    data.unlink()
    data.symlink_to(tmp_path / "secret")
    code, done, error = run()
    assert (code, done["failed"] > 0) == (1, True)
    assert "symbolic link" in error
    assert all(
        SMALL not in blobs.values()
        for *_, blobs in on(tmp_path / "store", Registry.content).values()
    )


def test_what_is_damaged_is_not_linked_either(tmp_path, run):
    tree = filled(tmp_path / "old")
    tree.data(Digest.of(LARGE)).write_bytes(b"something else")
    code, done, error = run()
    assert (code, done["failed"] > 0) == (1, True)
    assert f"{Digest.of(LARGE)}" in error
    assert tree.data(Digest.of(LARGE)).stat().st_ino not in inodes(tmp_path / "store")


def test_projects_are_made_where_that_is_wanted(tmp_path, run, monkeypatch):
    filled(tmp_path / "old")
    monkeypatch.setenv("MOORAGE__AUTH__MODE", "projects")
    code, done, error = run()
    assert (code, done["failed"]) == (1, 3)
    assert "there is no project demo" in error
    code, done, error = run("--create-projects")
    assert (code, done["repositories"], done["failed"]) == (0, 3, 0)
    found = on(tmp_path / "store", tags_of)
    assert sorted(name.partition("/")[2] for name in found) == ["", "2nd", "env"]
    assert not set(found) & set(WANTED)


def test_an_import_that_is_killed_again_and_again_goes_on(tmp_path, run):
    """Many small layers; `make imports` has as many as 100 GB of environments have."""
    wanted = Tree(tmp_path / "old").environments(LAYERS)
    command = ("tree", str(tmp_path / "old"), "--data", str(tmp_path / "store"))
    for part in (5, 3):
        killed(LAYERS // part, *command)
        assert on(tmp_path / "store", lambda registry: registry.store.list(keys.POINTERS, limit=1))
        assert len(on(tmp_path / "store", tags_of)) < len(wanted)
    began = time.monotonic()
    code, done, _ = run()
    seconds = time.monotonic() - began
    assert (code, done["failed"], done["repositories"]) == (0, 0, len(wanted))
    assert done["blobs"] <= LAYERS + 1
    # Every blob of every repository is read and compared with its digest.
    assert on(tmp_path / "store", tags_of) == wanted
    print(f"{LAYERS} layers of {len(wanted)} repositories; the last run took {seconds:.1f} s")
