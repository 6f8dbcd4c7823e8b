"""The bundled installation, run from its manifests, loses a node: `make chart`."""

import json
import os
import subprocess
import sys

import pytest

from tests.fixtures.programs import require_program, require_root

pytestmark = [
    pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it"),
    pytest.mark.timeout(600),
]

PROGRAMS = ("helm", "oras", "etcd", "haproxy", "redis-server", "redis-cli", "ip", "nsenter")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What `tests/deploy/drill.py` saw."""
    require_root("pods in namespaces")
    for name in PROGRAMS:
        require_program(name)
    home = tmp_path_factory.mktemp("drill")
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.deploy.drill", home]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, check=False)
    if done.returncode:
        logs = "".join(
            f"\n== {path.name}\n{path.read_text(errors='replace')[-500:]}"
            for path in sorted(home.glob("*.log"))
        )
        pytest.fail(done.stderr[-3000:] + logs, pytrace=False)
    print(done.stdout)
    return json.loads(done.stdout)


def test_all_pods_become_ready(seen):
    assert seen["pods"] == 19  # of the registry, Redis, etcd, masters, servers and gateways
    assert seen["pushed_before"] > 0


def test_nothing_is_lost_with_a_node(seen):
    """One of each kind went, the Redis primary and a registry among them.

    Each of the three clients may have had a request on the registry that went.
    """
    assert len(seen["lost"]) == 6
    assert seen["failed"] == []
    assert seen["repeated"] <= 3
    assert seen["unreadable"] == []
    assert seen["pushed"] > seen["pushed_before"]


def test_what_was_left_was_not_restarted(seen):
    """A dependency that is away is no reason to start a process anew."""
    assert seen["restarts_after"] == {}
