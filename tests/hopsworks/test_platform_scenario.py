"""A platform's day, from the first project to the collector: all is real but the platform itself.

Replicas behind HAProxy with TLS, over MinIO and Redis. The base image holds the packages that this
very environment has, in layers as an installer would make them; crane pushes it, and adds libraries
to it. containerd pulls and unpacks what is served, by the pull secret of the project's namespace
or by the credential provider, both read by Kubernetes' own types.

As the suite runs it there are a few projects on two replicas; `make scenario` makes 50 on the whole
cluster from a base of 300 MB and more, and waits until the collector has taken what nothing needs.
"""

import contextlib
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from registry.service.webhooks.signature import HEADER, signature
from registry.spec.digest import Digest
from registry.spec.packages import CONDA
from tests.auth.tenants import PASSWORD, Caller, basic
from tests.clients.client import Crane
from tests.clients.content import LayoutWriter
from tests.clients.kubernetes import Accounts, Namespace
from tests.clients.secured import make_client, said
from tests.hopsworks import packages
from tests.hopsworks.node import Node, serve
from tests.hopsworks.packages import LIBRARIES, Library
from tests.hopsworks.platform import running_apart
from tests.hopsworks.site import Site, small, whole
from tests.oracle.content import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    digest_of,
    image,
    push_blob,
    put_manifest,
)

LONG = "MOORAGE_SCENARIO" in os.environ
PROJECTS, SIZE = (int(os.environ["MOORAGE_SCENARIO"]), 300_000_000) if LONG else (4, 3_000_000)
GRACE = 300
SECRET = "what the platform signs its events with"
BOOTSTRAP = "what makes the first administrator"
VERSION = "4.1.0.0"
FIRST = f"1-{VERSION}"
BASE = "hopsworks-base/python-app"

pytestmark = pytest.mark.timeout(3600 if LONG else 180)


class Day:
    """The registry, the platform, and what each project is to have."""

    def __init__(self, site: Site, there, accounts: Accounts, node: Node, home: Path) -> None:
        self.site, self.there, self.accounts, self.node = site, there, accounts, node
        self.home = home
        self.numbers: dict[str, int] = {}
        self.images: dict[str, dict[str, str]] = {}  # namespace -> tag -> digest
        self.namespaces: dict[str, Namespace] = {}
        self.added: dict[str, list[Library]] = {}  # namespace -> what it has beside the base
        self.clients: dict[str, Crane] = {}
        self.keys: dict[str, str] = {}

    # --- whoever asks ------------------------------------------------------------------------

    def ask(self, who: str | None, method: str, path: str, body: object = None, **headers: str):
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if body is not None:
            lines.append(("Content-Type", "application/json"))
        with self.caller(who) as caller:
            return caller.request(method, path, lines, data)

    def caller(self, who: str | None) -> Caller:
        return Caller(self.site.address, who, context=self.site.trust.context)

    def everywhere(self, who: str, path: str, status: int) -> list[str | None]:
        """Ask each replica; return the digests that they told."""
        digests = []
        for address in self.site.replicas:
            with Caller(address, who) as caller:
                told = caller.head(path, ("Accept", OCI_MANIFEST)).expect(status)
                digests.append(told.get("Docker-Content-Digest"))
        return digests

    def event(self, kind: str, number: int, **more: object):
        at = int(time.time() * 1000)
        body = {"id": f"{number}-{at}", "type": kind, "at": at, "project": number, **more}
        data = json.dumps(body).encode()
        header = {HEADER.replace("-", "_"): signature(SECRET, data, int(time.time()))}
        return self.ask(None, "POST", "/api/v1/platform/events", data, **header).expect(200).json()

    def user(self, name: str) -> str:
        """What a user of the platform shows: a key of it."""
        return basic("any", self.keys[name])

    def name(self, namespace: str, tag: str) -> str:
        return f"{self.site.address}/{namespace}:{tag}"

    # --- what the nodes do -------------------------------------------------------------------

    def login(self, namespace: str, of: str | None = None) -> tuple[str, str]:
        """What a kubelet gives to containerd; where there is no Secret, by the account's token."""
        nodes = self.namespaces[of or namespace]
        if nodes.secrets:
            return nodes.login(self.site.address)
        token = self.accounts.token(nodes.name)
        return self.accounts.login(self.site.address, self.name(namespace, FIRST), token)

    def pull(self, namespace: str, tag: str, of: str | None = None) -> None:
        """Pull as the nodes of the namespace do."""
        self.node.pull(self.name(namespace, tag), self.login(namespace, of))

    def serve(self, namespace: str) -> None:
        """Pull the last version, and read from what was unpacked."""
        *_, tag = self.images[namespace]
        self.pull(namespace, tag)
        with self.node.unpacked(self.name(namespace, tag)) as root:
            assert (root / packages.PYTHON).is_dir()
            assert (root / packages.HISTORY).read_text() == f"{namespace} {tag}\n"
            for library in self.added[namespace]:
                serve(root, library)

    def pulled(self) -> None:
        """What the node has is what was pushed."""
        pushed = {
            self.name(namespace, tag): digest
            for namespace, images in self.images.items()
            for tag, digest in images.items()
        }
        found = self.node.digests()
        assert found.items() <= pushed.items()
        assert {name.rpartition(":")[0] for name in found} == {
            f"{self.site.address}/{namespace}" for namespace in self.images
        }

    def hidden(self, namespace: str, of: str) -> None:
        """To the nodes of another project an image that is there is as one that is not."""
        login = self.login(namespace, of)
        said = self.node.refused(self.name(namespace, FIRST), login)
        assert said == self.node.refused(self.name("never-was", FIRST), login)
        self.everywhere(basic(*login), f"/v2/{namespace}/manifests/{FIRST}", 404)

    def unchanged(self) -> None:
        """Each tag leads where it did, at every replica."""
        for namespace, images in self.images.items():
            for tag, digest in images.items():
                told = self.everywhere(basic("platform"), f"/v2/{namespace}/manifests/{tag}", 200)
                assert set(told) == {digest}


@pytest.fixture
def site(request, tmp_path_factory):
    """Where the registry runs; what it is started with comes with the call."""
    home = tmp_path_factory.mktemp("site")

    def start(settings, arguments):
        if LONG:
            return whole(home, settings, arguments)
        redis = request.getfixturevalue("redis_servers").server()
        return small(home, settings, arguments, request.getfixturevalue("minio"), redis)

    return start


@pytest.fixture
def day(request, site, tmp_path):
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(running_apart())
        settings = {
            "AUTH__MODE": "projects",
            "AUTH__BOOTSTRAP_SECRET": BOOTSTRAP,
            "AUTH__HOPSWORKS__URL": there.url,
            "AUTH__HOPSWORKS__CACHE_SECONDS": "0",
            "PLATFORM__SERVICE": "user:platform",
            "PLATFORM__EVENTS_SECRET": SECRET,
            "ENVIRONMENTS__BASES": BASE,
            "RATES__ENABLED": "off",
        }
        if LONG:  # a short grace could be over in the midst of a push
            settings |= {
                "COLLECTION__GRACE_SECONDS": str(GRACE),
                "COLLECTION__UNDELETE_SECONDS": "0",
                "COLLECTION__INTERVAL_SECONDS": "1",
            }
        accounts = Accounts(tmp_path)
        registry = stack.enter_context(site(settings, accounts.arguments))
        for name in ("node", "root", "own10000", "sci10000", "gst10000"):
            (tmp_path / name).mkdir()
        node = Node(make_client("containerd", request, tmp_path / "node", registry))
        stack.callback(node.empty)
        day = Day(registry, there, accounts, node, tmp_path)
        for name in ("root", "own10000", "sci10000", "gst10000"):
            day.clients[name] = make_client("crane", request, tmp_path / name, registry)
            day.keys[name] = there.api_key(name)
        yield day


# --- what happens -------------------------------------------------------------------------------


def begin(day: Day) -> str:
    """The administrator, the platform's account, and its base image; return its digest."""
    first = {"secret": BOOTSTRAP, "name": "root", "password": PASSWORD}
    day.ask(None, "POST", "/api/v1/bootstrap", first).expect(201)
    root = basic("root")
    day.ask(root, "PUT", "/api/v1/users/platform", {"password": PASSWORD}).expect(201)
    wanted = {"owner": "user:root", "visibility": "internal"}
    day.ask(root, "PUT", "/api/v1/projects/hopsworks-base", wanted).expect(201)
    base = LayoutWriter(day.home / "base").packed(packages.base(day.home, SIZE))
    crane = day.clients["root"]
    crane.login("root", PASSWORD)
    crane.push(base, f"{day.site.address}/{BASE}:4.1.0")
    for name in ("own10000", "sci10000", "gst10000"):
        day.clients[name].login("any", day.keys[name])
    return base.digest


def create(day: Day, index: int, base: str) -> float:
    """A project with its environment, by one event; return the seconds that it took."""
    name = f"Project_{index}"
    namespace = name.lower()
    number = day.there.project(name, own10000="Data owner", sci10000="Data scientist")
    wanted = {"repository": BASE, "reference": "4.1.0", "tag": FIRST}
    began = time.perf_counter()
    said = day.event("project.created", number, name=name, environment=wanted)
    took = time.perf_counter() - began
    assert said["project"]["environment"]["digest"] == base
    day.numbers[namespace] = number
    day.images[namespace] = {FIRST: base}
    day.namespaces[namespace] = Namespace(namespace.replace("_", "-"))
    return took


def install(day: Day, namespace: str, minor: int, library: Library) -> None:
    """Add a library to the last version, as a data scientist."""
    *_, before = day.images[namespace]
    tag = f"1-4.1.0.{minor}"
    layer = day.home / f"{namespace}.tar"
    library.layer(layer, f"{namespace} {tag}\n")
    crane = day.clients["sci10000"]
    where = day.name(namespace, tag)
    said = crane.run("append", "-b", day.name(namespace, before), "-f", str(layer), "-t", where)
    day.added.setdefault(namespace, []).append(library)
    day.images[namespace][tag] = said.splitlines()[-1].rpartition("@")[2]


def let_pull(day: Day, namespace: str, index: int) -> None:
    """The project's namespace gets its Secret, or a place among the members for its accounts."""
    if index % 5 == 2:
        member = f"/api/v1/projects/{namespace}/members/group:prod/{day.namespaces[namespace].name}"
        day.ask(basic("platform"), "PUT", member, {"role": "guest"}).expect(201)
    else:
        issue(day, namespace, 600)


def issue(day: Day, namespace: str, overlap: int) -> None:
    """A pull secret, made or made anew."""
    path = f"/api/v1/projects/{namespace}/pull-secrets/kubelet"
    wanted = {"overlap_seconds": overlap}
    issued = day.ask(basic("platform"), "POST", path, wanted).expect(201).json()
    day.namespaces[namespace].apply(issued["manifest"])


def furnish(day: Day, index: int, namespace: str) -> None:
    """A library, every fifth project another one, and the nodes may pull."""
    install(day, namespace, 1, LIBRARIES[index % 5])
    if index % 5 == 0:
        install(day, namespace, 2, LIBRARIES[5])
    let_pull(day, namespace, index)


def list_packages(day: Day, namespace: str, tag: str, *added: Library) -> None:
    """What the platform knows after a build, pushed beside the image."""
    listed = packages.base_packages() + [packages.listed(each) for each in added]
    data = json.dumps(listed).encode()
    with day.caller(day.user("sci10000")) as caller:
        for each in (b"{}", data):
            push_blob(caller, namespace, each)
        path = f"/v2/{namespace}/manifests/{tag}"
        found = caller.get(path, ("Accept", OCI_MANIFEST)).expect(200).body
        subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(found), "size": len(found)}
        body = image(b"{}", [data], subject, artifactType=CONDA)
        put_manifest(caller, namespace, digest_of(body), body).expect(201)


def needed(day: Day) -> set[Digest]:
    """All content that a manifest of anybody needs."""
    found: set[Digest] = set()
    with day.caller(basic("platform")) as caller:
        for namespace, images in day.images.items():
            for tag in images:
                path = f"/v2/{namespace}/manifests/{tag}"
                manifest = caller.get(path, ("Accept", OCI_MANIFEST)).expect(200).json()
                blobs = (manifest["config"], *manifest["layers"])
                found |= {Digest.parse(each["digest"]) for each in blobs}
    return found


# --- the day ------------------------------------------------------------------------------------


def test_a_platforms_day(day, capsys):
    told = Told(capsys)
    base = begin(day)
    before = day.site.stored()
    assert before >= SIZE
    told(f"a base image of {before / 1e6:.0f} MB is pushed")
    took = [create(day, index, base) for index in range(PROJECTS)]
    assert day.site.stored() == before, "not a byte was copied"
    told(f"{PROJECTS} projects, each {1000 * statistics.median(took):.0f} ms in the median")
    projects = list(day.images)
    with ThreadPoolExecutor(4) as threads:  # a platform builds for several projects at once
        list(threads.map(partial(furnish, day), range(PROJECTS), projects))
    told("libraries are added, pull secrets issued")
    for namespace in projects:
        day.serve(namespace)
    day.pulled()
    told("versions are pulled, unpacked and served")

    shared, other, by_token, ended = projects[:4]
    look_at(day, shared)
    day.hidden(shared, of=other)
    share(day, shared, other)
    day.hidden(shared, of=by_token)
    rotate(day, other)
    remove_member(day, by_token)
    gone = end(day, ended)
    told("one is shared, a secret rotated, a member removed, a project deleted")
    if LONG:
        collected(day)
        told("the collector has taken what nothing needs")
    day.unchanged()
    day.node.empty()
    for namespace in day.images:
        day.serve(namespace)
    day.pull(shared, FIRST, of=other)
    day.pulled()
    told("all others are unchanged, and pulled again into an empty node")
    with day.caller(basic("platform")) as caller:
        listed = caller.get("/v2/_catalog?n=1000").expect(200).json()["repositories"]
        assert sorted(listed) == sorted([*day.images, BASE])
        for digest in gone:
            caller.head(f"/v2/{other}/blobs/{digest}").expect(404)


class Told:
    """Says what happened, and how long it took."""

    def __init__(self, capsys) -> None:
        self._capsys = capsys
        self._last = time.monotonic()

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        with self._capsys.disabled() if LONG else contextlib.nullcontext():
            print(f"\n{now - self._last:7.1f} s  {what}", end="", flush=True)
        self._last = now


def look_at(day: Day, namespace: str) -> None:
    """The platform is told what a version was built on and what it adds."""
    first, second, third = day.images[namespace]
    for tag, added in ((second, LIBRARIES[:1]), (third, (LIBRARIES[0], LIBRARIES[5]))):
        list_packages(day, namespace, tag, *added)
    versions = f"/api/v1/repositories/{namespace}/versions"
    owner = day.user("own10000")
    items = day.ask(owner, "GET", versions).expect(200).json()["items"]
    found = {each["tag"]: each for each in items}
    assert {each["base"]["tag"] for each in items} == {"4.1.0"}
    assert found[third]["previous"] == second
    assert found[first]["added_bytes"] == 0
    changes = day.ask(owner, "GET", f"{versions}/{third}/changes").expect(200).json()
    assert [each["name"] for each in changes["items"]] == [LIBRARIES[5].name]


def share(day: Day, shared: str, other: str) -> None:
    """What is shared can be pulled by the other project's nodes and users, and nothing more."""
    day.there.teams[day.numbers[other]]["gst10000"] = "Data owner"
    day.event("member.added", day.numbers[other], user="gst10000", role="Data owner")
    guest, image = day.clients["gst10000"], day.name(shared, FIRST)
    assert said(guest.run, "digest", image)
    path = f"/api/v1/projects/{shared}/shares/{other}"
    day.ask(day.user("own10000"), "PUT", path).expect(201)
    day.pull(shared, FIRST, of=other)
    # It may say before that it tries again.
    assert guest.run("digest", image).splitlines()[-1] == day.images[shared][FIRST]
    assert said(guest.run, "tag", image, "mine")
    day.unchanged()


def rotate(day: Day, namespace: str) -> None:
    """The secret before stays good for as long as was said; without a time, no replica takes it."""
    path = f"/v2/{namespace}/manifests/{FIRST}"
    first = day.login(namespace)
    issue(day, namespace, 600)
    second = day.login(namespace)
    assert first != second
    for login in (first, second):
        day.node.pull(day.name(namespace, FIRST), login)
        day.everywhere(basic(*login), path, 200)
    issue(day, namespace, 0)
    for login in (first, second):
        day.everywhere(basic(*login), path, 401)
        assert day.node.refused(day.name(namespace, FIRST), login)
    day.pull(namespace, FIRST)


def remove_member(day: Day, namespace: str) -> None:
    """Whoever is no member any more sees nothing, and the nodes go on pulling."""
    number, tag = day.numbers[namespace], f"/v2/{namespace}/manifests/{FIRST}"
    scientist = day.user("sci10000")
    day.everywhere(scientist, tag, 200)
    del day.there.teams[number]["sci10000"]
    day.event("member.removed", number, user="sci10000")
    day.everywhere(scientist, tag, 404)
    assert said(day.clients["sci10000"].run, "digest", day.name(namespace, FIRST))
    day.pull(namespace, FIRST)


def end(day: Day, namespace: str) -> list[str]:
    """Delete a project; return the layers that nobody else has."""
    number, path = day.numbers.pop(namespace), f"/v2/{namespace}/manifests/{FIRST}"
    images, login = day.images.pop(namespace), day.login(namespace)
    with day.caller(day.user("own10000")) as caller:
        own = {
            caller.get(f"/v2/{namespace}/manifests/{tag}", ("Accept", OCI_MANIFEST))
            .expect(200)
            .json()["layers"][-1]["digest"]
            for tag in list(images)[1:]
        }
    day.there.delete(number)
    empty(day, namespace)
    day.event("project.deleted", number)
    day.everywhere(day.user("own10000"), path, 404)
    day.everywhere(basic(*login), path, 401)
    assert day.node.refused(day.name(namespace, FIRST), login)
    return sorted(own)


def empty(day: Day, namespace: str) -> None:
    """Delete the images as `DockerRegistryMngrImpl` does: whichever tag is listed first, by the
    digest that one learns who knows Docker's type only. Every replica lists what is left, at once.
    """
    who, path = basic("platform"), f"/v2/{namespace}/tags/list"
    with day.caller(who) as caller:
        while tags := caller.get(path).expect(200).json()["tags"]:
            first = f"/v2/{namespace}/manifests/{tags[0]}"
            found = caller.head(first, ("Accept", DOCKER_MANIFEST)).expect(200)
            digest = found["Docker-Content-Digest"]
            caller.delete(f"/v2/{namespace}/manifests/{digest}").expect(202)
            for address in day.site.replicas:
                with Caller(address, who) as replica:
                    assert replica.get(path).expect(200).json()["tags"] == tags[1:]


def collected(day: Day) -> None:
    """Of the project that ended its own libraries go, and nothing else does."""
    expected, deadline = day.site.stored_of(needed(day)), time.monotonic() + 6 * GRACE
    while day.site.stored() > expected and time.monotonic() < deadline:
        time.sleep(2)
    assert day.site.stored() == expected
    time.sleep(10)
    assert day.site.stored() == expected
