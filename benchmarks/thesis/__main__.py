"""`python -m benchmarks.thesis`: described in docs/reference/thesis.md."""

import argparse
import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import run, sides
from benchmarks.page import keep
from benchmarks.report import machine_facts
from benchmarks.sides import StartError
from benchmarks.thesis.images import Images
from benchmarks.thesis.load import Course
from benchmarks.thesis.plot import draw
from benchmarks.thesis.report import Report
from benchmarks.wire import AnswerError
from conformance.server import ServerFailedError
from conformance.stores import StoreProcess

LEVELS = (1, 10, 30, 50, 100)
_RESULTS = Path(__file__).resolve().parents[1] / "results"
_SIDES = {"moorage": sides.moorage, "distribution": sides.distribution}


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; 1 when a push or pull failed, 2 when nothing could be run."""
    options = _parse(arguments)
    try:
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="moorage-thesis-", dir=options.work_dir)
            report = _run(options, Path(stack.enter_context(folder)), stack)
    except (StartError, ServerFailedError, AnswerError, ValueError) as error:
        print(f"thesis: {error}", file=sys.stderr)
        return 2
    keep(
        "thesis",
        options.store,
        report,
        draw("Response time by iteration, ms", report),
        alt="response times",
        results=options.results,
        document=options.document,
    )
    print(report.markdown())
    return 1 if any(sample.failure for sample in report.samples) else 0


def _run(options: argparse.Namespace, folder: Path, stack: ExitStack) -> Report:
    store = None
    if options.store == "s3":
        store = stack.enter_context(StoreProcess("minio", _sub(folder, "store")))
    started = []
    for name in options.side:
        started.append(_SIDES[name](_sub(folder, name), store))
        stack.callback(started[-1].stop)
    run.tell("sides: " + ", ".join(f"{side.name} {side.version}" for side in started))
    images = Images(secrets.token_hex(4), options.base_kib << 10, options.layer_kib << 10)
    course = Course(started, images, options.images)
    course.run(options.concurrency)
    facts = {
        **{side.name: side.version for side in started},
        **machine_facts(folder),
        "images": f"{options.images} at each level; base layer {options.base_kib} KiB, "
        f"own layer {options.layer_kib} KiB",
        "store": "one MinIO" if store else "files",
    }
    return Report([side.name for side in started], options.concurrency, course.samples, facts)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.thesis",
        description="Distinct images, pushed and pulled like docker does by more and more clients "
        "at a time, on this registry and Distribution in turns.",
    )
    add = parser.add_argument
    add("--images", type=_positive, default=1000, help="images at each level (default %(default)s)")
    add(
        "--concurrency",
        type=_levels,
        default=LEVELS,
        metavar="N,N…",
        help="clients at a time, one level after another (default 1,10,30,50,100)",
    )
    add(
        "--store",
        choices=["filesystem", "s3"],
        default="filesystem",
        help="each registry in files of its own, or in a bucket of its own of one MinIO",
    )
    add("--side", action="append", choices=list(_SIDES), help="only this side (default: both)")
    add("--base-kib", type=_positive, default=4096, help="the base layer (default %(default)s)")
    add("--layer-kib", type=_positive, default=400, help="each own layer (default %(default)s)")
    add("--work-dir", type=Path, help="where the stores go (default: the temporary folder)")
    add("--results", type=Path, default=_RESULTS, help="where tables, samples and picture go")
    add("--document", type=Path, help="a page that gets the table and picture too")
    options = parser.parse_args(arguments)
    options.side = options.side or list(_SIDES)
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _levels(text: str) -> tuple[int, ...]:
    return tuple(map(_positive, text.split(",")))


def _sub(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


if __name__ == "__main__":
    sys.exit(main())
