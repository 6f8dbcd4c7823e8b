"""Importing from real registries: what Distribution 3.1 keeps and serves, and another Moorage."""

import asyncio
import json
import os
import subprocess
import tarfile
import time

import pytest

from benchmarks.sides import DISTRIBUTION, distribution
from conformance.stores import ACCESS_KEY, SECRET_KEY
from registry.cli import main
from registry.service.blobs import SMALL
from registry.service.ingest import Ingest
from storage.filesystem import FileStore
from tests.backup.keeper import Registry
from tests.fixtures.programs import require_program
from tests.fixtures.projects import make_projects
from tests.imports.old import LAYERS, Tree, killed

COUNT = 5


def crane(*arguments):
    result = subprocess.run(
        [require_program("crane"), *arguments], check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Distribution with images that crane pushed: of layers, an index, and a signature's tag."""
    require_program("crane")
    if not DISTRIBUTION.exists():
        pytest.skip("not installed: registry")
    work = tmp_path_factory.mktemp("old")
    side = distribution(work)
    try:
        address = f"{side.endpoint.host}:{side.endpoint.port}"
        files = []
        for number in range(COUNT):
            (work / f"{number}.txt").write_bytes(os.urandom(60_000 * (number + 1)))
            files.append(work / f"{number}.tar")
            with tarfile.open(files[-1], "w") as layer:
                layer.add(work / f"{number}.txt", f"{number}.txt")
        for count in range(1, COUNT + 1):
            layers = [flag for file in files[:count] for flag in ("-f", str(file))]
            crane("append", *layers, "-t", f"{address}/demo:{count}-3.7.0.{count}")
            crane("append", *layers, "-t", f"{address}/a/b/c:v{count}")
        images = [f"{address}/demo:{count}-3.7.0.{count}" for count in (1, 2)]
        crane("index", "append", "-m", images[0], "-m", images[1], "-t", f"{address}/demo:all")
        crane("tag", f"{address}/demo:5-3.7.0.5", "latest")
        yield side, address
    finally:
        side.stop()


def listed(address):
    """Every tag with its digest, as crane sees them."""
    return {
        (name, tag): crane("digest", f"{address}/{name}:{tag}")
        for name in crane("catalog", address).split()
        for tag in crane("ls", f"{address}/{name}").split()
    }


def imported(capsys, *arguments):
    code = main(["import", *arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_a_tree_of_distribution_is_taken_over_as_it_is(old, tmp_path, capsys, registry_server):
    side, address = old
    tree = side.data
    done = imported(capsys, "tree", "--data", str(tmp_path / "store"), str(tree))
    assert (done["repositories"], done["failed"]) == (2, 0)
    server = registry_server(data=tmp_path / "store")
    assert listed(server.address) == listed(address)
    for name, tag in listed(address):
        crane("validate", "--remote", f"{server.address}/{name}:{tag}")
    taken = {file.stat().st_ino for file in (tmp_path / "store").rglob("*") if file.is_file()}
    blobs = list((tree / "docker/registry/v2/blobs").rglob("data"))
    assert sum(file.stat().st_ino in taken for file in blobs) == done["blobs"] > COUNT
    # The old one still serves what is shared now.
    crane("validate", "--remote", f"{address}/demo:latest")


@pytest.fixture
def bucket(minio, old, tmp_path):
    """The configuration file of a bucket that Distribution wrote, and what is in it."""
    _, address = old
    side = distribution(tmp_path, minio)
    try:
        there = f"{side.endpoint.host}:{side.endpoint.port}"
        for name in ("demo:all", "demo:latest", "a/b/c:v3"):
            crane("copy", f"{address}/{name}", f"{there}/{name}")
        yield s3_file(minio, tmp_path / "old.toml", "distribution"), listed(there)
    finally:
        side.stop()


def only_small_ones_are_fetched(monkeypatch):
    """What is larger than what is kept with its pointer must not come here."""
    fetch = Ingest._fetch

    async def fetched(*arguments):
        size = await fetch(*arguments)
        assert size <= SMALL
        return size

    monkeypatch.setattr(Ingest, "_fetch", fetched)


def s3_file(server, path, name):
    """A configuration file of a bucket of the server."""
    path.write_text(
        f"""[storage]
        driver = "s3"
        [storage.s3]
        bucket = "{name}"
        create_bucket = true
        endpoint = "{server.endpoint}"
        access_key = "{ACCESS_KEY}"
        secret_key = "{SECRET_KEY}"
        """
    )
    return str(path)


def test_a_tree_in_a_bucket_is_taken_over(bucket, tmp_path, capsys):
    source, wanted = bucket
    store = tmp_path / "store"
    done = imported(capsys, "tree", "--data", str(store), source)
    assert (done["repositories"], done["failed"]) == (2, 0)
    assert asyncio.run(tags_in(store)) == wanted


def test_a_tree_in_a_bucket_is_copied_by_the_server(
    bucket, minio, tmp_path, capsys, monkeypatch, registry_server
):
    source, wanted = bucket
    target = s3_file(minio, tmp_path / "new.toml", "imported")

    only_small_ones_are_fetched(monkeypatch)
    done = imported(capsys, "tree", "-c", target, source)
    assert (done["repositories"], done["failed"]) == (2, 0)
    server = registry_server("s3", arguments=["-c", target])
    assert listed(server.address) == wanted
    for name, tag in wanted:
        crane("validate", "--remote", f"{server.address}/{name}:{tag}")


def test_what_distribution_serves_is_imported_page_by_page(old, tmp_path, capsys, monkeypatch):
    _, address = old
    monkeypatch.setattr("registry.http.origin._PAGE", 2)
    store = str(tmp_path / "store")
    done = imported(capsys, "registry", "--data", store, f"http://{address}")
    assert (done["repositories"], done["tags"], done["failed"]) == (2, 12, 0)
    again = imported(capsys, "registry", "--data", store, f"http://{address}")
    assert (again["tags"], again["manifests"], again["blobs"]) == (12, 0, 0)

    assert asyncio.run(tags_in(tmp_path / "store")) == listed(address)


async def tags_in(root):
    """Every tag with its digest; all content is read and compared."""
    files = FileStore(root)
    found = await Registry(files).content()
    files.close()
    return {
        (place, tag): digest for place, (own, _, _) in found.items() for tag, digest in own.items()
    }


def test_an_import_from_a_running_registry_that_is_killed_again_and_again_goes_on(tmp_path, capsys):
    """Distribution serves a tree that was put where it keeps its own."""
    if not DISTRIBUTION.exists():
        pytest.skip("not installed: registry")
    layers, store = max(LAYERS // 5, 100), tmp_path / "store"
    (tmp_path / "side").mkdir()
    side = distribution(tmp_path / "side")
    try:
        wanted = Tree(side.data).environments(layers)
        url = f"http://{side.endpoint.host}:{side.endpoint.port}"
        command = ("registry", "--data", str(store), url)
        for part in (5, 3):
            killed(layers // part, *command)
            assert len(asyncio.run(tags_in(store))) < len(wanted)
        began = time.monotonic()
        done = imported(capsys, *command)
        seconds = time.monotonic() - began
    finally:
        side.stop()
    assert (done["failed"], done["repositories"]) == (0, len(wanted))
    tags = {(place, tag): digest for place in wanted for tag, digest in wanted[place].items()}
    assert asyncio.run(tags_in(store)) == tags
    print(f"{layers} layers of {len(wanted)} repositories; the last run took {seconds:.1f} s")


@pytest.fixture
def guarded(tmp_path, registry_server):
    """A Moorage with projects, whose images only members may pull."""
    data = tmp_path / "guarded"
    secrets = make_projects(data, {"demo": {"+ci": "developer", "alice": "guest"}})
    server = registry_server(data=data, settings={"AUTH__MODE": "projects"})
    return server, secrets


def test_a_registry_that_asks_for_logins_is_imported_with_a_secret_from_a_file(
    old, guarded, tmp_path, capsys, monkeypatch
):
    _, address = old
    server, secrets = guarded
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    crane("auth", "login", server.address, "-u", "demo+ci", "-p", secrets["demo+ci"])
    crane("copy", f"{address}/demo:all", f"{server.address}/demo/env:all")
    attestation = tmp_path / "sbom.json"
    attestation.write_text("{}")
    subprocess.run(
        [
            require_program("oras"),
            "attach",
            "--plain-http",
            "--artifact-type",
            "application/sbom",
            f"{server.address}/demo/env:all",
            "sbom.json",
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")},
    )
    secret = tmp_path / "secret"
    secret.write_text(f"demo+ci:{secrets['demo+ci']}\n")
    monkeypatch.setenv("MOORAGE_SOURCE_TOKEN_FILE", str(secret))
    arguments = ("registry", "--data", str(tmp_path / "store"), server.url)
    done = imported(capsys, *arguments, "--repository", "demo/env")
    assert (done["repositories"], done["tags"], done["failed"]) == (1, 1, 0)
    # The index, its two images, and what refers to it.
    assert done["manifests"] == 4
    monkeypatch.setenv("MOORAGE_SOURCE_TOKEN_FILE", "")
    assert main(["import", *arguments, "--repository", "demo/env"]) == 1
    assert "not imported demo/env: " in capsys.readouterr().err


def test_secrets_and_addresses_that_others_could_see_are_refused(tmp_path, capsys):
    store = ("--data", str(tmp_path / "store"))
    for url in ("http://user:secret@127.0.0.1:1", "http://old.example", "old.example", "ftp://a"):
        assert main(["import", "registry", *store, url]) == 2
    assert main(["import", "registry", *store, "http://127.0.0.1:1", "--jobs", "0"]) == 2
    capsys.readouterr()
