"""Processes that share the tests: what goes together, and what begins first."""

import os
import subprocess
import sys
from pathlib import Path

from tests.fixtures.shares import CLUSTER, FIRST, unit_of

ROOT = Path(__file__).resolve().parents[2]

MODULE = """
import os
import pytest

@pytest.mark.parametrize("number", range(6))
def test_one(number, request):
    with open("told", "a") as told:
        print(request.node.nodeid, os.getpid(), file=told)
"""

MODULES = ("a/test_first.py", "chaos/test_second.py", "cluster/test_third.py", "z/test_fourth.py")


def test_a_unit_stays_in_one_process_and_the_longest_begins_first(tmp_path):
    """What pytest-xdist hands to whom depends on both its version and pytest's: it is tried."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.fixtures.shares"]')
    for name in MODULES:
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True)
        path.write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "xdist", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "tests"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.rsplit(" ", 1) for line in (tmp_path / "told").read_text().splitlines()]
    assert len(told) == 6 * len(MODULES)
    processes: dict[str, list[str]] = {}
    for nodeid, process in told:
        processes.setdefault(unit_of(nodeid), []).append(process)
    assert all(len(set(those)) == 1 for those in processes.values()), told
    assert len({process for _, process in told}) == 2
    (of_the_cluster,) = set(processes[CLUSTER])
    first = next(nodeid for nodeid, process in told if process == of_the_cluster)
    assert unit_of(first) == CLUSTER


def test_what_begins_first_is_there():
    assert [unit for unit in FIRST if unit != CLUSTER and not (ROOT / unit).is_file()] == []
