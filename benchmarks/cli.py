"""The command line: chooses sides and works, runs them, writes the report."""

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import memory, run, sides, wrk
from benchmarks.content import GIBIBYTE, MEBIBYTE, LayerSource
from benchmarks.figures import Results
from benchmarks.report import Report, Row, machine_facts
from benchmarks.sides import Side, StartError
from benchmarks.works import WORKS, Setting, Work
from conformance.server import ServerFailedError
from conformance.stores import StoreProcess

_HERE = Path(__file__).resolve().parent
_BUILT_IN: dict[str, Callable[[Path, StoreProcess | None], Side]] = {
    "moorage": sides.moorage,
    "distribution": sides.distribution,
    "nginx": sides.nginx,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 when a side failed a work, 2 when nothing could be run."""
    options = _parse(argv)
    try:
        with ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=options.work_dir)
            )
            report = _run(options, Path(folder), stack)
    except (StartError, ServerFailedError, memory.DiskError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted, nothing was written", file=sys.stderr)
        return 130
    files = report.write(options.results)
    print(report.markdown())
    print("written:", *files, sep="\n  ", file=sys.stderr)
    return 1 if report.results.failures else 0


def _run(options: argparse.Namespace, folder: Path, stack: ExitStack) -> Report:
    works, with_memory = _choose(options)
    size = options.layer_size * MEBIBYTE
    if with_memory:
        largest = 4 * GIBIBYTE if options.memory_heavy else size
        memory.check_disk(folder, largest, len(options.side) + len(options.peer))
    bucket = None
    if options.store == "s3":
        bucket = stack.enter_context(StoreProcess("minio", _sub(folder, "store")))
    started: list[Side] = []
    for name in options.side:
        started.append(_BUILT_IN[name](_sub(folder, name), bucket))
        stack.callback(started[-1].stop)
    started += [sides.peer(text) for text in options.peer]
    run.tell("sides: " + ", ".join(f"{side.name} {side.version}" for side in started))
    source = LayerSource(folder / "layer", size)
    setting = Setting(secrets.token_hex(4), source, load_seconds=options.seconds)
    if options.quick:
        setting.warm_seconds, setting.push_seconds = 0.0, 0.3
    results = Results()
    run.alternate(started, works, options.rounds, setting, results)
    if with_memory:
        if works:
            run.peaks_so_far(started, results)
        run.memory_under_load(started, setting, source, results)
    if options.memory_heavy:
        heavy = LayerSource(folder / "heavy", 4 * GIBIBYTE, repeats=4)
        run.memory_under_load(started, setting, heavy, results)
    return _report(options, works, started, results, setting)


def _report(
    options: argparse.Namespace,
    works: Sequence[Work],
    started: Sequence[Side],
    results: Results,
    setting: Setting,
) -> Report:
    rows = [Row(w.name, w.title, w.unit, w.less_is_better) for w in works]
    measured = {sample.work for sample in results.samples}
    for name, load in (
        ("memory", "the work above"),
        (
            run.memory_name(setting.source.size),
            f"8 pushes, 8 pulls of {_size(setting.source.size)}",
        ),
        ("memory-4g", "8 pushes, 8 pulls of 4 GiB"),
    ):
        if f"{name}-sum" in measured and f"{name}-sum" not in {row.work for row in rows}:
            for part, what in (("largest", "largest process"), ("sum", "all processes")):
                title = f"peak memory, {load}: {what}"
                rows.append(Row(f"{name}-{part}", title, "MB", less_is_better=True))
    facts = {
        **{side.name: side.version or side.endpoint.url for side in started},
        **machine_facts(setting.source.path.parent),
        "rounds": f"{options.rounds}; layers of {_size(setting.source.size)}, "
        f"wrk -t1 -c{wrk.CONNECTIONS} for {setting.load_seconds:g} s",
        "store": "one MinIO" if options.store == "s3" else "files",
    }
    names = [side.name for side in started]
    reference = "distribution" if "distribution" in names else names[-1]
    return Report("Benchmark", rows, started, reference, results, facts)


def _choose(options: argparse.Namespace) -> tuple[list[Work], bool]:
    """The works to run, and whether to measure memory under load."""
    works = [w for w in WORKS if not options.only or w.name in options.only]
    if not wrk.available():
        missing = [w.name for w in works if w.needs_wrk]
        if missing:
            run.tell(f"LEFT OUT: {', '.join(missing)} need wrk (Debian: apt-get install wrk)")
        works = [w for w in works if not w.needs_wrk]
    with_memory = "memory" in options.only or not (options.only or options.quick)
    return works, with_memory or options.memory_heavy


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare this registry with others on this machine: all sides run at once, "
        "and each piece of work is done on each of them in turn, in several rounds.",
    )
    add = parser.add_argument
    add("--rounds", type=_positive, help="rounds (default 5; with --quick 1)")
    add(
        "--only",
        action="append",
        default=[],
        metavar="WORK",
        choices=[*(w.name for w in WORKS), "memory"],
        help="only this work; repeatable: " + ", ".join([*(w.name for w in WORKS), "memory"]),
    )
    add("--quick", action="store_true", help="one short round, 64 MiB layers, no memory work")
    add(
        "--store",
        choices=["filesystem", "s3"],
        default="filesystem",
        help="where the registries keep content: each in files of its own, or each in a bucket of "
        "one MinIO, which is started for them",
    )
    add(
        "--side",
        action="append",
        choices=list(_BUILT_IN),
        help="only this built-in side; repeatable (default: all of them)",
    )
    add(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="another registry that runs already and takes anonymous pushes, such as "
        "zot=http://127.0.0.1:5001; repeatable. What was pushed to it is not removed",
    )
    add("--memory-heavy", action="store_true", help="peak memory with 4 GiB layers too (minutes)")
    add(
        "--layer-size", type=_positive, metavar="MIB", help="size of the large layer (default 1024)"
    )
    add("--seconds", type=float, help="seconds of each wrk run (default 5; with --quick 1)")
    add(
        "--work-dir", type=Path, help="where the stores go (default: the system's temporary folder)"
    )
    add("--results", type=Path, default=_HERE / "results", help="where the report goes")
    options = parser.parse_args(argv)
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 5)
    options.layer_size = options.layer_size or (64 if quick else 1024)
    options.seconds = options.seconds or (1.0 if quick else 5.0)
    without = {"nginx"} if options.store == "s3" else set()
    options.side = options.side or [name for name in _BUILT_IN if name not in without]
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _sub(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def _size(size: int) -> str:
    return f"{size / GIBIBYTE:g} GiB" if size >= GIBIBYTE else f"{size // MEBIBYTE} MiB"
