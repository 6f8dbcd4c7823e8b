"""Runs the suite against three replicas in turn, and counts how far its uploads went round them."""

import itertools
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.cluster import Cluster
from conformance.suite import Profile, Result, run

# The requests of an upload, in order, with the status of one that was answered well.
_STEPS = {"upload.start": 202, "upload.append": 202, "upload.finish": 201}


@dataclass(frozen=True, slots=True)
class Spread:
    """How many finished uploads there were, and over how many replicas they went.

    `several`: two replicas at least answered their requests. `apart`: POST, a PATCH and PUT were
    answered by three different replicas.
    """

    finished: int
    several: int
    apart: int

    def __str__(self) -> str:
        return (
            f"of {self.finished} uploads {self.several} went over 2 replicas or more, and"
            f" {self.apart} had POST, PATCH and PUT answered by 3 different ones"
        )


def spread(logs: Sequence[str]) -> Spread:
    """Count uploads in the access logs of the replicas, one text for each (JSON lines)."""
    uploads: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for replica, log in enumerate(logs):
        for line in log.splitlines():
            if not line.startswith('{"log":"access"'):
                continue
            record = json.loads(line)
            if _STEPS.get(record["action"]) == record["status"] and record["upload"]:
                uploads[record["upload"]][record["action"]].add(replica)
    finished = [steps for steps in uploads.values() if "upload.finish" in steps]
    return Spread(
        len(finished),
        sum(len(set().union(*steps.values())) > 1 for steps in finished),
        sum(_apart(steps) for steps in finished),
    )


def _apart(steps: Mapping[str, set[int]]) -> bool:
    answered = [steps.get(step, set()) for step in _STEPS]
    return any(len(set(each)) == len(_STEPS) for each in itertools.product(*answered))


def judged(result: Result, found: Spread) -> Result:
    """The result with what was found of its uploads; none over three replicas is a failure.

    Then the suite passed, but did not ask what the replicas are there to be asked.
    """
    if found.apart:
        return replace(result, remark=str(found))
    complaint = f"no upload went over three replicas: {found}"
    return replace(result, failed=result.failed + 1, complaints=(*result.complaints, complaint))


def run_against_replicas(
    program: Path, *, profile: Profile, report: Path, every_flag: bool = True
) -> Result:
    """Start a cluster on an empty store, run the suite against its balancer, end the cluster.

    Raises `cluster.cluster.ProgramMissingError` or `cluster.process.ProcessFailedError` when the
    cluster does not start, or a replica does not end as it should, otherwise what `run` does.
    Leaves the replicas' logs and `spread.txt` in the directory `report`, beside what `run` does.
    """
    settings = {"SERVER__DRAIN_DELAY_SECONDS": "0"}  # nothing is asked any more
    if every_flag:
        settings["LIMITS__ALLOW_SPARSE"] = "true"
    with (
        tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as home,
        Cluster(Path(home), settings=settings) as cluster,
    ):
        result = run(
            program, cluster.address, profile=profile, report=report, every_flag=every_flag
        )
        for replica in cluster.replicas:
            replica.stop(code=0)
            shutil.copy(replica.log, report)
        cluster.check_logs()
        logs = [replica.log.read_text(errors="replace") for replica in cluster.replicas]
    found = spread(logs)
    (report / "spread.txt").write_text(f"{found}\n")
    return judged(result, found)
