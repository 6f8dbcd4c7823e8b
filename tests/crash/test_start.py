"""Starting takes the same work with 10 and with 10,000 blobs: nothing is walked.

What is asserted is the number of directory reads below the data directory, which the kernel tells
(inotify); the times are only printed, side by side.
"""

import contextlib
import ctypes
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.server import RegistryProcess
from registry.spec.digest import Digest
from registry.spec.names import RepositoryName, SessionId
from storage import keys
from tests.oracle.wire import Client

FEW, MANY = 10, 10_000
REPOSITORY = RepositoryName("library/many")

_ACCESS, _IS_DIRECTORY = 0x1, 0x4000_0000
_HEAD = struct.Struct("iIII")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs inotify"),
    pytest.mark.timeout(240),
]


class DirectoryReads:
    """Counts the reads of directories, as the kernel tells of them."""

    def __init__(self, directories: list[Path]) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0
        for directory in directories:
            added = library.inotify_add_watch(self._fd, os.fsencode(directory), _ACCESS)
            assert added >= 0, os.strerror(ctypes.get_errno())

    def take(self) -> int:
        """Give the number of reads since the last call."""
        reads = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 1 << 20):
                at = 0
                while at < len(data):
                    _, mask, _, length = _HEAD.unpack_from(data, at)
                    reads += bool(mask & _IS_DIRECTORY)
                    at += _HEAD.size + length
        return reads

    def close(self) -> None:
        os.close(self._fd)


def fill(objects: Path, count: int) -> list[tuple[str, bytes]]:
    """Write so many tiny blobs of one repository as the driver would; give some of them."""
    made: set[Path] = set()

    def path(key: str) -> Path:
        found = objects / key
        if found.parent not in made:
            found.parent.mkdir(parents=True, exist_ok=True)
            made.add(found.parent)
        return found

    def write(key: str, data: bytes, mode: int) -> None:
        fd = os.open(path(key), os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        if data:
            os.write(fd, data)
        os.close(fd)

    some = []
    for number in range(count):
        data = b"blob %d" % number
        digest = Digest.of(data)
        session = SessionId(digest.hex)
        write(keys.data(session), data, 0o400)
        pointer = json.dumps({"data": keys.data(session), "size": len(data)}).encode()
        write(keys.pointer(digest), pointer, 0o600)
        if number % 100 == 0:  # a directory for each: few will do, a walk would show above them
            write(keys.reference(digest, REPOSITORY), b"", 0o600)
        write(keys.blob(REPOSITORY, digest), b"", 0o600)
        if number % (count // 10) == 0:
            some.append((digest, data))
    write(keys.catalog(REPOSITORY), b"", 0o600)
    return some


def watched(data: Path) -> list[Path]:
    """Give the directories of a store, but for those that hold a single name each."""
    found = []
    for directory, names, _ in os.walk(data):
        found.append(Path(directory))
        if directory.endswith("/refs"):
            names.clear()
    return found


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[int, tuple[Path, list[tuple[str, bytes]]]]]:
    """A store with few blobs and one with many."""
    found = {}
    # 30,000 files are made and removed quicker there than on a disk.
    memory = Path("/dev/shm")  # noqa: S108
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stores-", dir=base) as directory:
        for count in (FEW, MANY):
            home = Path(directory) / str(count)
            home.mkdir()
            with registry(home):
                pass  # makes the directory and what marks it
            found[count] = (home, fill(home / "data" / "objects", count))
        yield found


def registry(home: Path, workers: int = 1) -> RegistryProcess:
    return RegistryProcess(
        store="filesystem", data=home / "data", workers=workers, log=home / "log"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_no_directory_of_content_is_walked_at_the_start(stores, workers, capsys):
    reads, seconds = {}, {}
    for count, (home, some) in stores.items():
        observed = DirectoryReads(watched(home / "data"))
        observed.take()
        began = time.monotonic()
        with registry(home, workers) as server:
            seconds[count] = time.monotonic() - began
            reads[count] = 0
            quiet = time.monotonic() + 1
            while time.monotonic() < quiet:  # what is done after it is ready counts too
                if more := observed.take():
                    reads[count] += more
                    quiet = time.monotonic() + 1
                time.sleep(0.05)
            with Client(server.address) as client:
                for digest, data in some:
                    reply = client.get(f"/v2/{REPOSITORY}/blobs/{digest}")
                    assert reply.expect(200).body == data, "the store was not written as it is read"
        # The control: a walk is noticed.
        for _ in os.walk(home / "data" / "objects" / "blobs"):
            pass
        assert observed.take() > 2
        observed.close()
    with capsys.disabled():
        print(
            f"\nstart with {workers} worker(s): {seconds[FEW]:.2f} s with {FEW} blobs, "
            f"{seconds[MANY]:.2f} s with {MANY}; directory reads: {reads[FEW]} and {reads[MANY]}"
        )
    assert reads[MANY] <= reads[FEW] + 2
    assert reads[MANY] <= 10 * workers
