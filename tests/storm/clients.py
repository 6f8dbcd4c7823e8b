"""Clients of the storm: they push, mount, delete and push again what they have just deleted.

Each has a repository of its own, so it knows what must be there: the oracle. Layers come from one
small pool, so that all of them are for ever at the same blobs.
"""

import json
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.oracle.content import digest_of, image, put_manifest, random_bytes, with_digest
from tests.oracle.wire import Client, ClosedError, Reply

POOL = [random_bytes(("storm", number), 100 if number % 3 else 90_000) for number in range(24)]
"""Small ones are kept in their pointers, large ones have bytes of their own."""

TRIES = 200


class Broken(AssertionError):
    """What was acknowledged or promised does not hold."""


class StormClient:
    """Does one thing after another until it is told to stop; ``check`` looks at what is left."""

    def __init__(self, number: int, addresses: Sequence[str], others: int, grace: float) -> None:
        self.random = random.Random(number)  # noqa: S311
        self.number = number
        self.addresses = addresses
        self.others = others
        self.grace = grace
        self.images: dict[str, tuple[bytes, list[bytes]]] = {}
        """By digest: the manifest, and its blobs."""

        self.deleted: list[tuple[bytes, list[bytes]]] = []
        self.done: Counter[str] = Counter()
        self.peers: Sequence[StormClient] = ()
        self._clients = [Client(address, timeout=30) for address in addresses]

    @property
    def repository(self) -> str:
        return repository(self.number)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            kind = self.random.choices(
                ["push", "again", "delete", "pull", "orphan", "abandon", "wipe", "derive"],
                [6, 4, 6, 4, 2, 1, 1, 4],
            )[0]
            getattr(self, f"_{kind}")()
            self.done[kind] += 1
            if len(self.images) > 6:
                self._delete()

    def check(self) -> None:
        for digest in list(self.images):
            self._check(digest)
        self._check_listed()

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _ask(self, method: str, target: str, *headers: tuple[str, str], body=None) -> Reply:
        """Ask any replica; again where it says that it can't answer now, as clients do."""
        for _ in range(TRIES):
            client = self.random.choice(self._clients)
            try:
                reply = client.request(method, target, headers, body=body)
            except (ClosedError, TimeoutError):
                self.done["closed"] += 1
                continue
            if reply.status not in (429, 503):
                return reply
            self.done[str(reply.status)] += 1
            time.sleep(0.1)
        raise Broken(f"{method} {target} was not answered")

    def _push(self) -> None:
        layers = self.random.sample(POOL, self.random.randint(1, 3))
        config = b'{"storm":%d}' % self.random.randrange(5)
        self._push_image(image(config, layers), [config, *layers])

    def _again(self) -> None:
        """Push what was deleted a moment ago."""
        if self.deleted:
            self._push_image(*self.deleted.pop())

    def _push_image(self, manifest: bytes, blobs: list[bytes]) -> None:
        for _ in range(10):
            told = time.monotonic()  # the first answer comes later, so this is on the safe side
            for data in blobs:
                self._provide(data)
            if self.random.random() < 0.3:
                time.sleep(self.random.random() * self.grace * 0.6)
            digest = digest_of(manifest)
            reply = self._put(manifest)
            if reply.status == 201:
                self.images[digest] = manifest, blobs
                self._check_listed()
                return
            reply.refused(404, "MANIFEST_BLOB_UNKNOWN")
            took = time.monotonic() - told
            if took < self.grace:
                raise Broken(f"blobs were taken back {took:.2f} s after they were promised")
            self.done["late"] += 1
        raise Broken("a push never came to its end")

    def _put(self, manifest: bytes) -> Reply:
        tag = f"t{self.random.randrange(3)}"
        for _ in range(TRIES):
            try:
                reply = put_manifest(
                    self.random.choice(self._clients), self.repository, tag, manifest
                )
            except (ClosedError, TimeoutError):
                self.done["closed"] += 1
                continue
            if reply.status != 503:
                return reply
            self.done["503"] += 1
            time.sleep(0.1)
        raise Broken("the manifest was not taken")

    def _provide(self, data: bytes) -> None:
        """As clients do: ask; else mount from a repository that may have it; else upload."""
        digest, url = digest_of(data), f"/v2/{self.repository}/blobs"
        if self._ask("HEAD", f"{url}/{digest}").status == 200:
            self.done["skipped"] += 1
            return
        source = repository(self.random.randrange(self.others))
        if self.random.random() < 0.6:
            reply = self._ask("POST", f"{url}/uploads/?mount={digest}&from={source}")
            if reply.status == 201:
                self.done["mounted"] += 1
                return
        else:
            reply = self._ask("POST", f"{url}/uploads/")
        for _ in range(20):
            location = reply.expect(202)["Location"]
            finished = self._ask("PUT", with_digest(location, digest), body=data)
            if finished.status == 201:
                self.done["uploaded"] += 1
                return
            finished.expect(404)  # the session is over: begin again
            reply = self._ask("POST", f"{url}/uploads/")
        raise Broken("an upload never came to its end")

    def _derive(self) -> None:
        """Have another client's image in the own repository, with no byte sent.

        It may be deleted meanwhile: then there is none, or not all of it, and nothing is told of.
        """
        other = self.random.choice(self.peers)
        images = dict(other.images)
        if not images:
            return
        digest = self.random.choice(sorted(images))
        path = f"/api/v1/repositories/{self.repository.replace('/', ':')}"
        wanted = {"repository": other.repository, "reference": digest}
        reply = self._ask(
            "PUT",
            f"{path}/tags/t{self.random.randrange(3)}",
            ("Content-Type", "application/json"),
            body=json.dumps(wanted).encode(),
        )
        if reply.status == 200:
            self.images[digest] = images[digest]
            self.done["derived"] += 1
            self._check(digest)
        else:
            reply.expect(404)
            self.done["not derived"] += 1

    def _delete(self) -> None:
        if not self.images:
            return
        digest = self.random.choice(sorted(self.images))
        reply = self._ask("DELETE", f"/v2/{self.repository}/manifests/{digest}")
        if reply.status != 404:  # an answer that was lost: it was deleted
            reply.expect(202)
        self.deleted.append(self.images.pop(digest))
        gone = self._ask("GET", f"/v2/{self.repository}/manifests/{digest}")
        gone.refused(404, "MANIFEST_UNKNOWN")

    def _wipe(self) -> None:
        """Delete the whole repository. Nobody else pushes to it."""
        path = "/api/v1/repositories/" + self.repository.replace("/", ":")
        reply = self._ask("DELETE", path)
        if reply.status != 404:  # there was none; or an answer that was lost: it was deleted
            assert reply.expect(200).json()["gone"]
        self.deleted += self.images.values()
        gone = sorted(self.images)
        self.images.clear()
        for digest in gone:
            found = self._ask("GET", f"/v2/{self.repository}/manifests/{digest}")
            found.refused(404, "MANIFEST_UNKNOWN")
        self._ask("GET", f"/v2/{self.repository}/tags/list").refused(404, "NAME_UNKNOWN")
        if self.repository in self._catalog():
            raise Broken(f"{self.repository} was deleted, and is in the catalog")

    def _check_listed(self) -> None:
        if self.images and self.repository not in self._catalog():
            raise Broken(f"{self.repository} has images, and is not in the catalog")

    def _catalog(self) -> list[str]:
        return self._ask("GET", "/v2/_catalog").expect(200).json()["repositories"]

    def _pull(self) -> None:
        if self.images:
            self._check(self.random.choice(sorted(self.images)))

    def _check(self, digest: str) -> None:
        manifest, blobs = self.images[digest]
        reply = self._ask("GET", f"/v2/{self.repository}/manifests/{digest}")
        if reply.status != 200 or reply.body != manifest:
            raise Broken(f"{self.repository}@{digest} was acknowledged: {reply}")
        for data in blobs:
            found = self._ask("GET", f"/v2/{self.repository}/blobs/{digest_of(data)}")
            if found.status != 200 or found.body != data:
                raise Broken(f"{self.repository}@{digest} lacks {digest_of(data)}: {found}")

    def _orphan(self) -> None:
        """Upload a blob for which no manifest comes."""
        self._provide(random_bytes((self.number, self.random.random()), 70_000))

    def _abandon(self) -> None:
        """Begin an upload, and cancel it or leave it."""
        reply = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/").expect(202)
        location = reply["Location"]
        self._ask("PATCH", location, body=random_bytes(self.random.random(), 1000))
        self._ask("DELETE", location)


class CraneClient:
    """A real client that copies images within the registry, under names of its own."""

    def __init__(self, address: str, clients: Sequence[StormClient]) -> None:
        self.program = shutil.which("crane", path=".tools/bin") or "crane"
        self.address = address
        self.clients = clients
        self.copied: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        self.random = random.Random("crane")  # noqa: S311

    def run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            client = self.random.choice(self.clients)
            images = sorted(client.images)
            if not images:
                continue
            digest = self.random.choice(images)
            number += 1
            target = f"{self.address}/crane/copies:{number % 20}"
            source = f"{self.address}/{client.repository}@{digest}"
            # Its source may be deleted meanwhile: then it fails, and nothing was acknowledged.
            if self._crane("copy", "--insecure", source, target).returncode == 0:
                self.copied[target] = digest
                self.done["crane copied"] += 1
            else:
                self.copied.pop(target, None)
                self.done["crane refused"] += 1

    def check(self) -> None:
        for target, digest in self.copied.items():
            with tempfile.TemporaryDirectory(prefix="storm-") as directory:
                # every layer is checked against its digest
                done = self._crane("pull", "--insecure", "--format=oci", target, directory)
                if done.returncode or digest not in Path(directory, "index.json").read_text():
                    raise Broken(f"crane could not pull {target} ({digest}): {done.stderr}")

    def _crane(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=120, check=False
        )


def repository(number: int) -> str:
    """The repository of a client."""
    return f"storm-{number}/images"


def blobs_of(manifest: bytes) -> set[str]:
    """What a manifest needs."""
    document = json.loads(manifest)
    return {each["digest"] for each in (document["config"], *document["layers"])}
