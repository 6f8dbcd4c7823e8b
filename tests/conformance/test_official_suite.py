"""The official conformance suite: every check switched on, on every store and number of workers."""

import itertools
import re

import pytest

from conformance.__main__ import PROGRAM, STORES, WORKERS, possible, run_against_moorage
from conformance.suite import PROFILES
from tests.fixtures.programs import require_program

pytestmark = pytest.mark.timeout(300)

MINIMUM_CHECKS = 1000
"""Fewer, and the suite did not do what it should."""


@pytest.fixture(autouse=True)
def suite():
    require_program(PROGRAM.name)


RUNS = [run for run in itertools.product(STORES, WORKERS, PROFILES) if possible(*run)]


@pytest.mark.parametrize(("store", "workers", "profile"), RUNS)
def test_every_check_passes(store, workers, profile):
    if store == "s3":
        require_program("minio")
    result = run_against_moorage(store, workers, profile)
    assert result.complaints == ()
    assert (result.failed, result.skipped, result.disabled) == (0, 0, 0)
    assert result.passed >= MINIMUM_CHECKS
    # Each worker numbers its requests under a prefix of its own: all of them took part.
    log = (result.report / "server.log").read_text()
    assert len(set(re.findall(r'"request_id":"(\w+)-', log))) == workers


@pytest.mark.parametrize("profile", PROFILES)
def test_suite_as_it_comes_passes_on_the_server_as_it_comes(profile):
    """Nobody's flags on either side: what a stranger sees who runs the suite against us."""
    result = run_against_moorage("filesystem", 2, profile, every_flag=False)
    assert result.complaints == ()
    assert (result.failed, result.skipped) == (0, 0)
