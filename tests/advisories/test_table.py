"""The table is whole, fits the sources, and some of it is tried: `make mutations` tries all."""

import re
import subprocess
import sys

import pytest

from tests.advisories import document, mutate
from tests.advisories.rows import ROOT, applied, cuts_of
from tests.advisories.table import ROWS

CUTS = dict(cuts_of(ROWS))

REGISTRIES = """
CVE-2023-2253 CVE-2017-11468 CVE-2025-24976 CVE-2022-29217 CVE-2017-11424 CVE-2026-33540
CVE-2026-35172 CVE-2026-41888 CVE-2021-41190 CVE-2024-39897 GHSA-qg67-7m6v-qg25 CVE-2026-31801
CVE-2025-23208 CVE-2025-48374 CVE-2026-32589 CVE-2026-32590 CVE-2026-32591 CVE-2026-2376
CVE-2026-10517 CVE-2021-3762 harbor#23675 harbor#22900 harbor#23270 CVE-2024-22278 CVE-2022-31666
CVE-2025-30086 CVE-2019-16097 CVE-2020-29662 CVE-2020-13788 CVE-2024-22244 CVE-2023-20902
CVE-2025-32019 CVE-2019-19025 CVE-2024-22261 CVE-2019-19026 CVE-2019-19029 GHSA-prh4-vhfh-24mj
CVE-2026-4404 CVE-2022-47747 artifact-keeper#3316 artifact-keeper#3408 artifact-keeper#3053
artifact-keeper#3269 artifact-keeper#2477 openshift/origin#9819
""".split()  # noqa: SIM905

CLIENTS = """
CVE-2026-48978 CVE-2026-50151 GHSA-vh4v-2xq2-g5cg CVE-2026-50162 CVE-2026-50163 CVE-2026-49349
GHSA-qv35-3gw6-8q4j ocx#272 CVE-2019-10214 CVE-2024-3727 CVE-2020-15157 CVE-2021-32690
CVE-2024-35192 CVE-2023-46737 CVE-2024-29902 CVE-2024-29903 go-containerregistry#2258
CVE-2023-47627 CVE-2023-47641 CVE-2023-49081 CVE-2023-49082 CVE-2024-23829 CVE-2024-23334
CVE-2023-28858 CVE-2023-28859
""".split()  # noqa: SIM905

ATTACKS = """
digest-strings repository-names tag-names mount-from parameters-twice content-range body-length
gzip-body slow-loris range-flood many-descriptors duplicate-keys depth-bomb sizes size-mismatch
foreign-descriptor index-of-itself subject-cycles referrers-flood artifact-type-injection jwt-kid
jwt-exp jwt-aud jwt-nbf jwt-access-flood wildcard-name basic-colon basic-not-utf-8
header-splitting tag-echo webhooks names-of-paths forwarded-host token-brute-force
log-injection presigned-urls
chunked-bodies
""".split()  # noqa: SIM905

SAMPLE = ("CVE-2023-2253 (1)", "CVE-2022-29217", "CVE-2021-41190 (1)", "harbor#23675 (2)")
"""Removed in every run of the tests: of each kind one that takes a second or two."""


def test_no_advisory_is_missing():
    names = [name for row in ROWS for name in re.split(r", | to ", row.id)]
    assert len(names) == len(set(names))
    assert {*REGISTRIES, *CLIENTS, *ATTACKS} <= set(names)
    assert (len(REGISTRIES), len(CLIENTS), len(ATTACKS)) == (45, 25, 37)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_row_has_a_protection_or_says_why_it_has_none(row):
    assert row.cuts or row.cannot
    assert all(cut.edits and cut.tests for cut in row.cuts)


@pytest.mark.parametrize("name", CUTS)
def test_each_protection_is_where_the_table_says(name):
    for file, snippet, instead in CUTS[name].edits:
        changed = applied((ROOT / file).read_text(), snippet, instead)
        if file.endswith(".py"):
            compile(changed, file, "exec")


def test_each_test_that_is_named_is_there():
    named = {test for cut in CUTS.values() for test in cut.tests}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *sorted(named)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]


def test_the_documentation_is_that_of_the_table():
    assert document.PAGE.read_text() == document.text(), "python -m tests.advisories --document"


@pytest.mark.timeout(600)
def test_what_is_removed_is_noticed():
    """And a mutation that changes nothing is told apart from one that is noticed."""
    with mutate.copied() as root:
        for name in SAMPLE:
            outcome = mutate.without(root, name, CUTS[name])
            assert outcome.red, f"{name}: {outcome.told}"
        cut = CUTS[SAMPLE[0]]
        (file, snippet, _), *_ = cut.edits
        same = type(cut)(((file, snippet, snippet),), cut.tests)
        assert not mutate.without(root, "nothing", same).red


def test_the_command_lists_what_it_would_remove():
    run = [sys.executable, "-m", "tests.advisories", "--list", "CVE-2021"]
    listed = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "CVE-2021-41190 (1): registry/spec/manifest.py" in listed
