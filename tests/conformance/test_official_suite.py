"""The official conformance suite: every check switched on, on every store and number of workers;
a part of it over three replicas."""

import itertools
import json
import re
import time

import pytest

from auth.roles import Visibility
from conformance.__main__ import PROGRAM, STORES, WORKERS, possible, run_against_moorage
from conformance.replicas import Spread, judged, spread
from conformance.suite import IMAGES_ONLY, PROFILES, Result, run
from tests.auth.tenants import PASSWORD, tenants
from tests.fixtures.programs import require_program

pytestmark = pytest.mark.timeout(300)

MINIMUM_CHECKS = 1000
"""Fewer, and the suite did not do what it should."""


@pytest.fixture(autouse=True)
def suite():
    require_program(PROGRAM.name)


# With every flag on, both profiles ask the same: `make conformance` asks each of them everywhere.
RUNS = [
    (*target, profile)
    for target, profile in zip(
        itertools.product(STORES, WORKERS), itertools.cycle(PROFILES), strict=False
    )
    if possible(*target, profile)
]


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


def test_suite_passes_in_the_repository_that_projects_are_shown_in(tmp_path):
    """As who keeps the base images, to whose repository its tags belong.

    To mount, the suite asks for no token that is good for the source, so it skips that as in every
    repository where it has to log in.
    """
    settings = {"platform.shared_repository": "hops/base"}
    with tenants(settings=settings, allow_sparse=True) as registry:
        registry.user("adm")
        registry.project("hops", Visibility.INTERNAL, adm="owner")
        switches = {
            "OCI_USERNAME": "adm",
            "OCI_PASSWORD": PASSWORD,
            "OCI_REPO1": "hops/base",
            "OCI_REPO2": "hops/other",
        }
        result = run(PROGRAM, registry.address, profile="1.1", report=tmp_path, switches=switches)
    assert [each for each in result.complaints if "blobs/mount" not in each] == []
    assert (result.failed, result.disabled) == (0, 0)
    assert result.passed >= MINIMUM_CHECKS


def test_images_pass_over_three_replicas(cluster, tmp_path):
    """And uploads go round them, each request to the next. `make conformance` has all content."""
    begun = [replica.log.stat().st_size for replica in cluster.replicas]
    result = run(PROGRAM, cluster.address, profile="1.1", report=tmp_path, switches=IMAGES_ONLY)
    assert result.complaints == ()
    assert (result.failed, result.skipped) == (0, 0)
    deadline = time.monotonic() + 60
    while not (found := spread(logs_since(cluster, begun))).apart:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    print(f"\n{result}; {found}")


def logs_since(cluster, begun):
    for replica, at in zip(cluster.replicas, begun, strict=True):
        with replica.log.open("rb") as log:
            log.seek(at)
            yield log.read().decode(errors="replace")


def lines(*requests):
    """An access log of these requests: of which upload, the action, the status."""
    return "an event\n" + "".join(
        json.dumps(
            {"log": "access", "action": f"upload.{action}", "status": status, "upload": upload},
            separators=(",", ":"),
        )
        + "\n"
        for upload, action, status in requests
    )


def test_uploads_are_counted_by_the_replicas_that_answered_well():
    logs = [
        lines(("a", "start", 202), ("b", "start", 202), ("c", "start", 202), ("d", "start", 202)),
        lines(("a", "append", 202), ("b", "append", 416), ("b", "finish", 201)),
        lines(("a", "finish", 201), ("b", "append", 416), ("c", "append", 202)),
    ]
    logs[0] += lines(("d", "append", 202), ("d", "finish", 201))
    assert spread(logs) == Spread(finished=3, several=2, apart=1)


def test_a_run_whose_uploads_stayed_with_two_replicas_has_failed(tmp_path):
    passed = Result(1000, 0, 0, 0, (), tmp_path)
    assert judged(passed, Spread(9, 9, 1)).ok
    stayed = judged(passed, Spread(9, 9, 0))
    assert not stayed.ok
    assert "no upload went over three replicas" in stayed.complaints[0]
