"""A world in simulated time. Replicas run their real code; clock, network and servers are ours.

Redis answers what the real one would (`test_the_simulated_redis_is_like_the_real_one`), and can be
flushed, restarted, failed over with its last writes lost, and be two at once. Links can be cut,
answers lost, replicas killed. A minute takes a fraction of a second, and a seed gives one history.
"""

import asyncio
import copy
import random
import selectors
from collections import deque

from hiredis import Reader
from redis.exceptions import ResponseError

from storage import _redis_table as layout
from storage._redis_primary import Session
from storage.coordination import CoordinationUnavailable
from storage.memory import MemoryStore
from storage.outlast import outlast
from storage.ports import Unavailable


class _Selector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the clock moves on instead."""

    loop: "SimulatedLoop"

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen any more")
            self.loop.now += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated."""

    def __init__(self):
        self.now = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6

    def time(self):
        return self.now


def simulate(main):
    """Run a coroutine to its end in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


class Redis:
    """One process of Redis: its run id, and what it holds."""

    def __init__(self, run_id, clock, state=None):
        self.run_id = run_id
        self.clock = clock
        self.state = state or {}
        self.past = deque([copy.deepcopy(self.state)], maxlen=30)
        self.alive = True

    def call(self, command):
        """Carry out one command; a `ResponseError` is given back."""
        words = [word.decode() for word in command]
        now = int(self.clock() * 1000)
        for key in [key for key, value in self.state.items() if value["ends"] <= now]:
            del self.state[key]
        before = copy.deepcopy(self.state)
        if words[0] == "BITFIELD_RO":
            return self._read(words[1], [int(word) for word in words[4::3]])
        if words[0] != "EVAL":
            return ResponseError(f"ERR unknown command {words[0]}")
        keys = words[3 : 3 + int(words[2])]
        answer = getattr(self, _SCRIPTS[words[1]])(now, keys, words[3 + int(words[2]) :])
        if self.state != before:
            self.past.append(before)
        return answer

    def _read(self, key, bits):
        table = self.state.get(key)
        found = []
        for bit in bits:
            if table is None:
                found.append(0)
            elif bit == layout.EPOCH_BIT:
                found.append(table["epoch"])
            else:
                slot = (bit // 8 - layout.HEAD) // layout.RECORD
                found.append(table["slots"].get(slot, (0, 0, 0, 0))[0])
        return found

    def _open(self, now, keys, args):
        version, term, primary, epoch, _, life, make = args
        table = self.state.get(keys[0])
        if table is not None and table["term"] > int(term):
            return [b"later", 0, 0]
        if table is None or (table["term"], table["primary"]) != (int(term), primary):
            if make != "1":
                return [b"missing", 0, 0]
            table = {"term": int(term), "primary": primary, "epoch": int(epoch), "born": now}
            table["slots"] = {}
            self.state[keys[0]] = table
        table["ends"] = now + int(life) * 1000
        assert version == str(layout.VERSION)
        return [b"open", table["epoch"], now - table["born"]]

    def _begin(self, now, keys, args):
        epoch, token, lease, rest, *slots = map(int, args)
        table = self.state.get(keys[0])
        if table is None or table["epoch"] != epoch:
            return [b"lost", 0]
        records = {slot: table["slots"].get(slot, (0, 0, 0, 0)) for slot in slots}
        held = max(
            (
                until - now
                for number, holder, until, _ in records.values()
                if number % 2 and until > now and holder != token
            ),
            default=0,
        )
        if held:
            return [b"held", held]
        for slot, (number, _, until, dirty) in records.items():
            kept = max(dirty, until + rest) if number % 2 else 0
            table["slots"][slot] = (number | 1, token, now + lease, kept)
        return [b"yours", 0]

    def _renew(self, now, keys, args):
        token, lease, *slots = map(int, args)
        table = self.state.get(keys[0])
        kept = 0
        for slot in slots if table else ():
            number, holder, _, dirty = table["slots"].get(slot, (0, 0, 0, 0))
            if number % 2 and holder == token:
                table["slots"][slot] = (number, holder, now + lease, dirty)
                kept += 1
        return kept

    def _end(self, now, keys, args):
        token, *slots = map(int, args)
        table = self.state.get(keys[0])
        for slot in slots if table else ():
            number, holder, _, dirty = table["slots"].get(slot, (0, 0, 0, 0))
            if number % 2 == 0:
                table["slots"][slot] = (number + 2, 0, 0, 0)
            elif holder == token:
                stays = dirty > now
                table["slots"][slot] = (number, 0, 0, dirty) if stays else (number + 1, 0, 0, 0)
        return int(table is not None)

    def _repair(self, now, keys, args):
        rest, *slots = map(int, args)
        table = self.state.get(keys[0])
        for slot in slots if table else ():
            number, _, until, dirty = table["slots"].get(slot, (0, 0, 0, 0))
            if number % 2 and max(until + rest, dirty) <= now:
                table["slots"][slot] = (number + 1, 0, 0, 0)
        return int(table is not None)

    def _take(self, now, keys, args):
        token, lease = args
        if keys[0] in self.state:
            return [b"held", self.state[keys[0]]["ends"] - now, b"0"]
        self.state[keys[0]] = {"text": token, "ends": now + int(lease)}
        fence = max(self.state.get(keys[1], {"text": 0})["text"] + 1, now * 1000)
        self.state[keys[1]] = {"text": fence, "ends": now + 86_400_000}
        return [b"yours", 0, b"%d" % fence]

    def _keep(self, now, keys, args):
        token, lease = args
        holder = self.state.get(keys[0])
        if holder is not None and holder["text"] != token:
            return 0
        self.state[keys[0]] = {"text": token, "ends": now + int(lease)}
        return 1

    def _drop(self, now, keys, args):
        holder = self.state.get(keys[0])
        if holder is not None and holder["text"] == args[0]:
            del self.state[keys[0]]
            return 1
        return 0


_SCRIPTS = {
    getattr(layout, name): f"_{name.lower()}"
    for name in ("OPEN", "BEGIN", "RENEW", "END", "REPAIR", "TAKE", "KEEP", "DROP")
}


class Connection:
    """What a link sends over; each batch is carried out once, perhaps late, perhaps in vain."""

    def __init__(self, world, replica, server):
        self.world, self.replica, self.server = world, replica, server
        self.answers = asyncio.Queue()
        self.open = True
        self.executing = set()

    async def send_packed_command(self, packed, *, check_health):
        assert not check_health
        reader = Reader()
        reader.feed(packed)
        commands = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        task = asyncio.ensure_future(self._carry_out(commands))
        self.executing.add(task)  # not cancelled with whoever sent it
        task.add_done_callback(self.executing.discard)

    async def _carry_out(self, commands):
        world = self.world
        await asyncio.sleep(world.redis_delay())
        if not world.connects(self.replica, self.server):
            return
        answers = [self.server.call(command) for command in commands]
        await asyncio.sleep(world.redis_delay())
        if self.open and world.connects(self.replica, self.server):
            for answer in answers:
                self.answers.put_nowait(answer)

    async def read_response(self):
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def disconnect(self, *, nowait):
        assert nowait
        self.open = False


class Primary:
    """In place of the one that asks Sentinels."""

    timeout = 0.5

    def __init__(self, world, replica):
        self.world, self.replica = world, replica

    async def connect(self):
        server = self.world.primary_for(self.replica)
        await asyncio.sleep(self.world.redis_delay())
        if not self.world.connects(self.replica, server):
            await asyncio.sleep(self.timeout)
            raise CoordinationUnavailable("no way there")
        return Session(Connection(self.world, self.replica, server), server.run_id, "simulated")


class Store:
    """The one store as a replica reaches it: late, not at all, or so that the answer is lost."""

    def __init__(self, world, replica):
        self.world, self.replica = world, replica

    def __getattr__(self, name):
        method = getattr(self.world.objects, name)

        async def call(*arguments, **options):
            if name in ("get", "list"):
                return await self._reach(method, arguments, options)
            # As the port has it: a write goes on to its end though its task is cancelled.
            task = asyncio.ensure_future(self._reach(method, arguments, options))
            return await outlast(task)

        return call

    async def _reach(self, method, arguments, options):
        world = self.world
        await asyncio.sleep(world.store_delay(self.replica))
        await world.dead_stop(self.replica)
        if self.replica in world.cut_from_store:
            raise Unavailable("store", "no way there")
        result = await method(*arguments, **options)
        await asyncio.sleep(world.store_delay(self.replica))
        await world.dead_stop(self.replica)
        if self.replica in world.cut_from_store:
            raise Unavailable("store", "the answer was lost")
        return result


class World:
    """All that replicas share, and what befalls it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)  # noqa: S311
        self.loop = asyncio.get_running_loop()
        self.objects = MemoryStore()
        self.runs = 0
        self.servers = [self._server()]
        self.sees = {}
        self.cut_from_redis = set()
        self.cut_from_store = set()
        self.slow_redis = self.slow_store = 0.0
        self.dead = set()
        self.write_rate = self.chance.choice([0.1, 0.3, 1.0])
        self.over = asyncio.Event()

    def _server(self, state=None):
        self.runs += 1
        return Redis(f"run{self.runs}", self.loop.time, state)

    # what replicas meet

    def primary_for(self, replica):
        """The server that this replica's Sentinels name."""
        return self.sees.get(replica, self.servers[-1])

    def connects(self, replica, server):
        """Whether bytes get from one to the other; a primary that was replaced hears no more."""
        cut = replica in self.cut_from_redis or replica in self.dead
        return server.alive and server is self.primary_for(replica) and not cut

    async def dead_stop(self, replica):
        """Nothing comes back to a replica that was killed, until the world is over."""
        if replica in self.dead:
            await self.over.wait()
            raise Unavailable("store", "the process is dead")

    def redis_delay(self):
        return self.chance.expovariate(1000) + self.slow_redis * self.chance.random()

    def store_delay(self, replica):
        slow = self.slow_store if self.chance.random() < 0.3 else 0.0
        return self.chance.expovariate(200) + slow * self.chance.random()

    # what befalls them

    def flush(self):
        for server in self.servers:
            server.state.clear()

    def evict(self):
        state = self.servers[-1].state
        if state:
            del state[self.chance.choice(sorted(state))]

    def restart(self):
        """Another process on the same machine: empty, or with what an old file holds."""
        server = self.servers[-1]
        server.alive = False
        old = self.chance.choice([{}, server.past[0]])
        self.servers.append(self._server(copy.deepcopy(old)))

    def fail_over(self, replicas):
        """A replica of Redis becomes the primary, without the last writes.

        Some replicas of the registry go on with the old primary, which still believes in itself.
        """
        server = self.servers[-1]
        state = self.chance.choice([*server.past, server.state])
        self.servers.append(self._server(copy.deepcopy(state)))
        if self.chance.random() < 0.5:
            server.alive = False
            return
        for replica in replicas:
            if self.chance.random() < 0.5:
                self.sees[replica] = server

    def come_back(self):
        """The old primary is the primary again, the same process, with what it has or knew."""
        if len(self.servers) > 1 and self.servers[-2].alive:
            server = self.servers.pop(-2)
            if self.chance.random() < 0.5:
                server.state = copy.deepcopy(self.servers[-1].state)
            self.servers[-1].alive = self.chance.random() < 0.5
            self.servers.append(server)

    def heal(self):
        self.sees.clear()
        self.cut_from_redis.clear()
        self.cut_from_store.clear()
        self.slow_redis = self.slow_store = 0.0
