"""A whole run in seconds: this registry is started, measured, verified and ended."""

import json
from pathlib import Path

import pytest

from benchmarks import cli, processes, sides, wrk
from benchmarks.works import WORKS
from tests.fixtures.programs import require_program

WORK = [w.name for w in WORKS if wrk.available() or not w.needs_wrk]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
def test_run_writes_a_figure_for_each_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    store: str,
):
    if store == "s3":
        require_program("minio")
    started: list[sides.Side] = []

    def moorage(work, bucket):
        started.append(sides.moorage(work, bucket))
        return started[-1]

    monkeypatch.setitem(cli._BUILT_IN, "moorage", moorage)
    only = [text for name in [*WORK, "memory"] for text in ("--only", name)]
    folders = ["--work-dir", str(tmp_path), "--results", str(tmp_path / "results")]
    size = ["--quick", "--layer-size", "2", "--seconds", "1"]
    status = cli.main([*size, *only, *folders, "--side", "moorage", "--store", store])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    data = json.loads((tmp_path / "results" / "latest.json").read_text())
    measured = {sample["work"]: sample["value"] for sample in data["samples"]}
    assert {*WORK, "memory-largest", "memory-sum", "memory-2m-largest"} <= measured.keys()
    assert all(value > 0 for value in measured.values())
    assert started[0].process
    assert started[0].process.poll() == 0
    assert processes.tree(started[0].process.pid) == []
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_missing_side_says_what_to_do(tmp_path: Path):
    with pytest.raises(sides.StartError, match="make tools"):
        sides.distribution(tmp_path, program=tmp_path / "absent")


@pytest.mark.parametrize("text", ["http://127.0.0.1:5000", "name=", "=http://127.0.0.1"])
def test_peer_without_name_or_url_is_refused(text: str):
    with pytest.raises(sides.StartError, match="NAME=URL"):
        sides.peer(text)
