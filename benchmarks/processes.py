"""Resident memory and processor time of process trees, from /proc (Linux)."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


def tree(root: int) -> list[int]:
    """The process and all its descendants that live now."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        with suppress(*_GONE):
            for task in (_PROC / str(pid) / "task").iterdir():
                queue += map(int, (task / "children").read_text().split())
            found.append(pid)
    return found


def processor_seconds(root: int) -> float:
    """User and system time that the tree's living processes have used."""
    total = 0
    for pid in tree(root):
        with suppress(*_GONE):
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICK


def peak_resident(pid: int) -> int:
    """The peak resident set (VmHWM) in bytes; 0 when the process has gone."""
    with suppress(*_GONE):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def wait_until_idle(roots: list[int], *, limit: float = 5.0, share: float = 0.02) -> bool:
    """Wait until the trees together use less than that share of a core; False after the limit."""
    end = time.monotonic() + limit
    before = sum(map(processor_seconds, roots))
    while time.monotonic() < end:
        time.sleep(0.2)
        now = sum(map(processor_seconds, roots))
        if now - before <= 0.2 * share:
            return True
        before = now
    return False


@dataclass(slots=True)
class Peaks:
    """Peak resident bytes of each process of a tree."""

    by_process: dict[int, int]

    @property
    def largest(self) -> int:
        """The largest process's peak."""
        return max(self.by_process.values(), default=0)

    @property
    def sum(self) -> int:
        """The sum of the peaks, which shared pages enter once for each process."""
        return sum(self.by_process.values())


class MemoryWatch:
    """Peaks of a tree from now on, including processes that start or end meanwhile."""

    def __init__(self, root: int, *, reset: bool) -> None:
        self._root = root
        self._reset = reset
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks = Peaks({})

    def __enter__(self) -> Self:
        if self._reset:
            for pid in tree(self._root):
                # 5 sets VmHWM back to what is resident now (proc(5), clear_refs).
                (_PROC / str(pid) / "clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._look()

    def _look(self) -> None:
        known = self.peaks.by_process
        for pid in tree(self._root):
            known[pid] = max(known.get(pid, 0), peak_resident(pid))
