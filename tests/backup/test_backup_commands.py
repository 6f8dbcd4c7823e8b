"""``moorage backup``: over stores in files, as jobs of their own that may be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry.cli import main
from registry.service.backup import layout
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage.filesystem import FileStore
from tests.backup.keeper import Registry
from tests.fixtures.audited import events_in
from tests.service.content import image

A, B = Place("demo/env"), Place("other/env")
ROOT = Path(__file__).parents[2]
LAYERS = [bytes([number]) * 100_000 for number in range(12)]


def on(root, work):
    async def run():
        store = FileStore(root)
        try:
            return await work(Registry(store))
        finally:
            store.close()

    return asyncio.run(run())


async def fill(registry):
    for number, layer in enumerate(LAYERS):
        await registry.push(A, image(layer), layer, b"{}", tag=f"v{number}")
    await registry.push(B, image(LAYERS[0]), LAYERS[0], b"{}", tag="v1")


async def content(registry):
    return await registry.content()


@pytest.fixture
def run(tmp_path, capsys):
    """Run ``moorage backup`` on the registry in ``store``, or in another directory."""

    def run(command, *arguments, data="store"):
        code = main(
            [
                *("backup", command, "--data", str(tmp_path / data)),
                *("--target", str(tmp_path / "backups"), *arguments),
            ]
        )
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_from_a_directory_to_another_and_back(tmp_path, run):
    on(tmp_path / "store", fill)
    code, (first,), error = run("create")
    assert code == 0
    assert "2 repositories, 13 manifests, 13 tags; 13 blobs of 1200002 bytes were new" in error
    code, (second,), error = run("create", "--project", "other")
    assert (code, "0 blobs of 0 bytes were new" in error) == (0, True)
    code, lines, _ = run("list", "--json")
    assert [json.loads(line)["id"] for line in lines] == [first, second]
    assert json.loads(lines[1])["projects"] == ["other"]
    assert run("verify")[0] == 0
    code, _, error = run("restore", first, data="restored")
    assert (code, "13 tags; 13 blobs of 1200002 bytes" in error) == (0, True)
    assert on(tmp_path / "restored", content) == on(tmp_path / "store", content)
    assert on(tmp_path / "restored", Registry.taken_over)
    assert run("delete", first)[0] == 0
    code, lines, _ = run("list")
    assert [line.split()[0] for line in lines] == [second]
    assert run("restore", "--project", "other", "--into", "again", data="restored")[0] == 0
    restored = on(tmp_path / "restored", content)
    assert restored[Place("again/env")] == restored[B]


def test_the_audit_log_has_what_was_done(tmp_path, run, monkeypatch):
    monkeypatch.setenv("MOORAGE__AUDIT__MODE", "buffered")
    on(tmp_path / "store", fill)
    _, (backup,), _ = run("create", "--project", "demo")
    assert run("restore", "--project", "demo", "--into", "again")[0] == 0
    assert run("delete", backup)[0] == 0
    events = events_in(tmp_path / "store")
    assert [(event.action, event.subject) for event in events] == [
        ("backup.created", backup),
        ("backup.restored", backup),
        ("backup.removed", backup),
    ]
    assert {event.principal for event in events} == {"system:command"}
    assert (events[1].details["projects"], events[1].details["into"]) == ("demo", "again")


def test_what_is_not_there_is_said(tmp_path, run):
    on(tmp_path / "store", fill)
    assert run("create", "--project", "nobody") == (1, [], "moorage: there is no project nobody\n")
    assert run("list", "--target", str(tmp_path / "mistyped"))[0] == 2
    assert run("restore")[::2] == (1, "moorage: there is no backup\n")
    assert run("delete", "x")[::2] == (1, "moorage: there is no backup x\n")
    assert run("restore", "--at", "yesterday")[0] == 2
    assert run("restore", "--into", "a")[0] == 2
    assert run("create")[0] == 0
    code, _, told = run("restore", "--project", "demo", "--into", "a b")
    assert (code, "a b" in told) == (2, True)
    assert run("create", "--target", str(tmp_path / "store"))[0] == 2
    assert main(["backup", "list", "--data", str(tmp_path / "store")]) == 2


def test_damage_is_told_with_an_exit_code(tmp_path, run):
    on(tmp_path / "store", fill)
    run("create")
    file = tmp_path / "backups" / "objects" / layout.blob(Digest.of(LAYERS[3]))
    file.chmod(0o600)
    file.write_bytes(b"something else")
    code, lines, _ = run("verify")
    assert code == 1
    (line,) = lines
    assert line.startswith(f"damaged {Digest.of(LAYERS[3])}: its bytes are those of sha256:")
    assert run("restore", data="restored")[0] == 1
    tags, _, _ = on(tmp_path / "restored", content)[A]
    assert len(tags) == 11
    assert "v3" not in tags


def start(tmp_path, command, *arguments, data="store"):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "registry", "backup", command),
            *("--data", str(tmp_path / data), "--target", str(tmp_path / "backups")),
            *("--rate", "600000", *arguments),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed_when(process, done):
    """Kill the process as soon as ``done`` says so."""
    until = time.monotonic() + 60
    while not done():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def large(root):
    return sum(file.stat().st_size > 90_000 for file in root.rglob("*") if file.is_file())


def test_a_backup_and_a_restore_that_are_killed_go_on(tmp_path, run):
    on(tmp_path / "store", fill)
    pool = tmp_path / "backups" / "objects"
    killed_when(start(tmp_path, "create"), lambda: large(pool) >= 3)
    assert run("list") == (0, [], "")
    there = large(pool)
    code, _, error = run("create")
    assert code == 0
    assert f"{13 - there} blobs" in error or f"{12 - there} blobs" in error
    content_of = tmp_path / "restored" / "objects" / "data"
    killed_when(start(tmp_path, "restore", data="restored"), lambda: large(content_of) >= 3)
    code, _, error = run("restore", data="restored")
    assert code == 0
    assert "13 blobs" not in error
    assert on(tmp_path / "restored", content) == on(tmp_path / "store", content)
    assert run("verify")[0] == 0
