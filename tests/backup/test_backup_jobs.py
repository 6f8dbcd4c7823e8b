"""Work on backups that was asked for: written down once, done by one, and not lost by a crash."""

import asyncio
import time
from types import SimpleNamespace

import msgspec
import pytest

from registry.backing import _work
from registry.backups import backups_of
from registry.config import load
from registry.service.backup.jobs import (
    LEASE,
    MOST_WAITING,
    JobRecord,
    Jobs,
    Kind,
    State,
    Undoable,
)
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.problems import BackupJobUnknown, TooMany
from storage import keys
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from tests.auth.tenants import PASSWORD, Caller, basic
from tests.fixtures.redis import eventually
from tests.oracle.content import digest_of, push_image

BOOTSTRAP = "what makes the first administrator"


@pytest.fixture
def clock():
    def now():
        return now.at

    now.at = 1_000_000.0
    return now


@pytest.fixture
def jobs(clock):
    return Jobs(MemoryStore(), InProcessCoordinator(), Terms(clock=clock))


def wanted(clock, kind=Kind.CREATE, **more):
    clock.at += 1
    return JobRecord(kind=kind, by="user:platform", asked=clock.at, **more)


class Doing:
    """Does work, or fails as it is told."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.done = []

    async def __call__(self, record):
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.done.append((record.kind, record.projects))
        return msgspec.structs.replace(record, backup="made", done={"tags": 3})


async def test_the_same_is_asked_for_once_until_it_is_done(jobs, clock):
    first = await jobs.add(wanted(clock, projects=("a",)))
    other = await jobs.add(wanted(clock, projects=("b",)))
    assert (await jobs.add(wanted(clock, projects=("a",)))).id == first.id != other.id
    work = Doing()
    ended = await jobs.run(work)
    assert [record.state for record in ended] == [State.DONE, State.DONE]
    assert work.done == [(Kind.CREATE, ("a",)), (Kind.CREATE, ("b",))], "the oldest first"
    told = (await jobs.get(first.id)).record
    assert (told.backup, told.done, told.error) == ("made", {"tags": 3}, "")
    assert await jobs.run(work) == []
    again = await jobs.add(wanted(clock, projects=("a",)))
    assert [job.id for job in await jobs.last(2)] == [again.id, other.id]


async def test_no_more_than_some_wait(jobs, clock):
    for number in range(MOST_WAITING):
        await jobs.add(wanted(clock, projects=(str(number),)))
    with pytest.raises(TooMany):
        await jobs.add(wanted(clock, projects=("one more",)))
    await jobs.run(Doing())
    await jobs.add(wanted(clock, projects=("one more",)))


async def test_what_broke_off_is_begun_again_but_not_for_ever(jobs, clock):
    job = await jobs.add(wanted(clock))
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            await jobs.run(Doing(asyncio.CancelledError()))
        assert (await jobs.get(job.id)).record.state is State.RUNNING
    (ended,) = await jobs.run(Doing())
    assert (ended.state, ended.error) == (State.FAILED, "it broke off three times")


async def test_a_store_that_does_not_answer_is_waited_for(jobs, clock):
    job = await jobs.add(wanted(clock))
    for _ in range(5):
        assert await jobs.run(Doing(Unavailable("x", "no answer"))) == []
        told = (await jobs.get(job.id)).record
        assert told.state is State.WAITING
        assert "no answer" in told.error
        assert await jobs.run(Doing()) == [], "not at once"
        clock.at = told.due
    (ended,) = await jobs.run(Doing())
    assert (ended.state, ended.error, ended.again) == (State.DONE, "", True)


@pytest.mark.parametrize(
    "failure", [Unavailable("x", "no"), CoordinationUnavailable("no"), LeaseHeld("backups")]
)
async def test_what_waits_holds_up_nothing_and_not_for_ever(jobs, clock, failure):
    began = clock.at
    await jobs.add(wanted(clock, projects=("stuck",)))
    await jobs.add(wanted(clock, projects=("next",)))
    (ended,) = await jobs.run(Doing(failure))
    assert (ended.projects, ended.state) == (("next",), State.DONE)
    while not (ended := await jobs.run(Doing(failure))):
        clock.at += 900
    assert (ended[0].state, str(failure) in ended[0].error) == (State.FAILED, True)
    assert 80_000 < clock.at - began < 100_000, "a day"
    assert await jobs.run(Doing(failure)) == []


async def test_a_job_that_can_not_be_read_hides_no_other(clock):
    store = MemoryStore()
    jobs = Jobs(store, InProcessCoordinator(), Terms(clock=clock))
    await store.put(keys.backup_due("0" * 13 + "." + "0" * 16), b"{")
    job = await jobs.add(wanted(clock))
    assert [each.state for each in await jobs.run(Doing())] == [State.DONE]
    assert [each.id for each in await jobs.last(10)] == [job.id]


async def test_a_look_reads_what_is_to_be_done_only(clock):
    store = MemoryStore()
    jobs = Jobs(store, InProcessCoordinator(), Terms(clock=clock))
    for number in range(5):
        await jobs.add(wanted(clock, projects=(str(number),)))
    await jobs.run(Doing())
    asked, listing = [], store.list

    async def get(key):
        asked.append(key)
        raise AssertionError(key)

    async def list_(prefix, **more):
        asked.append(prefix)
        return await listing(prefix, **more)

    store.get, store.list = get, list_
    await jobs.run(Doing())
    assert asked == [keys.BACKUP_DUE]
    clock.at += 3601
    await jobs.run(Doing())
    assert asked[1:] == [keys.BACKUP_DUE, keys.BACKUP_JOBS]


async def test_what_ended_is_not_done_again_where_a_process_broke_off_just_then(clock):
    store = MemoryStore()
    jobs = Jobs(store, InProcessCoordinator(), Terms(clock=clock))
    job = await jobs.add(wanted(clock))
    due = (await store.get(keys.backup_due(job.id))).data
    await jobs.run(Doing())
    await store.create(keys.backup_due(job.id), due)
    work = Doing()
    assert await jobs.run(work) == work.done == []
    assert (await jobs.get(job.id)).record.state is State.DONE


async def test_who_governs_and_who_owns_ask_for_different_things(jobs, clock):
    asked = {
        (await jobs.add(wanted(clock, Kind.RESTORE, projects=("a",), owned=owned))).id
        for owned in ({}, {"a": "1"}, {"a": "2"}, None, {})
    }
    assert len(asked) == 4


async def test_what_can_not_be_done_fails_and_the_next_is_done(jobs, clock):
    await jobs.add(wanted(clock, Kind.DELETE, backup="none"))
    await jobs.add(wanted(clock))
    ended = await jobs.run(Doing(Undoable("there is no backup none")))
    assert [(each.state, each.error) for each in ended] == [
        (State.FAILED, "there is no backup none"),
        (State.DONE, ""),
    ]


async def test_one_process_is_at_work(clock):
    store, coordinator = MemoryStore(), InProcessCoordinator()
    jobs = Jobs(store, coordinator, Terms(clock=clock))
    await jobs.add(wanted(clock))
    async with coordinator.hold(LEASE):
        with pytest.raises(LeaseHeld):
            await jobs.run(Doing())


async def test_what_ended_long_ago_is_forgotten(jobs, clock):
    job = await jobs.add(wanted(clock))
    await jobs.run(Doing())
    clock.at += 91 * 86_400
    await jobs.run(Doing())
    with pytest.raises(BackupJobUnknown):
        await jobs.get(job.id)


class Served:
    """A registry with a platform's account, and where its backups are kept."""

    def __init__(self, server) -> None:
        self.server = server

    def ask(self, who, method, path, body=None):
        lines = [("Content-Type", "application/json")] if body is not None else []
        data = None if body is None else msgspec.json.encode(body)
        with Caller(self.server.address, basic(who) if who else None) as caller:
            return caller.request(method, f"/api/v1{path}", lines, data)

    def done(self, reply):
        """Wait for what was asked for."""
        path = f"/platform/backup-jobs/{reply.expect(202).json()['id']}"

        def told():
            return self.ask("platform", "GET", path).expect(200).json()

        eventually(lambda: told()["ended"] is not None, 60)
        return told()


@pytest.fixture
def served(registry_server, tmp_path):
    settings = {
        "AUTH__MODE": "projects",
        "AUTH__BOOTSTRAP_SECRET": BOOTSTRAP,
        "PLATFORM__SERVICE": "user:platform",
        "RATES__ENABLED": "off",
        "BACKUP__TARGET": str(tmp_path / "backups"),
    }
    served = Served(registry_server("filesystem", settings=settings))
    first = {"secret": BOOTSTRAP, "name": "root", "password": PASSWORD}
    served.ask(None, "POST", "/bootstrap", first).expect(201)
    for name in ("platform", "stranger"):
        served.ask("root", "PUT", f"/users/{name}", {"password": PASSWORD}).expect(201)
    return served


def test_a_platform_backs_up_restores_and_removes(served):
    served.ask("platform", "PUT", "/platform/projects/119", {"name": "Demo"}).expect(200)
    served.ask("root", "PUT", "/projects/theirs", {"owner": "user:root"}).expect(201)
    assert served.ask("platform", "GET", "/platform/backups").expect(200).json()["items"] == []
    with Caller(served.server.address, basic("platform")) as caller:
        pushed = push_image(caller, "demo", 1, "v1")
        made = served.done(served.ask("platform", "POST", "/platform/backups", {}))
        assert (made["state"], made["done"]["tags"], made["by"]) == ("done", 1, "user:platform")
        (listed,) = served.ask("platform", "GET", "/platform/backups").expect(200).json()["items"]
        assert (listed["id"], listed["tags"], listed["missing"]) == (made["backup"], 1, 0)
        caller.delete(f"/v2/demo/manifests/{digest_of(pushed)}").expect(202)
        path = f"/platform/backups/{made['backup']}"
        # Not all, nor what is another's: of the platform's, what it names.
        served.ask("platform", "POST", f"{path}/restore", {}).expect(403)
        served.ask("platform", "POST", f"{path}/restore", {"projects": ["theirs"]}).expect(403)
        into = {"projects": ["demo"], "into": "theirs"}
        served.ask("platform", "POST", f"{path}/restore", into).expect(403)
        reply = served.ask("platform", "POST", f"{path}/restore", {"projects": ["demo"]})
        done = served.done(reply)
        assert (done["state"], done["done"]["tags"], done["error"]) == ("done", 1, None)
        assert caller.get("/v2/demo/manifests/v1").expect(200).body == pushed
    assert served.done(served.ask("platform", "DELETE", path))["state"] == "done"
    assert served.ask("platform", "GET", "/platform/backups").expect(200).json()["items"] == []
    gone = served.done(served.ask("platform", "DELETE", path))
    assert (gone["state"], gone["error"]) == ("failed", f"there is no backup {made['backup']}")
    events = served.ask("root", "GET", "/audit").expect(200).json()["items"]
    told = {(each["action"], each["principal"]) for each in events}
    for action in ("backup.created", "backup.restored", "backup.removed"):
        assert (action, "user:platform") in told


def test_a_platform_restores_nothing_of_another_s(served, tmp_path):
    served.ask("platform", "PUT", "/platform/projects/119", {"name": "Demo"}).expect(200)
    for name in ("bank", "shop"):
        served.ask("root", "PUT", f"/projects/{name}", {"owner": "user:root"}).expect(201)
    made = served.done(served.ask("platform", "POST", "/platform/backups", {}))
    path = f"/platform/backups/{made['backup']}/restore"
    for body in (
        {"projects": ["bank"], "into": "demo"},
        {"projects": ["Bank"], "into": "Demo"},
        {"projects": ["bank"], "into": "absent"},
        {"projects": ["Bank"]},
    ):
        served.ask("platform", "POST", path, body).expect(403)
    for name in ("a b", "x!y", "b/", "demo/app"):
        served.ask("platform", "POST", path, {"projects": [name]}).expect(400)
        served.ask("root", "POST", path, {"projects": ["demo"], "into": name}).expect(400)
    copied = {"projects": ["Demo"], "into": "Demo2"}
    assert served.done(served.ask("platform", "POST", path, copied))["state"] == "done"
    # The name is free when it is asked for; nor is it the same project for who makes it anew.
    served.ask("root", "DELETE", "/projects/bank").expect(202)
    served.ask("platform", "POST", path, {"projects": ["bank"], "into": "demo"}).expect(403)
    served.ask("platform", "PUT", "/platform/projects/120", {"name": "Bank"}).expect(200)
    told = served.done(served.ask("platform", "POST", path, {"projects": ["bank"]}))
    assert (told["state"], "is not the project" in told["error"]) == ("failed", True)
    told = served.done(served.ask("root", "POST", path, {"projects": ["bank"]}))
    assert told["state"] == "done"
    # What can't be read fails, and the next is done.
    for each in (tmp_path / "backups").rglob("*"):
        if each.is_file() and "blobs" in each.parts:
            each.write_bytes(b"broken")
    told = served.done(served.ask("root", "POST", path, {"projects": ["shop"]}))
    assert told["state"] == "failed"
    again = served.ask("platform", "DELETE", path.removesuffix("/restore"))
    assert served.done(again)["ended"] is not None


async def test_a_removal_that_broke_off_is_ended_and_told(tmp_path, clock):
    config = load([], {}, {"storage.driver": "memory", "backup.target": str(tmp_path)})
    told = SimpleNamespace(events=(events := []), record=events.append)
    async with backups_of(config) as backups:
        left = b"left by a removal"
        await backups.pool.keep_bytes(Digest.of(left), left)
    record = wanted(clock, Kind.DELETE, backup="gone")
    with pytest.raises(Undoable):
        await _work(config, None, told, msgspec.structs.replace(record, tries=1))
    assert told.events == []
    done = await _work(config, None, told, msgspec.structs.replace(record, tries=2))
    assert done.done == {"blobs": 1}
    (event,) = told.events
    assert (event.action, event.subject) == ("backup.removed", "gone")


def test_nobody_else_asks(served):
    reply = served.ask("platform", "POST", "/platform/backups", {"projects": ["nobody"]})
    job = served.done(reply)
    assert (job["state"], job["error"]) == ("failed", "there is no project nobody")
    for method, path, body in (
        ("GET", "/platform/backups", None),
        ("POST", "/platform/backups", {}),
        ("POST", "/platform/backups/20261126T031500Z-5a2f10/restore", {"projects": ["x"]}),
        ("DELETE", "/platform/backups/20261126T031500Z-5a2f10", None),
        ("GET", "/platform/backup-jobs", None),
        ("GET", f"/platform/backup-jobs/{job['id']}", None),
    ):
        assert served.ask("stranger", method, path, body).status == 403, (method, path)
    (listed,) = served.ask("root", "GET", "/platform/backup-jobs").expect(200).json()["items"]
    assert listed["id"] == job["id"]
    missing = f"/platform/backup-jobs/{int(time.time()):013}.{'0' * 16}"
    served.ask("platform", "GET", missing).expect(404)
