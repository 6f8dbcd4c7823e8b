"""The simulated Redis is like the real one: the same calls give the same answers."""

import random
import time

import pytest

from storage import _redis_table as layout
from tests.storage.simulation import Redis

TABLE, LEASE, FENCE = "{t}stamps", "{t}lease", "{t}fence"
LOCK, REST = 200, 400
"""Milliseconds. Waits are as long as one of them and a half, so that delays do not matter."""


class Pair:
    """A real and a simulated Redis that get the same commands."""

    def __init__(self, server):
        self.real = server.client(decode_responses=False)
        self.simulated = Redis("run", time.monotonic)

    def call(self, *command):
        words = [str(word).encode() for word in command]
        return self.real.execute_command(*command), self.simulated.call(words)


def without_times(answer):
    """Times and fences differ from clock to clock."""
    return answer[0] if isinstance(answer, list) and isinstance(answer[0], bytes) else answer


@pytest.mark.parametrize("seed", range(3))
def test_the_simulated_redis_is_like_the_real_one(redis_servers, seed):
    chance = random.Random(seed)  # noqa: S311
    pair = Pair(redis_servers.server())
    slots = [0, 1, 2, layout.SLOTS - 1]

    def some():
        return chance.sample(slots, chance.randint(1, 2))

    def step():
        token, epoch = chance.randint(1, 3), chance.choice([11, 11, 11, 12])
        what = chance.choice("ooobbbbeeerrpptkdfww")
        if what == "o":
            args = (chance.choice([1, 1, 2]), chance.choice("ab") * 32, epoch, layout.SIZE, 60)
            return "EVAL", layout.OPEN, 1, TABLE, layout.VERSION, *args, chance.choice([0, 1, 1])
        if what == "b":
            return "EVAL", layout.BEGIN, 1, TABLE, epoch, token, LOCK, REST, *some()
        if what == "e":
            return "EVAL", layout.END, 1, TABLE, token, *some()
        if what == "r":
            return "EVAL", layout.RENEW, 1, TABLE, token, LOCK, *some()
        if what == "p":
            return "EVAL", layout.REPAIR, 1, TABLE, REST, *some()
        if what == "t":
            return "EVAL", layout.TAKE, 2, LEASE, FENCE, token, LOCK
        if what == "k":
            return "EVAL", layout.KEEP, 1, LEASE, token, LOCK
        if what == "d":
            return "EVAL", layout.DROP, 1, LEASE, token
        if what == "f" and chance.random() < 0.3:
            pair.real.flushall()
            pair.simulated.state.clear()
        else:
            time.sleep(chance.choice([0.0, LOCK * 1.5, REST * 1.5]) / 1000)
        return None

    reads = [bit for slot in slots for bit in ("GET", "i64", layout.number_bit(slot))]
    for _ in range(60):
        command = step()
        if command is not None:
            real, simulated = pair.call(*command)
            assert without_times(real) == without_times(simulated), command
        real, simulated = pair.call("BITFIELD_RO", TABLE, "GET", "i64", layout.EPOCH_BIT, *reads)
        assert real == simulated
