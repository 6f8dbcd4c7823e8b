"""Tags over two workers are linearizable: each looks like one register, whoever asks whom.

Several processes read, put, swap and delete the same few tags at once; every request has a
connection of its own, so that the workers take turns. Their answers are judged by the checker in
tests/oracle/histories.py.
"""

import os
import random
import signal
import time

import pytest

from tests.oracle.content import push_blob
from tests.oracle.histories import is_linearizable
from tests.oracle.tag_client import clients
from tests.oracle.wire import Client

TAGS = ["latest", "v1", "v2"]
COUNT = int(os.environ.get("MOORAGE_HISTORY_LENGTH", "45"))


def judge(histories) -> None:
    total = 0
    for tag, history in histories.items():
        total += len(history)
        assert is_linearizable(history), f"no order of the operations on {tag} explains the answers"
    swaps = [each for history in histories.values() for each in history if each.expected]
    won = sum(each.outcome == "ok" and each.response is not None for each in swaps)
    refused = sum(each.outcome == "refused" for each in swaps)
    lost = sum(each.response is None for history in histories.values() for each in history)
    print(f"\n{total} operations, {won} swaps won, {refused} refused, {lost} without an answer")
    assert won > 20
    assert refused > 20


@pytest.mark.parametrize("store", ["filesystem", "memory"])
def test_tags_are_linearizable_over_two_workers(registry_server, store):
    server = registry_server(store, workers=2)
    with Client(server.address) as client:
        push_blob(client, "a/b", b"{}")
    with clients(server.address, "a/b", TAGS, processes=3, threads=3, count=COUNT) as histories:
        pass
    judge(histories)


def test_tags_stay_linearizable_while_workers_are_killed(registry_server):
    """A request that lost its worker may have happened or not; nothing else may be odd."""
    server = registry_server("filesystem", workers=2)
    with Client(server.address) as client:
        push_blob(client, "a/b", b"{}")
    chance = random.Random(9)  # noqa: S311
    with clients(server.address, "a/b", TAGS, processes=3, threads=3, count=COUNT * 2) as histories:
        for _ in range(3):
            time.sleep(chance.uniform(0.4, 0.9))
            os.kill(chance.choice(server.worker_pids()), signal.SIGKILL)
    judge(histories)
