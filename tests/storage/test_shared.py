"""The host coordinator keeps the contract, between processes too."""

import asyncio
import os
import time

import pytest

from storage._stamps import slot
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.shared import HostCoordinator
from storage.testing import CoordinatorContract

PARTY = """
    import asyncio, sys
    from pathlib import Path
    from storage.coordination import LeaseHeld
    from storage.shared import HostCoordinator

    async def main():
        party = HostCoordinator(Path(sys.argv[1]))
        loop = asyncio.get_running_loop()
        hear = lambda: loop.run_in_executor(None, sys.stdin.readline)
        while line := (await hear()).split():
            what, *names = line
            if what == "stamps":
                print(*(await party.stamps(*names)))
            elif what in ("hold", "change"):
                try:
                    async with getattr(party, what)(*names, wait=0.02) as lease:
                        print("entered", lease.fence if what == "hold" else "")
                        await hear()
                    print("left")
                except LeaseHeld:
                    print("held")

    asyncio.run(main())
"""

COUNTING = """
    import asyncio, sys
    from pathlib import Path
    from storage.shared import HostCoordinator

    async def main():
        party = HostCoordinator(Path(sys.argv[1]))
        file = Path(sys.argv[2])
        for _ in range(int(sys.argv[4])):
            async with getattr(party, sys.argv[3])("a", wait=60):
                number = int(file.read_text())
                await asyncio.sleep(0)
                file.write_text(str(number + 1))

    asyncio.run(main())
"""

READING = """
    import asyncio, sys, time
    from pathlib import Path
    from storage.shared import HostCoordinator

    async def main():
        # Remembers the file under its stamp, and checks against what the writer acknowledged.
        party = HostCoordinator(Path(sys.argv[1]))
        file, acknowledged = Path(sys.argv[2]), Path(sys.argv[3])
        remembered, reads, reused = None, 0, 0
        print("ready")
        while (floor := int(acknowledged.read_text() or "0")) < int(sys.argv[4]):
            reads += 1
            (stamp,) = await party.stamps("a")
            if stamp is not None and remembered is not None and remembered[0] == stamp:
                value = remembered[1]
                reused += 1
            else:
                value = int(file.read_text())
                (again,) = await party.stamps("a")
                remembered = (stamp, value) if stamp is not None else None
            if value < floor:
                print("stale", value, floor)
                return
        print("fresh", reads, reused)

    asyncio.run(main())
"""


class TestHostCoordinator(CoordinatorContract):
    """Two of them in one process stand for two processes: their locks exclude each other."""

    @pytest.fixture
    async def parties(self, tmp_path):
        return HostCoordinator(tmp_path), HostCoordinator(tmp_path)


async def test_processes_exclude_each_other(tmp_path, start):
    here, there = HostCoordinator(tmp_path), start(PARTY, tmp_path)
    there.say("hold a")
    fence = int(there.hear().split()[1])
    with pytest.raises(LeaseHeld):
        async with here.hold("a"):
            pass
    there.say("")
    assert there.hear() == "left"
    async with here.hold("a") as lease:
        assert lease.fence > fence
        there.say("hold a")
        assert there.hear() == "held"


async def test_a_process_sees_what_another_changes(tmp_path, start):
    here, there = HostCoordinator(tmp_path), start(PARTY, tmp_path)
    before = await here.stamps("a", "b")
    there.say("change a")
    assert there.hear() == "entered"
    assert await here.stamps("a", "b") == (None, before[1])
    there.say("")
    assert there.hear() == "left"
    after = await here.stamps("a", "b")
    assert after[0] > before[0]
    there.say("stamps a b")
    assert there.hear() == " ".join(map(str, after))


async def test_a_dead_process_holds_nothing(tmp_path, start):
    here, there = HostCoordinator(tmp_path), start(PARTY, tmp_path)
    there.say("hold a")
    assert there.hear().startswith("entered")
    there.kill()
    async with here.hold("a"):
        pass


async def test_a_change_cut_off_by_death_is_repaired_by_readers(tmp_path, start):
    here, there = HostCoordinator(tmp_path), start(PARTY, tmp_path)
    before = await here.stamps("a")
    there.say("change a")
    assert there.hear() == "entered"
    assert await here.stamps("a") == (None,)
    there.kill()
    deadline = time.monotonic() + 60
    while await here.stamps("a") == (None,):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (after,) = await here.stamps("a")
    assert after > before[0]
    async with here.change("a", wait=0):
        pass


async def test_a_change_cut_off_by_death_is_taken_over_by_the_next_writer(tmp_path, start):
    here, there = HostCoordinator(tmp_path), start(PARTY, tmp_path)
    (before,) = await here.stamps("a")
    there.say("change a")
    assert there.hear() == "entered"
    there.kill()
    async with here.change("a", wait=0):
        assert here._numbers[slot("a")] & 1
    (after,) = await here.stamps("a")
    assert after > before


async def test_a_living_writer_is_never_repaired_away(tmp_path):
    one, other = HostCoordinator(tmp_path), HostCoordinator(tmp_path)
    async with one.change("a"):
        for _ in range(30):
            for party in (one, other):
                party._repaired = 0.0
                assert await party.stamps("a") == (None,)


@pytest.mark.parametrize("kind", ["hold", "change"])
async def test_no_increment_is_lost_between_processes(tmp_path, start, kind):
    (tmp_path / "number").write_text("0")
    arguments = (tmp_path / "coordination", tmp_path / "number", kind, 60)
    children = [start(COUNTING, *arguments) for _ in range(3)]
    assert [await asyncio.to_thread(child.end) for child in children] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "180"


async def test_nothing_remembered_is_older_than_what_was_acknowledged(tmp_path, start):
    here = HostCoordinator(tmp_path / "coordination")
    file, acknowledged = tmp_path / "file", tmp_path / "acknowledged"

    def write(path, number):
        (tmp_path / "new").write_text(str(number))
        os.replace(tmp_path / "new", path)  # noqa: PTH105

    write(file, 0)
    write(acknowledged, 0)
    last = 400
    child = start(READING, tmp_path / "coordination", file, acknowledged, last)
    assert child.hear() == "ready"
    for number in range(1, last + 1):
        async with here.change("a"):
            write(file, number)
        write(acknowledged, number)
        if number % 8 == 0:
            await asyncio.sleep(0.002)
    what, reads, reused = (await asyncio.to_thread(child.hear)).split()
    assert what == "fresh", (what, reads, reused)
    assert int(reused) > 0


async def test_the_table_survives_a_restart_of_everyone(tmp_path):
    one = HostCoordinator(tmp_path)
    async with one.change("a"):
        pass
    assert await HostCoordinator(tmp_path).stamps("a") == await one.stamps("a")


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CoordinationUnavailable, match="file"):
        HostCoordinator(tmp_path / "file")


async def test_reading_a_stamp_costs_about_a_microsecond(tmp_path):
    """It is on the path of every GET. The bound is loose: the machine may be busy."""
    here = HostCoordinator(tmp_path)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            await here.stamps("manifest/a/latest", "blob/a")
        best = min(best, (time.perf_counter() - start) / 200)
    assert best < 5e-6
