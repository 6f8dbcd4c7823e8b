"""A platform's day, from the first project to the collector: all is real but the platform itself.

The base image holds the packages that this very environment has, in layers as an installer would
make them. As the suite runs it there are a few projects; `make scenario` makes 50 from a base of
300 MB and more, and waits until the collector has taken what nothing needs.
"""

import base64
import io
import json
import os
import statistics
import sysconfig
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.service.webhooks.signature import HEADER, signature
from tests.auth.tenants import PASSWORD, basic
from tests.hopsworks.platform import running_apart
from tests.oracle.content import digest_of, image, push_blob, put_manifest, random_bytes
from tests.oracle.wire import Client

LONG = "MOORAGE_SCENARIO" in os.environ
PROJECTS, SIZE = (50, 300_000_000) if LONG else (5, 3_000_000)
SECRET = "what the platform signs its events with"
BOOTSTRAP = "what makes the first administrator"
VERSION = "4.1.0.0"

pytestmark = pytest.mark.timeout(900 if LONG else 60)


def layers(size: int) -> Iterator[bytes]:
    """Tars of installed packages, until they have so many bytes."""
    paths = sysconfig.get_paths()
    sources = sorted([*Path(paths["purelib"]).iterdir(), *Path(paths["stdlib"]).iterdir()])
    total = 0
    while total < size:
        assert sources, "this environment is too small for the base image"
        told = io.BytesIO()
        with tarfile.open(fileobj=told, mode="w") as tar:
            while sources and told.tell() < size // 8:
                source = sources.pop()
                tar.add(source, f"opt/conda/{source.name}")
        total += len(told.getvalue())
        yield told.getvalue()


class Day:
    """The registry, the platform, and what each project is to have."""

    def __init__(self, server, there) -> None:
        self.address, self.there = server.address, there
        self.server = server
        self.images: dict[str, dict[str, bytes]] = {}  # namespace -> tag -> manifest
        self.pullers: dict[str, str] = {}
        self.keys = {user: there.api_key(user) for user in ("own10000", "sci10000")}

    def ask(self, who: str | None, method: str, path: str, body: object = None, **headers: str):
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if who is not None:
            lines.append(("Authorization", who))
        if body is not None:
            lines.append(("Content-Type", "application/json"))
        with Client(self.address) as client:
            return client.request(method, path, lines, data)

    def event(self, kind: str, number: int, **more: object):
        at = int(time.time() * 1000)
        body = {"id": f"{number}-{at}", "type": kind, "at": at, "project": number, **more}
        data = json.dumps(body).encode()
        header = {HEADER.replace("-", "_"): signature(SECRET, data, int(time.time()))}
        return self.ask(None, "POST", "/api/v1/platform/events", data, **header).expect(200).json()

    def user(self, name: str) -> str:
        return basic("any", self.keys[name])

    def client(self, who: str) -> "Authorized":
        return Authorized(self.address, who)

    def check(self, namespace: str, puller: str | None = None) -> None:
        """Pull all that a project has, as its nodes do, and look at each byte."""
        with self.client(puller or self.pullers[namespace]) as client:
            for tag, body in self.images[namespace].items():
                assert client.get(f"/v2/{namespace}/manifests/{tag}").expect(200).body == body
                for blob in [json.loads(body)["config"], *json.loads(body)["layers"]]:
                    data = client.get(f"/v2/{namespace}/blobs/{blob['digest']}").expect(200).body
                    assert digest_of(data) == blob["digest"]

    def refused(self, namespace: str, who: str) -> None:
        with self.client(who) as client:
            client.get(f"/v2/{namespace}/tags/list").refused(404, "NAME_UNKNOWN")

    def stored(self) -> int:
        """Bytes of content in the store."""
        data = self.server.data / "objects" / "data"
        return sum(each.stat().st_size for each in data.rglob("*") if each.is_file())


class Authorized(Client):
    def __init__(self, address: str, authorization: str) -> None:
        super().__init__(address)
        self.authorization = authorization

    def request(self, method, target, headers=(), body=None):
        shown = ("Authorization", self.authorization)
        return super().request(method, target, [*headers, shown], body)


@pytest.fixture
def day(registry_server, tmp_path):
    with running_apart() as there:
        settings = {
            "AUTH__MODE": "projects",
            "AUTH__BOOTSTRAP_SECRET": BOOTSTRAP,
            "AUTH__HOPSWORKS__URL": there.url,
            "AUTH__HOPSWORKS__CACHE_SECONDS": "0",
            "PLATFORM__SERVICE": "user:platform",
            "PLATFORM__EVENTS_SECRET": SECRET,
            "SERVER__PUBLIC_URL": "https://images.example.org",
            "RATES__ENABLED": "off",
            "COLLECTION__GRACE_SECONDS": "45",
            "COLLECTION__UNDELETE_SECONDS": "0",
            "COLLECTION__INTERVAL_SECONDS": "1",
        }
        server = registry_server(
            store="filesystem", data=tmp_path / "data", workers=2, settings=settings
        )
        yield Day(server, there)


def begin(day: Day) -> bytes:
    """The administrator, the platform's account, and its base image."""
    first = {"secret": BOOTSTRAP, "name": "root", "password": PASSWORD}
    day.ask(None, "POST", "/api/v1/bootstrap", first).expect(201)
    root = basic("root")
    day.ask(root, "PUT", "/api/v1/users/platform", {"password": PASSWORD}).expect(201)
    wanted = {"owner": "user:root", "visibility": "internal"}
    day.ask(root, "PUT", "/api/v1/projects/hopsworks-base", wanted).expect(201)
    repository = "hopsworks-base/python-app"
    with day.client(root) as client:
        made = list(layers(SIZE))
        for data in (b"{}", *made):
            push_blob(client, repository, data)
        body = image(b"{}", made)
        put_manifest(client, repository, "4.1.0", body).expect(201)
    return body


def create(day: Day, number: int, base: bytes) -> float:
    """A project with its environment, by one event; return the seconds that it took."""
    name = f"Project_{number}"
    there = day.there.project(name, own10000="Data owner", sci10000="Data scientist")
    wanted = {"repository": "hopsworks-base/python-app", "reference": "4.1.0"}
    began = time.perf_counter()
    said = day.event(
        "project.created", there, name=name, environment={**wanted, "tag": f"1-{VERSION}"}
    )
    took = time.perf_counter() - began
    assert said["project"]["environment"]["digest"] == digest_of(base)
    day.images[name.lower()] = {f"1-{VERSION}": base}
    return took


def install(day: Day, namespace: str, number: int) -> None:
    """A library: one layer on top, pushed by a data scientist."""
    library = random_bytes(f"{namespace} {number}", 200_000)
    with day.client(day.user("sci10000")) as client:
        body = json.loads(day.images[namespace][f"1-{VERSION}"])
        digest = push_blob(client, namespace, library)
        kind = "application/vnd.oci.image.layer.v1.tar"
        body["layers"].append({"mediaType": kind, "digest": digest, "size": len(library)})
        grown = json.dumps(body).encode()
        put_manifest(client, namespace, f"1-4.1.0.{number}", grown).expect(201)
    day.images[namespace][f"1-4.1.0.{number}"] = grown


def give_pull_secret(day: Day, namespace: str) -> None:
    """What the project's namespace gets, and what kubelet makes of it."""
    path = f"/api/v1/projects/{namespace}/pull-secrets/nodes"
    issued = day.ask(basic("platform"), "POST", path, {}).expect(201).json()
    config = base64.b64decode(issued["manifest"]["data"][".dockerconfigjson"])
    (shown,) = json.loads(config)["auths"].values()
    day.pullers[namespace] = f"Basic {shown['auth']}"


def test_a_platforms_day(day):
    base = begin(day)
    before = day.stored()
    assert before >= SIZE
    took = [create(day, number, base) for number in range(PROJECTS)]
    assert day.stored() == before, "not a byte was copied"
    if LONG:
        median = 1000 * statistics.median(took)
        print(f"\n{PROJECTS} projects from a base of {before / 1e6:.0f} MB: median {median:.0f} ms")
    namespaces = list(day.images)
    for namespace in namespaces:
        install(day, namespace, 1)
        give_pull_secret(day, namespace)
    for namespace in namespaces[:: 10 if LONG else 1]:
        day.check(namespace)

    shared, other, left, ended = namespaces[:4]
    day.refused(shared, day.pullers[other])
    owner = day.user("own10000")
    path = f"/api/v1/projects/{shared}/shares/{other}"
    day.ask(owner, "PUT", path).expect(201)
    day.check(shared, day.pullers[other])

    del day.there.teams[119 + namespaces.index(left)]["sci10000"]
    day.event("member.removed", 119 + namespaces.index(left), user="sci10000")
    day.refused(left, day.user("sci10000"))
    day.check(left)

    number = 119 + namespaces.index(ended)
    day.there.delete(number)
    day.event("project.deleted", number)
    day.refused(ended, owner)
    with day.client(day.pullers.pop(ended)) as client:
        client.get(f"/v2/{ended}/manifests/1-{VERSION}").expect(401)
    gone = day.images.pop(ended)["1-4.1.0.1"]
    if LONG:
        wait_until_collected(day, before + (PROJECTS - 1) * 200_000)
    for namespace in day.images:
        if not LONG or namespace in namespaces[::10]:
            day.check(namespace)
    with day.client(basic("platform")) as client:
        listed = client.get("/v2/_catalog?n=1000").expect(200).json()["repositories"]
        assert sorted(listed) == sorted([*day.images, "hopsworks-base/python-app"])
        digest = json.loads(gone)["layers"][-1]["digest"]
        client.head(f"/v2/{other}/blobs/{digest}").expect(404)


def wait_until_collected(day: Day, expected: int) -> None:
    """Of the project that ended its own library goes, and nothing else does."""
    deadline = time.monotonic() + 400
    while day.stored() > expected and time.monotonic() < deadline:
        time.sleep(1)
    assert day.stored() == expected
    time.sleep(10)
    assert day.stored() == expected
