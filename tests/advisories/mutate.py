"""Removing protections from a copy of the project, one at a time, and running their tests."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.advisories.rows import ROOT, Cut, applied

SECONDS = 240
"""Longest run of one cut's tests: a test that hangs without its protection fails too."""

PARTS = ("auth", "registry", "storage", "tests", "cluster", "docs", "requirements")


@dataclass(frozen=True)
class Outcome:
    """How the tests of a cut went without it. `red`: they failed, as they have to."""

    name: str
    red: bool
    seconds: float
    told: str


@contextmanager
def copied() -> Iterator[Path]:
    """Give a copy of what tests need, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="moorage-mutations-") as directory:
        root = Path(directory)
        for part in PARTS:
            # Compiled files too: each goes by its source's time, which is kept until it is cut.
            shutil.copytree(ROOT / part, root / part)
        for file in ("pyproject.toml", "Makefile", "README.md"):
            shutil.copy2(ROOT / file, root / file)
        if (ROOT / ".tools").exists():
            (root / ".tools").symlink_to((ROOT / ".tools").resolve())
        yield root


def run(root: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests of the copy; return pytest's exit code, and the end of what it says."""
    command = [
        *(sys.executable, "-B", "-m", "pytest", "-q", "-x", "--no-header", "--tb=line"),
        *("-p", "no:cacheprovider", "-p", "no:randomly", f"--timeout={SECONDS}"),
        *dict.fromkeys(tests),
    ]
    ran = subprocess.run(
        command,
        cwd=root,
        env=os.environ
        | {"PYTHONPATH": str(root), "HYPOTHESIS_STORAGE_DIRECTORY": str(root / ".h")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout[-1500:]


def without(root: Path, name: str, cut: Cut) -> Outcome:
    """Remove the protection, run its tests one by one, and put it back.

    Each of the tests must fail: exit code 1, since 2 and more mean that pytest could not run them.
    """
    kept = {file: (root / file).read_text() for file, _, _ in cut.edits}
    began = time.monotonic()
    try:
        for file, snippet, instead in cut.edits:
            (root / file).write_text(applied((root / file).read_text(), snippet, instead))
        for test in cut.tests:
            code, told = run(root, [test])
            if code != 1:
                seconds = time.monotonic() - began
                return Outcome(name, red=False, seconds=seconds, told=f"{test}: {code}\n{told}")
    finally:
        for file, text in kept.items():
            (root / file).write_text(text)
    return Outcome(name, red=True, seconds=time.monotonic() - began, told="")
