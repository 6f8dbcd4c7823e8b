"""Faults under load: what was acknowledged is there and whole, and clients that retry get through.

The short run (`make test`) has a few of the faults for a few seconds each; `make chaos` has all of
them, and prints a table. Figures are told, and decide nothing; counts do.
"""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.chaos import load
from tests.chaos.faults import SCENARIOS, Scenario
from tests.chaos.load import Crane, Customer, Probe, at_work
from tests.fixtures.programs import require_program
from tests.oracle.load import verify, verify_names
from tests.oracle.wire import Client

LOGS = os.environ.get("MOORAGE_CHAOS_LOGS", "")
"""A directory for the logs of each test; empty: they are not kept."""

LONG = bool(os.environ.get("MOORAGE_CHAOS"))
CUSTOMERS = 5 if LONG else 3
CALM = 4 if LONG else 1.5
"""Seconds of load before a fault, and after it."""

HEAD = (
    "| fault | requests | tried again | pushes, pulls that failed | crane: commands, failed "
    "| slowest request | reads: failed, longest silence | writes: failed, errors lasted |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|"
)
ROWS: list[str] = []

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", autouse=True)
def table():
    """Print what was found, in the end."""
    yield
    print("\n" + "\n".join([HEAD, *ROWS]))


@pytest.fixture(autouse=True)
def logs(request, cluster):
    """Keep the logs."""
    yield
    if LOGS:
        target = Path(LOGS, request.node.name)
        target.mkdir(parents=True, exist_ok=True)
        for log in cluster.home.glob("*.log"):
            shutil.copy(log, target)


def scenarios():
    """Give what this run has."""
    for scenario in SCENARIOS:
        if LONG or scenario.short:
            yield pytest.param(scenario, id=scenario.fault.__name__)


@pytest.mark.parametrize("scenario", list(scenarios()))
def test_nothing_is_lost_and_clients_get_through(cluster, scenario, monkeypatch):
    crane = Crane(require_program("crane"), cluster.address)
    seconds = scenario.seconds if LONG else scenario.short
    if seconds > 30:
        monkeypatch.setattr(load, "PAUSE", 5.0)  # docker's own patience is needed
    run = f"{scenario.fault.__name__}-{time.time():.0f}".replace("_", "-")
    customers = [
        Customer(Client(cluster.address, fresh=n % 2 == 0, timeout=60), f"{run}/c{n}", n)
        for n in range(CUSTOMERS)
    ]
    reads, writes = (
        probe(Client(cluster.address, fresh=True, timeout=15), f"{run}/probe")
        for probe in (load.reading, load.writing)
    )
    with at_work(*customers, crane, reads, writes):
        time.sleep(CALM)
        before = sum(each.told.requests for each in customers)
        scenario.fault(cluster, seconds)
        time.sleep(CALM)
        met = sum(each.told.requests for each in customers) - before
    cluster.heal()
    ROWS.append(row(scenario, customers, crane, reads, writes))
    print("\n" + ROWS[-1])
    for kind, probe in (("read", reads), ("write", writes)):
        for text in probe.failures[:5]:
            print(f"  a probe's {kind} failed at {text}")
    wrong = [text for each in customers for text in each.wrong]
    assert not wrong, wrong[0]
    for number, address in enumerate(cluster.addresses):
        with Client(address) as client:
            for each in customers:
                verify(client, each.ledger)
            if LONG and number == 0:
                verify_names(client)
    failed_pulls = [text for each in customers for text in each.told.failed_pulls]
    assert not failed_pulls, failed_pulls[0]
    if scenario.one_process:
        failed_pushes = [text for each in customers for text in each.told.failed_pushes]
        assert not failed_pushes, failed_pushes[0]
        assert not crane.failed, crane.failed[0]
    assert met > 0, "no request met the fault: this proves nothing"
    assert min(each.told.pushes for each in customers) > 0
    assert crane.commands > 0


def row(
    scenario: Scenario, customers: list[Customer], crane: Crane, reads: Probe, writes: Probe
) -> str:
    """Give a row of the table."""
    told = [each.told for each in customers]
    pushes = sum(len(each.failed_pushes) for each in told)
    pulls = sum(len(each.failed_pulls) for each in told)
    return (
        f"| {scenario.name} | {sum(each.requests for each in told):,} "
        f"| {sum(each.retried for each in told)} | {pushes}, {pulls} "
        f"| {crane.commands}, {len(crane.failed)} | {max(each.slowest for each in told):.1f} s "
        f"| {reads.failed} of {len(reads.answered)}, {reads.silence:.1f} s "
        f"| {writes.failed} of {len(writes.answered)}, {writes.errors_lasted:.1f} s |"
    )
