"""A load of pushes, mounts, retags and deletions that keeps an oracle of all that was acknowledged.

Each `Pusher` is one client on a thread. It owns its repositories, so that for every name there is
one writer and the oracle needs no guesses: what was acknowledged must be there, what was refused
must not, and what was under way when the connection broke may be either. `verify` compares a
registry with that, byte by byte, and also what clients see when they follow names (lists, tags,
manifests, blobs) without any oracle: nothing that is listed may be half there.
"""

import contextlib
import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field

from tests.oracle.content import (
    OCI_MANIFEST,
    descriptor,
    digest_of,
    encode,
    image,
    put_manifest,
    random_bytes,
    with_digest,
)
from tests.oracle.wire import Client, Reply

SIZES = (0, 1, 700, 20_000, 65_536, 300_000, 2_500_000)
"""Sizes of blobs in bytes: inline, in one block, in several."""


@dataclass
class Upload:
    """A session that was left open: what is sure to be in it, and what may be."""

    repository: str
    location: str
    data: bytes
    acknowledged: int = 0
    sent: int = 0


@dataclass
class Ledger:
    """What one client was told."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tags: dict[tuple[str, str], set[str | None]] = field(default_factory=dict)
    """What a tag may name now: one digest when its last change was acknowledged."""

    uploads: list[Upload] = field(default_factory=list)
    acknowledged: int = 0
    broken: int = 0
    """Requests whose answer never came."""

    unavailable: int = 0
    """Answers 503: nothing is known, the client tries again."""


class BrokenError(Exception):
    """No answer came, or one that says nothing."""


class Pusher:
    """One client: a random walk over what clients do, from a seed."""

    def __init__(self, address: str, name: str, seed: int, *, fresh: bool = True) -> None:
        self.ledger = Ledger()
        self.errors: list[str] = []
        self._chance = random.Random(seed)  # noqa: S311
        self._client = Client(address, fresh=fresh, timeout=15)
        self._repositories = [f"load/{name}", f"load/{name}/mounted"]
        self._count = 0
        self._seed = seed

    def run(self, stop: threading.Event) -> None:
        """Push until told to stop; after a broken connection try something else."""
        with self._client:
            self._run(stop)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._step()
            except (BrokenError, OSError, http.client.HTTPException):
                self.ledger.broken += 1
                self._client.close()
                time.sleep(0.02)
            except AssertionError as error:
                self.errors.append(str(error))
                return

    def _step(self) -> None:
        choice = self._chance.random()
        if choice < 0.55:
            self._push_image()
        elif choice < 0.65:
            self._delete_tag()
        elif choice < 0.75:
            self._mount()
        elif choice < 0.85:
            self._leave_upload_open()
        else:
            self._push_blob(self._repositories[0], self._blob())

    def _blob(self) -> bytes:
        self._count += 1
        return random_bytes((self._seed, self._count), self._chance.choice(SIZES))

    def _answered(self, reply: Reply, *statuses: int) -> Reply:
        if reply.status == 503:
            self.ledger.unavailable += 1
            raise BrokenError
        assert reply.status in statuses, f"{reply.status} instead of {statuses}: {reply}"
        self.ledger.acknowledged += 1
        return reply

    def _push_blob(self, repository: str, data: bytes) -> str:
        """Push by one of the ways that clients have."""
        digest = digest_of(data)
        uploads = f"/v2/{repository}/blobs/uploads/"
        way = self._chance.randrange(4)
        if way == 0:
            self._answered(self._client.post(f"{uploads}?digest={digest}", body=data), 201)
        else:
            location = self._answered(self._client.post(uploads), 202)["Location"]
            rest = data
            if way == 2:
                pieces = (data[at : at + 50_000] for at in range(0, len(data), 50_000))
                location = self._answered(self._client.patch(location, body=pieces), 202)[
                    "Location"
                ]
                rest = b""
            elif way == 3 and data:
                step = max(1, len(data) // 3)
                for at in range(0, len(data), step):
                    chunk = data[at : at + step]
                    span = ("Content-Range", f"{at}-{at + len(chunk) - 1}")
                    location = self._answered(self._client.patch(location, span, body=chunk), 202)[
                        "Location"
                    ]
                rest = b""
            self._answered(self._client.put(with_digest(location, digest), body=rest), 201)
        self.ledger.blobs[repository, digest] = data
        return digest

    def _push_image(self) -> None:
        repository = self._repositories[0]
        config = encode({"seed": self._seed, "number": self._count})
        layers = [self._blob() for _ in range(self._chance.randint(0, 2))]
        for data in (config, *layers):
            self._push_blob(repository, data)
        known = [key[1] for key in self.ledger.manifests if key[0] == repository]
        subject = None
        if known and self._chance.random() < 0.3:
            chosen = self._chance.choice(known)
            stored = self.ledger.manifests[repository, chosen]
            subject = descriptor(stored, OCI_MANIFEST)
        manifest = image(config, layers, subject=subject)
        digest = digest_of(manifest)
        tags = [f"t{self._chance.randrange(8)}" for _ in range(self._chance.randint(0, 2))]
        tags = list(dict.fromkeys(tags))
        for tag in tags:
            self.ledger.tags.setdefault((repository, tag), {None}).add(digest)
        if len(tags) == 1:
            reply = put_manifest(self._client, repository, tags[0], manifest)
        else:
            reply = put_manifest(self._client, repository, digest, manifest, tags=tags)
        self._answered(reply, 201)
        self.ledger.manifests[repository, digest] = manifest
        for tag in tags:
            self.ledger.tags[repository, tag] = {digest}

    def _delete_tag(self) -> None:
        if not self.ledger.tags:
            return
        repository, tag = self._chance.choice(sorted(self.ledger.tags))
        self.ledger.tags[repository, tag].add(None)
        reply = self._client.delete(f"/v2/{repository}/manifests/{tag}")
        self._answered(reply, 202, 404)
        self.ledger.tags[repository, tag] = {None}

    def _mount(self) -> None:
        source, target = self._repositories
        known = [digest for repository, digest in self.ledger.blobs if repository == source]
        if not known:
            return
        digest = self._chance.choice(known)
        query = f"?mount={digest}&from={source}"
        self._answered(self._client.post(f"/v2/{target}/blobs/uploads/{query}"), 201)
        self.ledger.blobs[target, digest] = self.ledger.blobs[source, digest]

    def _leave_upload_open(self) -> None:
        repository = self._repositories[0]
        self._count += 1
        data = random_bytes((self._seed, self._count), 400_000)
        reply = self._answered(self._client.post(f"/v2/{repository}/blobs/uploads/"), 202)
        upload = Upload(repository, reply["Location"], data)
        self.ledger.uploads.append(upload)
        for _ in range(self._chance.randint(1, 3)):
            at = upload.acknowledged
            chunk = data[at : at + 100_000]
            span = ("Content-Range", f"{at}-{at + len(chunk) - 1}")
            upload.sent = at + len(chunk)
            self._answered(self._client.patch(upload.location, span, body=chunk), 202)
            upload.acknowledged = upload.sent


@contextlib.contextmanager
def pushing(address: str, clients: int, seed: int, prefix: str = "c"):
    """Let so many clients push, and give them; they have stopped when the context is left."""
    stop = threading.Event()
    pushers = [
        Pusher(address, f"{prefix}{number}", seed * 1000 + number, fresh=number % 2 == 0)
        for number in range(clients)
    ]
    threads = [threading.Thread(target=each.run, args=(stop,), daemon=True) for each in pushers]
    for thread in threads:
        thread.start()
    try:
        yield pushers
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"


def verify(client: Client, ledger: Ledger) -> None:
    """Check that all that the ledger says was acknowledged is there, whole, and nothing else."""
    for (repository, digest), data in ledger.blobs.items():
        reply = client.get(f"/v2/{repository}/blobs/{digest}").expect(200)
        assert reply.body == data, f"{repository}@{digest} has other bytes"
    for (repository, digest), manifest in ledger.manifests.items():
        reply = client.get(f"/v2/{repository}/manifests/{digest}").expect(200)
        assert reply.body == manifest, f"{repository}@{digest} has other bytes"
        subject = json.loads(manifest).get("subject")
        if subject:
            target = f"/v2/{repository}/referrers/{subject['digest']}"
            listed = client.get(target).expect(200).json()["manifests"]
            assert digest in {each["digest"] for each in listed}, f"{digest} is no referrer"
    for (repository, tag), allowed in ledger.tags.items():
        reply = client.get(f"/v2/{repository}/manifests/{tag}")
        found = reply["Docker-Content-Digest"] if reply.status == 200 else None
        assert reply.status in (200, 404), reply
        assert found in allowed, f"{repository}:{tag} names {found}, not one of {allowed}"


def verify_names(client: Client) -> int:
    """Check that whatever can be found by following names is whole; give the number of tags."""
    tags = 0
    for repository in client.get("/v2/_catalog").expect(200).json()["repositories"]:
        for tag in client.get(f"/v2/{repository}/tags/list").expect(200).json()["tags"]:
            tags += 1
            reply = client.get(f"/v2/{repository}/manifests/{tag}").expect(200)
            assert digest_of(reply.body) == reply["Docker-Content-Digest"]
            document = reply.json()
            for blob in [document["config"], *document["layers"]]:
                content = client.get(f"/v2/{repository}/blobs/{blob['digest']}").expect(200).body
                assert digest_of(content) == blob["digest"]
                assert len(content) == blob["size"]
    return tags


def finish_uploads(client: Client, ledger: Ledger) -> int:
    """Go on with each open upload from where GET says, and finish it; give their number.

    What was acknowledged is in it; what was under way may be.
    """
    finished = 0
    for upload in ledger.uploads:
        reply = client.get(upload.location)
        if upload.acknowledged == 0 and reply.status == 404:
            continue
        offset = int(reply.expect(204)["Range"].partition("-")[2]) + 1
        if upload.acknowledged == 0 and offset == 1:
            offset = 0  # 0-0 stands for nothing too, and no chunk here has one byte
        assert upload.acknowledged <= offset <= upload.sent, (upload.acknowledged, offset)
        span = ("Content-Range", f"{offset}-{len(upload.data) - 1}")
        client.patch(upload.location, span, body=upload.data[offset:]).expect(202)
        digest = digest_of(upload.data)
        client.put(with_digest(upload.location, digest)).expect(201)
        ledger.blobs[upload.repository, digest] = upload.data
        finished += 1
    ledger.uploads.clear()
    return finished
