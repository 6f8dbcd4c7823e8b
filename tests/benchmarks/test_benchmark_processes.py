"""Memory and processor time of process trees."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.processes import MemoryWatch, processor_seconds, tree, wait_until_idle

MEGABYTE = 1_000_000
# A child whose own child takes 80 MB when a line comes, gives it back, and says so.
CHILD = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', "
    "'print(0, flush=True); input(); b = bytearray(80_000_000); del b; print(1, flush=True); "
    "input()'])"
)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe) as child:
        assert child.stdout
        child.stdout.readline()
        yield child
        assert child.stdin
        child.stdin.write(b"\n\n")
        child.stdin.close()
        child.wait(10)


def grow(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    assert child.stdout
    child.stdin.write(b"\n")
    child.stdin.flush()
    child.stdout.readline()


def test_peak_of_a_grandchild_is_seen_after_it_gave_the_memory_back(
    family: subprocess.Popen[bytes],
):
    with MemoryWatch(family.pid, reset=True) as watch:
        grow(family)
    assert len(watch.peaks.by_process) == len(tree(family.pid)) == 2
    assert 80 * MEGABYTE < watch.peaks.largest < 120 * MEGABYTE
    assert watch.peaks.sum > watch.peaks.largest


def test_peak_before_the_watch_does_not_count_when_reset(family: subprocess.Popen[bytes]):
    grow(family)
    with MemoryWatch(family.pid, reset=True) as watch:
        pass
    assert watch.peaks.largest < 60 * MEGABYTE
    with MemoryWatch(family.pid, reset=False) as watch:
        pass
    assert watch.peaks.largest < 60 * MEGABYTE


def test_sleeping_processes_are_idle_and_busy_ones_are_not(family: subprocess.Popen[bytes]):
    assert wait_until_idle([family.pid])
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert not wait_until_idle([busy.pid], limit=0.5)
            assert processor_seconds(busy.pid) > 0
        finally:
            busy.kill()


def test_work_that_does_not_fit_on_the_disk_is_refused(tmp_path: Path):
    memory.check_disk(tmp_path, 1, 1)
    with pytest.raises(memory.DiskError, match="--work-dir"):
        memory.check_disk(tmp_path, 1 << 60, 1)
