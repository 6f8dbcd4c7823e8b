"""What deduplication below whole layers would save, on layers of conda-like environments.

`python -m benchmarks.deduplication WORK`: installs packages of PyPI below WORK (some 700 MB), makes
layers of them as builds do, and prints Markdown. Needs `pip install fastcdc zstandard`, which the
project does not depend on. The study is docs/explanation/deduplication.md.
"""

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from fastcdc import fastcdc

MEGA = 1e6
_HASH, _ENTRY = 64, 40  # bytes of an index row for a chunk, and of a row in a layer's recipe

BASE = ("numpy==2.2.6", "scikit-learn==1.6.1", "scipy==1.15.3", "joblib==1.4.2")
BASE += ("threadpoolctl==3.6.0", "python-dateutil==2.9.0.post0", "pytz==2025.2", "six==1.17.0")
ADDED = ("requests==2.32.3", "matplotlib==3.10.1", "transformers==4.51.3")
LAYERS = {
    "base: numpy, pandas, scikit-learn": (*BASE, "pandas==2.2.3"),
    "+ requests": ADDED[:1],
    "+ matplotlib": ADDED[1:2],
    "pandas upgraded": ("pandas==2.3.3",),
    "numpy upgraded": ("numpy==2.3.5",),
    "+ xgboost": ("xgboost-cpu==2.1.4",),
    "+ transformers": ADDED[2:],
    "another project: three of these in one layer": ADDED,
    "base rebuilt with the newer pandas": (*BASE, "pandas==2.3.3"),
}


@dataclass
class Stored:
    """What a way of storing comes to: unique bytes, and pieces."""

    name: str
    size: int = 0
    unique: int = 0
    pieces: int = 0
    seconds: float = 0.0


def main() -> None:
    """Make the layers, store them in each way, print what comes of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    tars = {name: _layer(work, number, name) for number, name in enumerate(LAYERS)}
    packed = {name: (_gzip(tar), _zstd(tar)) for name, tar in tars.items()}
    print("| layer | tar, MB | files | gzip | zstd |\n| --- | --: | --: | --: | --: |")
    for name, tar in tars.items():
        files = sum(1 for _ in _files(tar))
        cells = [f"{len(each) / MEGA:.1f}" for each in (tar, *packed[name])]
        print(f"| {name} | {cells[0]} | {files:,} | {cells[1]} | {cells[2]} |")
    gzips, zstds = ([each[place] for each in packed.values()] for place in (0, 1))
    ways = [
        _store("whole layers, gzip", gzips, lambda each: [each], compress=False),
        _store("whole layers, zstd", zstds, lambda each: [each], compress=False),
        _store("gzip layers in chunks of 64 KiB", gzips, _chunks(64), compress=False),
        _store("zstd layers in chunks of 64 KiB", zstds, _chunks(64), compress=False),
        *(
            _store(f"tars in chunks of {size} KiB", tars.values(), _chunks(size), compress=True)
            for size in (8, 16, 64, 256)
        ),
        _store("tars in fixed pieces of 128 KiB", tars.values(), _fixed(128), compress=True),
        _store("tars by files", tars.values(), _by_file, compress=True),
    ]
    first = ways[0].size
    print("\n| way | MB | of gzip | unique pieces | of all | index, MB | CPU, s/GB |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    raw = sum(map(len, tars.values()))
    for way in ways:
        index = (way.unique * _HASH + way.pieces * _ENTRY) / MEGA
        print(
            f"| {way.name} | {way.size / MEGA:.1f} | {way.size / first:.0%} | {way.unique:,} | "
            f"{way.pieces:,} | {index:.2f} | {way.seconds / raw * 1e9:.1f} |"
        )
    _rates(next(iter(tars.values())))


def _layer(work: Path, number: int, name: str) -> bytes:
    """A tar of what pip installs, with the times of a build of its own."""
    target = work / f"layer-{number}"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
        subprocess.run([*command, "--target", str(target), *LAYERS[name]], check=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(target.rglob("*")):
            inner = "opt/env/lib/python3.11/site-packages/" + str(path.relative_to(target))
            info = tar.gettarinfo(path, inner)
            info.mtime, info.uid, info.gid = 1_790_000_000 + number * 3600, 0, 0
            info.uname = info.gname = ""
            with path.open("rb") if info.isfile() else io.BytesIO() as file:
                tar.addfile(info, file if info.isfile() else None)
    return out.getvalue()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


Cut = Callable[[bytes], Iterable[bytes]]


def _chunks(kib: int) -> Cut:
    """Content-defined chunks of that size on average, from a quarter of it to four times."""
    size = kib << 10

    def cut(data: bytes) -> Iterator[bytes]:
        for chunk in fastcdc(data, size // 4, size, size * 4):
            yield data[chunk.offset : chunk.offset + chunk.length]

    return cut


def _fixed(kib: int) -> Cut:
    return lambda data: (data[at : at + (kib << 10)] for at in range(0, len(data), kib << 10))


def _files(tar: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        for member in opened:
            if member.isfile():
                file = opened.extractfile(member)
                assert file is not None
                yield file.read()


def _by_file(tar: bytes) -> Iterator[bytes]:
    """The files' contents, and as one more piece all that is between them."""
    between, at = [], 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        for member in opened:
            if member.isfile():
                between.append(tar[at : member.offset_data])
                at = member.offset_data + member.size
                yield tar[member.offset_data : at]
    yield b"".join([*between, tar[at:]])


def _store(name: str, blobs: Iterable[bytes], cut: Cut, *, compress: bool) -> Stored:
    """Store the blobs one after another, each piece once; unique ones are compressed by zstd."""
    way, seen = Stored(name), set()
    compressor = zstandard.ZstdCompressor(level=3)
    start = time.process_time()
    for blob in blobs:
        for piece in cut(blob):
            way.pieces += 1
            digest = hashlib.sha256(piece).digest()
            if digest not in seen:
                seen.add(digest)
                way.unique += 1
                way.size += len(compressor.compress(piece)) if compress else len(piece)
    way.seconds = time.process_time() - start
    return way


def _rates(tar: bytes) -> None:
    """Megabytes of tar a second of one core, of each step that a chunked store needs."""
    packed, squeezed = _gzip(tar), _zstd(tar)
    pieces = [_zstd(piece) for piece in _chunks(64)(tar)]
    expand = zstandard.ZstdDecompressor().decompress
    steps: dict[str, Callable[[], object]] = {
        "taking in, today: SHA-256 of the gzip layer": lambda: hashlib.sha256(packed).digest(),
        "taking in: gunzip": lambda: zlib.decompress(packed, 31),
        "taking in: unzstd": lambda: expand(squeezed),
        "taking in: cutting at 64 KiB": lambda: sum(1 for _ in fastcdc(tar, 16384, 65536, 262144)),
        "taking in: SHA-256 of the chunks": lambda: hashlib.sha256(tar).digest(),
        "taking in: zstd of the chunks": lambda: _zstd(tar),
        "giving back: unzstd of the chunks": lambda: [expand(piece) for piece in pieces],
        "giving back: gzip, level 6": lambda: _gzip(tar),
        "giving back: zstd, level 3": lambda: _zstd(tar),
    }
    print("\n| step | MB/s of tar |\n| --- | --: |")
    for name, step in steps.items():
        start = time.process_time()
        step()
        print(f"| {name} | {len(tar) / MEGA / (time.process_time() - start):,.0f} |")


if __name__ == "__main__":
    main()
