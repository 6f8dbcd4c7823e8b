"""``moorage quota``: set and shown over HTTP, counted on a store in files as a job."""

import argparse
import asyncio
import json

import pytest

from registry.cli import main
from registry.cli.remote.quotas import number, size
from registry.service.quotas.quotas import Quotas
from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.quota import Limits
from storage import keys
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from tests.auth.tenants import PASSWORD, tenants
from tests.service.content import chunk
from tests.service.quotas import PROJECT, REPOSITORY

LAYER = b"layer" * 40_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1000", 1000),
        ("1000B", 1000),
        ("5kB", 5000),
        ("500M", 500_000_000),
        ("50GiB", 50 << 30),
        ("2 TiB", 2 << 40),
        ("none", -1),
    ],
)
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1.5GiB", "GiB", "10XiB", "1e9"])
def test_what_is_no_size(text):
    for read in (size, number):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)


def test_a_quota_is_set_part_by_part_and_shown(tmp_path, monkeypatch, capsys):
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)

    def run(*arguments):
        code = main(["quota", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    with tenants() as registry:
        registry.user("adm", administrator=True)
        registry.project("demo", adm="owner")
        monkeypatch.setenv("MOORAGE_URL", f"http://{registry.address}")
        monkeypatch.setenv("MOORAGE_USER", "adm")
        monkeypatch.setenv("MOORAGE_TOKEN_FILE", str(secret))
        assert run("set", "demo", "--bytes", "50GiB", "--tags", "1000")[0] == 0
        code, out, _ = run("set", "demo", "--bytes", "none", "--warn-percent", "80", "--json")
        assert code == 0
        limits = json.loads(out)["limits"]
        wanted = {"bytes": None, "repositories": None, "tags": 1000, "warn_percent": 80}
        assert limits == wanted
        code, out, _ = run("show", "demo")
        assert code == 0
        assert "tags=1000" in out
        assert "PHYSICAL BYTES" in out


def test_a_job_counts_and_tells_how_far_off_it_was(tmp_path, capsys):
    root = tmp_path / "store"

    async def prepare() -> None:
        store = FileStore(root)
        try:
            services = Services.over(
                store, InProcessCoordinator(), files=store, memory=0, projects=True
            )
            await services.quotas.begin(PROJECT, Limits(bytes=1_000_000))
            digest = Digest.of(LAYER)
            await services.uploads.upload(REPOSITORY, "me", digest, chunk(LAYER))
            await services.quotas.settle(close=True)
            # Something that nobody gave back.
            await store.delete(keys.blob(REPOSITORY, digest))
        finally:
            store.close()

    asyncio.run(prepare())
    for drift in (-len(LAYER), 0):
        assert main(["quota", "reconcile", "--data", str(root), "--json"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line) == {
            "project": PROJECT,
            "bytes": 0,
            "physical_bytes": 0,
            "repositories": 0,
            "tags": 0,
            "drift": drift,
        }
    assert main(["quota", "reconcile", "--data", str(root), "--project", "other"]) == 1
    assert "no quota" in capsys.readouterr().err


def test_a_project_that_can_not_be_counted_is_told_and_keeps_no_other_from_it(tmp_path, capsys):
    root = tmp_path / "store"

    async def prepare() -> None:
        store = FileStore(root)
        try:
            quotas = Quotas(store, InProcessCoordinator())
            for project in ("broken", PROJECT):
                await quotas.begin(project, Limits(tags=9))
            await store.put(keys.quota("broken"), b"of a newer release")
        finally:
            store.close()

    asyncio.run(prepare())
    assert main(["quota", "reconcile", "--data", str(root)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"project={PROJECT} ")
    assert "project broken could not be counted: " in err
