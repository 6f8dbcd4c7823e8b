"""Command line of the conformance runner."""

import argparse
import contextlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from cluster.cluster import ProgramMissingError
from cluster.process import ProcessFailedError
from conformance.relay import Relay
from conformance.replicas import run_against_replicas
from conformance.server import RegistryProcess, ServerFailedError, Store
from conformance.stores import StoreProcess
from conformance.suite import PROFILES, Profile, Result, SuiteFailedError, run

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".tools" / "bin" / "conformance"
RESULTS = ROOT / "conformance" / "results"
STORES: tuple[Store, ...] = get_args(Store)

Target = Store | Literal["cluster"]
"""A store under one registry, or a cluster of three."""

TARGETS: tuple[Target, ...] = (*STORES, "cluster")
WORKERS = (1, 2)


def run_against_moorage(
    store: Store, workers: int, profile: Profile, *, every_flag: bool = True
) -> Result:
    """Start the registry on an empty store, run the suite, end the registry.

    With `every_flag` the suite also pushes manifests whose content is missing, so the registry is
    told to take them; without it the registry runs as it does by default. The report goes to a
    directory of `conformance/results/`, with the server's log. With more than one worker each
    request gets its own connection: the suite keeps one alive, which would leave all but one
    worker untested.
    """
    report = _emptied(store, workers, profile, every_flag=every_flag)
    with contextlib.ExitStack() as stack:
        data = None
        settings = {"LIMITS__ALLOW_SPARSE": "true"} if every_flag else {}
        if store != "memory":
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
        if store == "filesystem":
            data = Path(home)
        if store == "s3":
            settings |= stack.enter_context(StoreProcess("minio", Path(home))).settings("images")
        server = RegistryProcess(
            store=store,
            data=data,
            workers=workers,
            settings=settings,
            log=report / "server.log",
        )
        stack.enter_context(server)
        address = server.address
        if workers > 1:
            relay = stack.enter_context(Relay(address, one_request_per_connection=True))
            address = relay.address
        result = run(PROGRAM, address, profile=profile, report=report, every_flag=every_flag)
        server.stop()
        server.check_log()
    return result


def _emptied(target: Target, workers: int, profile: Profile, *, every_flag: bool) -> Path:
    flags = "" if every_flag else "-default-flags"
    report = RESULTS / f"{target}-{workers}-{profile}{flags}"
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    return report


def possible(target: Target, workers: int, _profile: Profile) -> bool:
    """Whether it is run.

    Several processes on S3 need a coordinator between them; and those of a cluster are replicas.
    """
    return target not in ("s3", "cluster") or workers == 1


def main() -> int:
    """Run what the command line asks for; 0 when every check passed and none was skipped."""
    parser = _parser()
    options = parser.parse_args()
    alone = not (options.matrix or options.registry)
    if alone and not possible(options.store, options.workers, options.profile):
        parser.error(f"with --store {options.store} there is one worker (of each replica)")
    if not PROGRAM.exists():
        print(f"{PROGRAM.relative_to(ROOT)} is missing: run `make tools`", file=sys.stderr)
        return 2
    failed = False
    for name, result in _results(options):
        print(f"{name}: {result}   {result.report.relative_to(ROOT)}/report.html", flush=True)
        for complaint in result.complaints:
            print(f"    {complaint}")
        failed |= not result.ok
    return int(failed)


def _results(options: argparse.Namespace) -> Iterator[tuple[str, Result]]:
    try:
        if options.registry:
            report = RESULTS / f"{options.registry.replace(':', '-')}-{options.profile}"
            result = run(
                PROGRAM,
                options.registry,
                profile=options.profile,
                report=report,
                every_flag=not options.default_flags,
            )
            yield f"{options.registry}, profile {options.profile}", result
            return
        runs = [(options.store, options.workers, options.profile)]
        if options.matrix:
            runs = [run for run in itertools.product(TARGETS, WORKERS, PROFILES) if possible(*run)]
        for target, workers, profile in runs:
            name = f"{target}, {workers} worker{'s' * (workers > 1)}, profile {profile}"
            every_flag = not options.default_flags
            if target == "cluster":
                report = _emptied(target, workers, profile, every_flag=every_flag)
                yield (
                    name,
                    run_against_replicas(
                        PROGRAM, profile=profile, report=report, every_flag=every_flag
                    ),
                )
            else:
                yield name, run_against_moorage(target, workers, profile, every_flag=every_flag)
    except (ServerFailedError, SuiteFailedError, ProcessFailedError, ProgramMissingError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Run the official OCI Distribution conformance suite, every check switched on.",
        epilog="Exits 0 when all passed, 1 when a check failed or was skipped, 2 when it could not"
        " run. Reports are kept in conformance/results/.",
    )
    parser.add_argument(
        "--store", choices=TARGETS, default="filesystem", help="cluster: three replicas in turn"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--profile", choices=PROFILES, default="1.1")
    parser.add_argument(
        "--default-flags",
        action="store_true",
        help="only what the profile switches on by default (no sparse manifests)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--matrix",
        action="store_true",
        help="every store, 1 and 2 workers, a cluster, both profiles",
    )
    what.add_argument(
        "--registry", metavar="HOST:PORT", help="a registry that runs already (plain HTTP)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
