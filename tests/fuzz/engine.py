"""A small mutation fuzzer: seeds, random edits, and a check that must hold for any input.

A target is a module with `SEEDS`, the inputs to begin with, and `check(data)`, which raises when
the parser does anything but accept or refuse properly. Runs are repeatable: the same seed and
count give the same inputs.
"""

import random
import time
from collections.abc import Callable, Sequence
from types import ModuleType

MAX_INPUT = 4096
SLOW = 1.0

INTERESTING = [
    b"", b"\x00", b"\n", b"\r\n", b"/", b"//", b"..", b"%2F", b"%", b"?", b"&", b"=", b",", b";",
    b'"', b"\\", b"{", b"}", b"[", b"]", b":", b"*", b"-", b"+", b"0", b"-1", b"9" * 25, b"W/",
    b"\xff", "\u0661".encode(), "\u00e9".encode(), b"null", b"NaN", b"1e999", b"\\ud800",
    b"sha256:", b"a" * 300, b"[" * 2000,
]  # fmt: skip


def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Edit one of the seeds in a few places: insert, delete, repeat, flip, splice."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.randint(0, 8))
        match rng.randrange(6):
            case 0:
                data[at:at] = rng.choice(INTERESTING)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.randint(1, 20)
            case 3 if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 4:
                other = rng.choice(seeds)
                data[at:end] = other[rng.randint(0, len(other)) :]
            case _:
                data[at:end] = rng.choice(INTERESTING)
    return bytes(data[:MAX_INPUT])


def once(check: Callable[[bytes], None], data: bytes) -> None:
    """Run one check; a failure or more than `SLOW` seconds of it names the input."""
    began = time.process_time()
    try:
        check(data)
    except Exception as error:
        error.add_note(f"input: {data!r}")
        raise
    if time.process_time() - began > SLOW:
        raise AssertionError(f"took too long, input: {data!r}")


def run(target: ModuleType, *, seconds: float, count: int | None = None, seed: int = 0) -> int:
    """Fuzz for so many seconds or inputs, whichever ends first; give the number of inputs."""
    rng = random.Random(f"{target.__name__}:{seed}")  # noqa: S311 -- repeatable on purpose
    for data in target.SEEDS:
        once(target.check, data)
    corpus = list(target.SEEDS)
    deadline = time.monotonic() + seconds
    done = 0
    while time.monotonic() < deadline and (count is None or done < count):
        data = mutate(rng, corpus)
        once(target.check, data)
        # Now and then a mutated input becomes a seed, so that edits can pile up.
        if rng.random() < 0.02 and len(corpus) < 500:
            corpus.append(data)
        done += 1
    return done
