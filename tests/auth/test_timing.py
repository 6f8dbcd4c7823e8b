"""Whether the time that a refusal takes tells a foreign project from an absent one.

Two tests that can't be fooled by a busy machine: what is done for the two is the same, call for
call, cold and warm; and one that measures, reports, and fails only where the difference is gross.
"""

import asyncio
import random
import statistics
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from auth.roles import Visibility
from registry.service.remembered import Kept
from tests.auth.requests import EVERY, NOWHERE
from tests.auth.tenants import basic, bearer, tenants
from tests.oracle.content import digest_of, push_blob, push_image, random_bytes, with_digest

SHARED = "common/app"
"""The repository that all projects of a platform are shown in."""

ROUNDS = 150
SLOW_CALLS = ("get", "stat", "list", "put", "put_all", "create", "delete")
SLOW = 0.01
"""Seconds that each call of the store takes in the measurement, as one over a network does."""

LONG = 4 * SLOW
"""The same where a request does so much beside that a busy machine makes more of a difference."""

GROSS = SLOW / 2
"""A difference of medians, in seconds, that no busy machine makes, but one more call does."""


class Watched:
    """A store that writes down what is asked of it, and takes its time."""

    def __init__(self, inner):
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.delay = 0.0

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        if not callable(method):
            return method

        def call(*arguments, **options):
            key = arguments[0] if arguments and isinstance(arguments[0], str) else ""
            self.calls[f"{name} {key.partition('/')[0]}"] += 1
            steps = len(arguments) if name == "put_all" else 1 + bool(options.get("then"))
            if self.delay and name in SLOW_CALLS:
                return self._slowly(method, arguments, options, steps)
            return method(*arguments, **options)

        return call

    async def _slowly(self, method, arguments, options, steps):
        """As over a network: what is done step by step takes its time for each that is done."""
        await asyncio.sleep(self.delay)
        found = await method(*arguments, **options)
        await asyncio.sleep(self.delay * (steps - 1))
        return found


@contextmanager
def watched(shared):
    """A registry with projects, shown in ``shared`` too, which counts what its store is asked."""
    stores = []

    def wrap(store):
        stores.append(Watched(store))
        return stores[0]

    # The audit log looks things up behind the answers, and would be counted with them.
    settings = {"audit.mode": "off", "platform.shared_repository": shared}
    with tenants(wrap=wrap, settings=settings) as registry:
        registry.watched = stores[0]
        yield registry


@pytest.fixture(scope="module")
def registry():
    with watched(SHARED) as registry:
        for name in ("mal", "vic"):
            registry.user(name)
        registry.project("mine", mal="owner")
        registry.project("foreign", vic="owner")
        registry.project("public", Visibility.PUBLIC, vic="owner")
        registry.project("common", Visibility.INTERNAL, vic="owner")
        with registry.caller(basic("vic")) as victim:
            push_image(victim, "foreign/app", "x", "v1")
        # A password is checked once, and then remembered: no test's first request is the one.
        with registry.caller(basic("mal")) as stranger:
            stranger.get("/v2/").expect(200)
        yield registry


@pytest.fixture
def callers(registry):
    names = ("foreign", "absent1", "mine", "common")
    scopes = [f"repository:{name}/app:pull,push,delete" for name in names]
    return {
        "anonymous": None,
        "stranger": basic("mal"),
        "stranger with a token": bearer(registry.token(basic("mal"), *scopes)),
    }


def forget(registry):
    """Begin as a process does that has just started, but that knows the caller's password."""
    registry.policy._judged.clear()
    directory = registry.tenancy.directory
    directory.known._entries.clear()
    directory.standings.known._entries.clear()
    for cache in (directory.indexes, directory.open, registry.services.quotas._limited):
        cache._kept = Kept(1024 * 1024, lambda _: 100)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("who", ["anonymous", "stranger", "stranger with a token"])
def test_the_store_is_asked_the_same_for_foreign_and_absent(registry, callers, who, warm):
    with registry.caller(callers[who]) as caller:
        for example in EVERY:
            if "{r}" not in example.target:
                continue
            asked = []
            for repository in ("foreign/app", "absent1/app"):
                # The victim's own requests keep what is theirs in mind; nothing warms the absent.
                if warm:
                    with registry.caller(basic("vic")) as victim:
                        victim.get("/v2/foreign/app/manifests/v1").expect(200)
                    caller.request(example.method, example.to(repository))
                else:
                    forget(registry)
                registry.watched.calls.clear()
                caller.request(
                    example.method, example.to(repository), example.headers, example.body
                )
                asked.append(dict(registry.watched.calls))
            assert asked[0] == asked[1], example
            assert not [key for key in asked[0] if key.startswith("get projects")], example


def test_the_store_is_asked_the_same_for_a_mount_from_foreign_and_absent(registry):
    with registry.caller(basic("mal")) as caller:
        asked = []
        for source in ("foreign/app", "absent1/app"):
            forget(registry)
            registry.watched.calls.clear()
            caller.post(f"/v2/mine/app/blobs/uploads/?mount={NOWHERE}&from={source}").expect(202)
            asked.append(dict(registry.watched.calls))
        assert asked[0] == asked[1]


def test_the_store_is_asked_the_same_for_a_blob_that_others_have(registry):
    theirs, never = (random_bytes(name, 3000) for name in ("theirs", "never"))
    with registry.caller(basic("vic")) as victim:
        for repository in ("foreign/app", "foreign/b", "foreign/c", "public/a"):
            push_blob(victim, repository, theirs)
    with registry.caller(basic("mal")) as caller:
        for method, target in [
            ("GET", "/v2/mine/app/blobs/{}"),
            ("HEAD", "/v2/mine/app/blobs/{}"),
            ("DELETE", "/v2/mine/app/blobs/{}"),
            ("POST", "/v2/mine/app/blobs/uploads/?mount={}"),
            ("POST", "/v2/mine/app/blobs/uploads/?mount={}&from=foreign/app"),
        ]:
            asked = []
            for data in (theirs, never):
                forget(registry)
                registry.watched.calls.clear()
                caller.request(method, target.format(digest_of(data)))
                asked.append(dict(registry.watched.calls))
            assert asked[0] == asked[1], (method, target)


@pytest.mark.parametrize("who", ["anonymous", "stranger", "stranger with a token"])
def test_the_store_is_asked_the_same_where_projects_share_a_repository(registry, callers, who):
    theirs, never = (random_bytes(name, 3000) for name in ("theirs", "never"))
    with registry.caller(basic("vic")) as victim:
        push_blob(victim, "foreign/app", theirs)
        there = digest_of(push_image(victim, SHARED, "shared", "foreign__v1"))
    with registry.caller(callers[who]) as caller:
        for kind, named in (
            ("manifests", ("foreign__v1", "absent1__v1")),
            ("manifests", (there, NOWHERE)),
            ("referrers", (there, NOWHERE)),
            ("blobs", (digest_of(theirs), digest_of(never))),
        ):
            for method in ("GET", "HEAD", "DELETE"):
                caller.request(method, f"/v2/{SHARED}/{kind}/{NOWHERE}")  # rules are read once
                asked = []
                for each in named:
                    forget(registry)
                    registry.watched.calls.clear()
                    caller.request(method, f"/v2/{SHARED}/{kind}/{each}")
                    asked.append(dict(registry.watched.calls))
                assert asked[0] == asked[1], (method, kind)
        asked = []
        for each in (theirs, never):
            forget(registry)
            registry.watched.calls.clear()
            caller.post(f"/v2/mine/app/blobs/uploads/?mount={digest_of(each)}&from={SHARED}")
            asked.append(dict(registry.watched.calls))
        assert asked[0] == asked[1]


def medians(runs, rounds=ROUNDS):
    """Take turns in an order of chance; the median of each in seconds."""
    order = [name for name in runs for _ in range(rounds)]
    random.Random(1).shuffle(order)  # noqa: S311
    times = {name: [] for name in runs}
    for name in order:
        began = time.perf_counter()
        runs[name]()
        times[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in times.items()}


def report(record_property, what, found):
    told = ", ".join(f"{name} {seconds * 1e6:.0f} µs" for name, seconds in found.items())
    record_property("timing", f"{what}: {told}")
    print(f"{what}: {told}")


@pytest.mark.parametrize("who", ["anonymous", "stranger", "stranger with a token"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "manifests/v1"),
        ("HEAD", f"blobs/{NOWHERE}"),
        ("POST", "blobs/uploads/"),
        ("GET", "tags/list"),
    ],
)
def test_refusals_take_the_same_time(registry, callers, record_property, who, method, path):
    """Each time another name that nobody asked for before: there is nothing to have in mind."""
    registry.watched.delay = SLOW
    numbers = iter(range(100_000))
    try:
        with registry.caller(callers[who]) as caller, registry.caller(basic("vic")) as victim:
            victim.get("/v2/foreign/app/manifests/v1").expect(200)
            found = medians(
                {
                    "foreign": lambda: caller.request(method, f"/v2/foreign/app/{path}"),
                    "absent": lambda: caller.request(method, f"/v2/absent1/app/{path}"),
                    "fresh": lambda: caller.request(method, f"/v2/x{next(numbers):06}/app/{path}"),
                }
            )
    finally:
        registry.watched.delay = 0.0
    report(record_property, f"{who}, {method} {path}", found)
    assert max(found.values()) - min(found.values()) < GROSS, found


def test_the_end_of_an_upload_is_of_one_class(registry, record_property):
    """Uploading in full what another project has, and what nobody has."""
    registry.watched.delay = LONG
    rounds = 25
    contents = {
        "theirs": [random_bytes(("theirs", n), 2000) for n in range(rounds)],
        "nobody's": [random_bytes(("nobody's", n), 2000) for n in range(rounds)],
    }
    waiting = {name: iter(found) for name, found in contents.items()}
    try:
        with registry.caller(basic("vic")) as victim, registry.caller(basic("mal")) as caller:
            for data in contents["theirs"]:
                push_blob(victim, "foreign/app", data)

            def upload(name):
                data = next(waiting[name])
                caller.post(
                    with_digest("/v2/mine/app/blobs/uploads/", digest_of(data)), body=data
                ).expect(201)

            found = medians({name: lambda name=name: upload(name) for name in contents}, rounds)
    finally:
        registry.watched.delay = 0.0
    report(record_property, "the end of an upload", found)
    assert max(found.values()) - min(found.values()) < LONG / 2, found
