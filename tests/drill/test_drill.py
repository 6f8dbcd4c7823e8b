"""A short drill: a node is lost, and the release is changed, under load. `make chart` runs it."""

import os
import subprocess
import sys

import pytest

from tests.fixtures.programs import require_program, require_root

pytestmark = [
    pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it"),
    pytest.mark.timeout(600),
]

PROGRAMS = (
    *("helm", "crane", "docker", "dockerd", "etcd", "haproxy", "redis-server", "redis-cli"),
    *("ip", "nsenter", "mkfs.ext4"),
)


@pytest.mark.parametrize(
    ("part", "only"), [("failures", ("lose_a_node",)), ("upgrades", ("upgrade", "downgrade"))]
)
def test_nothing_is_lost_and_no_command_fails(part, only, tmp_path):
    require_root("pods in namespaces")
    for name in PROGRAMS:
        require_program(name)
    command = [sys.executable, "-m", "tests.drill", "--part", part, "--results", tmp_path]
    command += ["--logs", tmp_path, *(word for each in only for word in ("--only", each))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, check=False)
    print(done.stdout, done.stderr)
    if done.returncode:
        logs = "".join(
            f"\n== {path.name}\n{path.read_text(errors='replace')[-500:]}"
            for path in sorted(tmp_path.rglob("*.log"))
        )
        pytest.fail(done.stderr[-3000:] + logs, pytrace=False)
    assert "Nothing was lost" in done.stdout
