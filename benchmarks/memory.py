"""Peak memory while eight clients push and eight pull large layers at the same time."""

import shutil
from functools import partial
from pathlib import Path

from benchmarks import transfer
from benchmarks.content import LayerSource
from benchmarks.processes import MemoryWatch, Peaks
from benchmarks.sides import Side
from benchmarks.works import Setting, discard

CLIENTS = 8
_MARGIN = 2 << 30


class DiskError(RuntimeError):
    """There is not enough free disk for the work."""


def check_disk(folder: Path, size: int, sides: int, clients: int = CLIENTS) -> None:
    """DiskError unless the layers of one side and the pulled layer of each fit, with 2 GiB left.

    One side's pushed layers are removed before the next side begins.
    """
    needed = size * (clients + 1 + sides) + _MARGIN
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"{needed >> 30} GiB of free disk are needed in {folder}, {free >> 30} GiB are there: "
            "choose another folder with --work-dir"
        )


def under_load(setting: Setting, side: Side, source: LayerSource, clients: int = CLIENTS) -> Peaks:
    """Peaks of the side's processes over `clients` pushes and as many pulls of one size.

    Every status and length is asserted, and one pushed and the pulled layer are verified after.
    """
    if side.root is None:
        raise ValueError("the memory of a peer that somebody else runs cannot be read")
    repository = f"bench-{setting.run}/memory-{source.size}"
    before = side.big_files(source.size)
    stored = source.layer()
    transfer.push(side.endpoint, repository, stored)
    layers = [source.layer() for _ in range(clients)]
    tasks = [partial(transfer.push, side.endpoint, repository, layer) for layer in layers]
    tasks += [partial(transfer.pull, side.endpoint, repository, stored)] * clients
    try:
        with MemoryWatch(side.root, reset=True) as watch:
            transfer.together(tasks)
        transfer.verify(side.endpoint, repository, layers[-1])
        transfer.verify(side.endpoint, repository, stored)
    finally:
        discard(side, repository, [*layers, stored], before)
    return watch.peaks
