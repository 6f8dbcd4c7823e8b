"""`python -m tests.drill`: described in docs/reference/drill.md."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import keep
from benchmarks.report import machine_facts
from tests.drill import plot
from tests.drill.record import Record
from tests.drill.report import Report
from tests.drill.setting import BEFORE, Setting, busy, installed, take_out, wrong
from tests.drill.steps import PARTS, Scenario

CALM = 4.0
_WHOLE = 200.0
_RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_INSIDE = "MOORAGE_DRILL_INSIDE"


def main(arguments: list[str] | None = None) -> int:
    """Play the parts; 1 where something was lost, or a command failed that must not."""
    options = _parse(arguments)
    if part := os.environ.get(_INSIDE):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all that is to be ended
        report = _play(part, [each for each in PARTS[part] if _chosen(each, options)], options)
        print(report.markdown(), flush=True)
        return int(bool(report.misses()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    codes = [_inside(part, arguments) for part in options.part or list(PARTS)]
    return max(codes)


def _inside(part: str, arguments: list[str] | None) -> int:
    """Play one part in namespaces of its own; its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.drill", *given]
    with subprocess.Popen(command, env={**os.environ, _INSIDE: part}) as process:
        try:
            return process.wait()
        except SystemExit:
            process.terminate()  # it is waited for, and no other part begins
            raise


def _chosen(scenario: Scenario, options: argparse.Namespace) -> bool:
    return not options.only or any(each in scenario.act.__name__ for each in options.only)


def _play(part: str, scenarios: Sequence[Scenario], options: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory(
        prefix="drill-", dir=options.work_dir, ignore_cleanup_errors=True
    ) as directory:
        home = Path(directory)
        secure = part in ("upgrades", "maintenance")
        if part == "upgrades":
            take_out(options.before, home / "before")
        facts = machine_facts(home)
        notes = []
        try:
            with installed(home, secure=secure, workers=1 if secure else 2) as setting:
                notes.append(f"Cold start: {setting.cold_start}.")
                with busy(setting, home) as record:
                    time.sleep(2 * CALM)
                    for scenario in scenarios:
                        _step(setting, record, scenario)
                lost = wrong(setting, record)
                if options.helm_test and part == "failures":
                    notes += [_job(setting, f"moorage-{name}") for name in ("test", "conformance")]
        except BaseException:
            if options.logs:
                _keep(home, options.logs / part)
            raise
        if options.logs:
            _keep(home, options.logs / part)
        ledgers = [each.ledger for each in record.customers]
        checked = sum(len(each.blobs) + len(each.manifests) + len(each.tags) for each in ledgers)
        facts["when"] = time.strftime("%-d %B %Y") + (
            f", {options.beside}" if options.beside else ""
        )
        report = Report(part, record.steps, lost, checked, facts, notes)
        for each in record.programs:
            for text in each.failed:
                print(f"FAILED {text}", file=sys.stderr)
        for customer in record.customers:
            for text in [*customer.told.failed_pushes, *customer.told.failed_pulls]:
                print(f"FAILED {text}", file=sys.stderr)
        title = f"The drill: {part}"
        picture = plot.draw(title, record.all(), record.steps, record.began)
        keep(
            "drill",
            report.part,
            report,
            picture,
            alt="requests, errors and latency",
            results=options.results,
            document=options.document,
        )
        return report


def _step(setting: Setting, record: Record, scenario: Scenario) -> None:
    before, acted = record.counts(), time.monotonic()
    note = scenario.act(setting)
    setting.installation.wait_until_whole(_WHOLE)
    whole = time.monotonic()
    time.sleep(CALM)
    step = record.add(scenario.name, note, acted, whole, before, harmless=scenario.harmless)
    print(
        f"{time.strftime('%H:%M:%S')} {step.name}: {step.errors} of {step.counts.requests} not "
        f"served, {step.failed} failed, whole after {step.whole_after:.0f} s; {note}",
        file=sys.stderr,
        flush=True,
    )


def _job(setting: Setting, name: str) -> str:
    began = time.monotonic()
    code, said = setting.installation.run_job(name)
    lines = said.strip().splitlines() or [""]
    passed, failed = (
        sum(each.endswith(f": {word}") for each in lines) for word in ("Pass", "FAIL")
    )
    told = (
        f"{passed} checks passed, {failed} failed" if passed or failed else f"`{lines[-1][:120]}`"
    )
    if code:
        print(said[-3000:], file=sys.stderr)
    return (
        f"`helm test`, the container of {name}: exit code {code} after "
        f"{time.monotonic() - began:.0f} s ({told})"
    )


def _keep(home: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in home.glob("*.log"):
        (target / log.name).write_bytes(log.read_bytes())


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.drill",
        description="The bundled installation from its manifests, as processes on this machine: it "
        "loses parts and is changed while clients are at work.",
    )
    add = parser.add_argument
    add("--part", action="append", choices=list(PARTS), help="only this part (default: all)")
    add("--only", action="append", metavar="NAME", help="only steps with this in their name")
    add("--before", default=BEFORE, help="the revision to go back to (default %(default)s)")
    add("--helm-test", action="store_true", help="run the Jobs of `helm test` too")
    add("--work-dir", type=Path, help="where all of it is kept (default: the temporary folder)")
    add("--logs", type=Path, help="where the logs go in the end")
    add("--results", type=Path, default=_RESULTS, help="where tables, figures and pictures go")
    add("--document", type=Path, help="a page that gets the tables and pictures too")
    add("--beside", default="", help="what else the machine did, for the page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
