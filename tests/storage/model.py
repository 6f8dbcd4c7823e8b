"""Random operations on stores, and what one must answer as the other does."""

import string

from hypothesis import strategies as st

from storage.ports import StorageError

SEGMENTS = st.sampled_from(["a", "a!", "a-b", "a.b", "a0", "a:b", "b", "A", "_", "ab", "a=", "..."])
STEMS = st.lists(SEGMENTS, min_size=0, max_size=3)
# a leaf ends with "$"'s stand-in so that no key is a directory of another
KEYS = st.builds(
    lambda stem, leaf: "/".join(["k", *stem, leaf + "..leaf"]),
    STEMS,
    SEGMENTS,
)
DATA = st.sampled_from([b"", b"1", b"22", b"x" * 5000])
AFTER = st.one_of(KEYS, st.text(alphabet=string.ascii_letters + "/!.-:0~", max_size=8), st.just(""))
FEW = st.sampled_from(["k/a", "k/b/a", "k/b/b", "k/c!/d/e"])

OPERATIONS = st.one_of(
    st.tuples(st.just("put"), FEW, DATA, st.booleans()),
    st.tuples(st.just("create"), FEW, DATA),
    st.tuples(st.just("replace"), FEW, DATA, st.booleans()),
    st.tuples(st.just("delete"), FEW, st.sampled_from(["any", "fresh", "stale"])),
    st.tuples(st.just("put_all"), st.lists(st.tuples(FEW, DATA), max_size=3)),
    st.tuples(st.just("get"), FEW),
    st.tuples(st.just("list"), st.sampled_from(["k/", "k/b/", "k/c!/"]), AFTER, st.integers(0, 5)),
    st.tuples(
        st.just("content"),
        st.sampled_from(["k/c!/x", "k/y"]),
        st.sampled_from([b"", b"1", b"22", b"z" * 70_000]),
        st.sampled_from(["finish", "checkpoint", "leave", "abandon"]),
    ),
    st.tuples(st.just("delete"), st.sampled_from(["k/c!/x", "k/y"]), st.just("any")),
)


NOTHING_MORE = [("content", "k/c!/x", b"1", "finish"), ("content", "k/c!/x", b"", "finish")]
"""No bytes written to content that is finished: as little as a finish that is repeated."""


class Driven:
    """A store, and the versions and progress that its caller knows of."""

    def __init__(self, store):
        self.store = store
        self.versions = {}
        self.stale = {}
        self.progress = {}

    async def do(self, operation):
        what, *arguments = operation
        try:
            return await getattr(self, what)(*arguments)
        except StorageError as error:
            return type(error), error.key

    def note(self, key, version):
        if key in self.versions and self.versions[key] != version:
            self.stale[key] = self.versions[key]
        self.versions[key] = version

    async def put(self, key, data, durable):
        self.note(key, await self.store.put(key, data, durable=durable))

    async def create(self, key, data):
        self.note(key, await self.store.create(key, data))

    async def replace(self, key, data, fresh):
        version = (self.versions if fresh else self.stale).get(key, "never")
        if not fresh:
            data, version = b"never written", "never"
        self.note(key, await self.store.replace(key, data, version))

    async def delete(self, key, which):
        version = {"any": None, "fresh": self.versions.get(key, "never"), "stale": "never"}[which]
        await self.store.delete(key, version=version)
        if which == "any":
            self.progress.pop(key, None)

    async def put_all(self, items):
        await self.store.put_all(items)
        for key, _ in items:
            self.note(key, (await self.store.stat(key)).version)

    async def get(self, key):
        value = await self.store.get(key)
        stat = await self.store.stat(key)
        assert value.version == stat.version == self.versions[key]
        assert stat.size == len(value.data)
        return value.data

    async def list(self, prefix, after, limit):
        return list(await self.store.list(prefix, after=after, limit=limit))

    async def content(self, key, data, end):
        if key in await self.store.list("k/"):
            end = "finish"  # of finished content, drivers may refuse other bytes soon or late
        async with self.store.append(key, self.progress.get(key, "")) as writer:
            before = writer.offset
            await writer.write(data)
            answer = (before, writer.offset)
            if end == "checkpoint":
                self.progress[key] = await writer.checkpoint()
            elif end == "finish":
                answer += (await writer.finish(),)
                async with self.store.open(key) as reader:
                    answer += (b"".join([piece async for piece in reader]),)
        if end == "abandon":
            await self.store.abandon(key, self.progress.pop(key, ""))
        return answer
