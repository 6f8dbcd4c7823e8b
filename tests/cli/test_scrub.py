"""``moorage scrub`` on a store in files, and the scrub of a registry that serves."""

import json

import pytest

from registry.cli import main
from tests.cli.test_gc import DIGEST_OF_LAYER, is_left, on_store, push_image
from tests.fixtures.audited import events_in
from tests.ops.wire import eventually


@pytest.fixture
def root(tmp_path):
    on_store(tmp_path / "store", push_image)
    return tmp_path / "store"


@pytest.fixture
def scrub(root, capsys):
    def run(*arguments):
        code = main(["scrub", "--data", str(root), *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def spoil(root):
    """Change a bit of the large blob's file, as a disk does."""
    (file,) = (each for each in (root / "objects" / "data").rglob("*") if each.is_file())
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    file.chmod(0o400)
    return file


def test_a_job_tells_what_is_damaged_and_what_it_came_to(root, scrub):
    assert scrub("--status")[1] == ["there was no scrub yet"]
    code, lines, error = scrub()
    assert (code, lines) == (0, [])
    assert "3 blobs and manifests" in error
    spoil(root)
    code, lines, _ = scrub("--dry-run")
    assert code == 1
    assert lines[0].startswith(f"would be quarantined {DIGEST_OF_LAYER}: its bytes are those of")
    code, lines, _ = scrub("--json")
    assert code == 1
    (found,) = map(json.loads, lines)
    assert (found["digest"], found["outcome"]) == (DIGEST_OF_LAYER, "quarantined")
    _, (status,), _ = scrub("--status")
    assert status.startswith("ended, ")
    assert "1 of them damaged" in status
    assert json.loads(scrub("--status", "--json")[1][0])["damaged"] == 1


def test_a_copy_mends_it_and_the_audit_log_has_it(tmp_path, root, scrub, monkeypatch):
    copy, settings = tmp_path / "copy", tmp_path / "copy.toml"
    on_store(copy, push_image)
    settings.write_text(f'[storage]\npath = "{copy}"\n')
    monkeypatch.setenv("MOORAGE__SCRUB__SECOND", str(settings))
    monkeypatch.setenv("MOORAGE__AUTH__MODE", "projects")
    spoil(root)
    code, lines, _ = scrub()
    assert (code, lines[0].split(":")[0]) == (0, "repaired sha256")
    assert scrub()[1] == []
    (event,) = (each for each in events_in(root) if each.action == "content.damaged")
    assert (event.subject, event.principal) == (DIGEST_OF_LAYER, "system:scrubber")
    assert event.details["outcome"] == "repaired"
    assert len(on_store(root, is_left)[1]) == 1


@pytest.mark.parametrize("text", ['[storage]\npath = "nowhere"\n', "[storage]\npath = 1\n", None])
def test_a_copy_that_is_none_ends_it(tmp_path, scrub, monkeypatch, text, capsys):
    settings = tmp_path / "copy.toml"
    if text is not None:
        settings.write_text(text)
    monkeypatch.setenv("MOORAGE__SCRUB__SECOND", str(settings))
    assert scrub()[0] in (1, 2)


def test_a_registry_scrubs_while_it_serves(root, registry_server):
    spoil(root)
    settings = {"SCRUB__INTERVAL_DAYS": str(4 / 86_400), "METRICS__ADDR": "127.0.0.1:0"}
    registry_server("filesystem", workers=2, data=root, settings=settings)

    def progress():
        file = root / "objects" / "gc" / "scrub"
        return json.loads(file.read_bytes()) if file.exists() else {}

    assert eventually(lambda: progress().get("ended"))
    assert progress()["damaged"] == 1
    first = progress()["ended"]
    assert eventually(lambda: progress().get("ended", 0) > first, 15)
