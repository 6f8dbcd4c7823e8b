"""The official suite as a program: its flags, one run, what it counted."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

Profile = Literal["1.1", "dev"]
PROFILES: tuple[Profile, ...] = ("1.1", "dev")

TIMEOUT_SECONDS = 300
"""A run takes a few seconds; one that takes this long hangs."""

# Each switch of the suite's configuration (config.go, structs configAPI and configData), named so
# that its default (some depend on the profile, `SPARSE` is off in both) can never take one away.
_API = """
    PING PULL PUSH BLOBS_ATOMIC BLOBS_DELETE BLOBS_DIGEST_HEADER BLOBS_MOUNT_ANONYMOUS
    BLOBS_UPLOAD_CANCEL MANIFESTS_ATOMIC MANIFESTS_DELETE MANIFESTS_DIGEST_HEADER
    MANIFESTS_TAG_PARAM TAGS_ATOMIC TAGS_DELETE TAGS_LIST REFERRER
"""
_DATA = """
    IMAGE INDEX INDEX_LIST SPARSE ARTIFACT SUBJECT SUBJECT_MISSING ARTIFACT_LIST SUBJECT_LIST
    DATA_FIELD NONDISTRIBUTABLE CUSTOM_FIELDS NO_LAYERS EMPTY_BLOB SHA512
"""
EVERY_FLAG = {
    **{f"OCI_API_{name}": "true" for name in _API.split()},
    **{f"OCI_DATA_{name}": "true" for name in _DATA.split()},
}

IMAGES_ONLY = {f"OCI_DATA_{name}": str(name == "IMAGE").lower() for name in _DATA.split()}
"""Switches off all content but plain images, for a run that is short."""

_COUNT = re.compile(r"^  (Disabled|Skip|Pass|FAIL|Error)\.+: +(\d+)$", re.MULTILINE)
_VERDICT = re.compile(r"^ *(?P<name>OCI Conformance Test.*): (?P<status>FAIL|Error|Skip|Disabled)$")


class SuiteFailedError(Exception):
    """The suite itself did not run to its end; the message carries what it printed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run counted, and each check that did not pass with the suite's reason.

    `skipped` are checks that gave up because the registry lacks something, `disabled` those that
    the suite's configuration switched off. `remark` is what else is to be told of the run.
    """

    passed: int
    failed: int
    skipped: int
    disabled: int
    complaints: tuple[str, ...]
    report: Path
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether something passed, nothing failed and the registry made nothing be skipped."""
        return self.passed > 0 and self.failed == 0 and self.skipped == 0

    def __str__(self) -> str:
        off = f", {self.disabled} switched off" if self.disabled else ""
        remark = f"; {self.remark}" if self.remark else ""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped{off}{remark}"


def run(
    program: Path,
    address: str,
    *,
    profile: Profile,
    report: Path,
    every_flag: bool = True,
    switches: Mapping[str, str] | None = None,
) -> Result:
    """Run the suite `program` against the registry at `address` (host:port, plain HTTP).

    `every_flag` switches on all that the suite can check; without it the profile's own defaults
    hold, which is what anybody gets who runs the suite by hand. `switches` overrule both. Writes
    `report.html`, `junit.xml`, `results.yaml` and `output.txt` into the directory `report`,
    replacing those of an earlier run. Raises SuiteFailedError when the suite breaks off, counts
    nothing or takes more than `TIMEOUT_SECONDS`.
    """
    report.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCI_")}
    settings = {
        "OCI_REGISTRY": address,
        "OCI_TLS": "disabled",
        "OCI_VERSION": profile,
        "OCI_RESULTS_DIR": str(report),
        "OCI_LOG": "error",
    }
    try:
        suite = subprocess.run(
            [program],
            cwd=report,  # not the caller's: the suite reads a configuration file from there
            env=inherited | (EVERY_FLAG if every_flag else {}) | (switches or {}) | settings,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise SuiteFailedError(f"the suite took more than {TIMEOUT_SECONDS} s") from late
    (report / "output.txt").write_text(suite.stdout + suite.stderr)
    counts = {name: int(count) for name, count in _COUNT.findall(suite.stdout)}
    if sum(counts.values()) == 0:
        raise SuiteFailedError(
            f"the suite counted nothing (exit {suite.returncode}): {suite.stderr}"
        )
    return Result(
        passed=counts["Pass"],
        failed=counts["FAIL"] + counts["Error"],
        skipped=counts["Skip"],
        disabled=counts["Disabled"],
        complaints=tuple(_complaints(suite.stdout)),
        report=report,
    )


def _complaints(output: str) -> list[str]:
    """Pick the leaves of the suite's tree that did not pass, each with the line that says why."""
    found: list[str] = []
    lines = output.splitlines()
    for line, following in pairwise(lines):
        verdict = _VERDICT.match(line)
        if verdict and following.lstrip().startswith("- "):
            name = verdict["name"].removeprefix("OCI Conformance Test/")
            found.append(f"{verdict['status']} {name}: {following.strip(' -')}")
    return found
