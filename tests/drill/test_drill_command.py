"""The command that plays the parts of the drill, each in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PART = """#!/bin/sh
trap 'echo ended >> {played}; exit 143' TERM
echo "$MOORAGE_DRILL_INSIDE" >> {played}
while :; do sleep 0.05; done
"""


def test_who_is_told_to_end_ends_its_part_and_begins_no_other(tmp_path):
    played = tmp_path / "played"
    stand_in = tmp_path / "unshare"
    stand_in.write_text(PART.format(played=played))
    stand_in.chmod(0o755)
    command = [sys.executable, "-m", "tests.drill", "--part", "failures", "--part", "upgrades"]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as drill:
        deadline = time.monotonic() + 60
        while not played.exists() or not played.read_text():
            assert drill.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        drill.send_signal(signal.SIGTERM)
        assert drill.wait(60) == 143
    assert played.read_text().splitlines() == ["failures", "ended"]
