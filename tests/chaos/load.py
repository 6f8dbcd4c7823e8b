"""The load that faults are put under: clients that retry as docker does, and probes that don't.

A `Customer` keeps a ledger of all that it was told, and is the only writer of its repository, so
the ledger needs no guesses (tests/oracle/load.py compares it with the registry in the end). A
`Probe` sends one small request after another and keeps when each was answered. `Crane` runs a real
client, command by command.
"""

import http.client
import itertools
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
from tests.oracle.load import Ledger
from tests.oracle.wire import Client, Reply

ATTEMPTS = 5
"""How often docker tries to move a layer (moby: maxDownloadAttempts, maxUploadAttempts)."""

PAUSE = 1.0
"""Seconds of the first pause between attempts, each later one as much longer; docker's are 5."""

SIZES = (900, 20_000, 65_537, 400_000, 2_000_000)


class FailedError(Exception):
    """All attempts failed; the message is the last one's end."""


class Wrong(AssertionError):
    """What was acknowledged is gone, or other bytes came."""


@dataclass
class Told:
    """What a client has seen that is no mistake, but a cost."""

    requests: int = 0
    retried: int = 0
    slowest: float = 0.0
    pushes: int = 0
    pulls: int = 0
    failed_pushes: list[str] = field(default_factory=list)
    failed_pulls: list[str] = field(default_factory=list)


class Customer:
    """One client: pushes, pulls and deletes at random, from a seed.

    `observe` is told of each request: begin and end (monotonic seconds), and whether it was served.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        seed: int,
        observe: Callable[[float, float, bool], None] = lambda *_: None,
    ) -> None:
        self.ledger = Ledger()
        self.told = Told()
        self.wrong: list[str] = []
        self._repository = f"chaos/{name}"
        self._chance = random.Random(seed)  # noqa: S311
        self._seed = seed
        self._count = 0
        self._client = client
        self._observe = observe

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop, or until something is wrong."""
        with self._client:
            while not stop.is_set() and not self.wrong:
                try:
                    self._step()
                except Wrong as error:
                    self.wrong.append(f"{time.strftime('%H:%M:%S')} {error}")

    def _step(self) -> None:
        choice = self._chance.random()
        try:
            if choice < 0.5 or not self.ledger.manifests:
                self._push()
                self.told.pushes += 1
            elif choice < 0.9:
                self._pull()
                self.told.pulls += 1
            else:
                self._delete_tag()
        except FailedError as error:
            kind = self.told.failed_pulls if 0.5 <= choice < 0.9 else self.told.failed_pushes
            kind.append(str(error))

    def _push(self) -> None:
        self._count += 1
        config = encode({"seed": self._seed, "number": self._count})
        layer = random_bytes((self._seed, self._count), self._chance.choice(SIZES))
        for data in (config, layer):
            self._patiently(lambda data=data: self._push_blob(data))
            self.ledger.blobs[self._repository, digest_of(data)] = data
        manifest = image(config, [layer])
        tag, digest = f"t{self._chance.randrange(4)}", digest_of(manifest)
        key = (self._repository, tag)
        self.ledger.tags.setdefault(key, {None}).add(digest)
        self._patiently(
            lambda: self._expect(
                lambda: put_manifest(self._client, self._repository, tag, manifest), 201
            )
        )
        self.ledger.tags[key] = {digest}
        self.ledger.manifests[self._repository, digest] = manifest

    def _push_blob(self, data: bytes) -> None:
        """As docker does: HEAD, POST, one PATCH that streams, PUT."""
        digest, client = digest_of(data), self._client
        target = f"/v2/{self._repository}/blobs"
        if self._expect(lambda: client.head(f"{target}/{digest}"), 200, 404).status == 200:
            return
        place = self._expect(lambda: client.post(f"{target}/uploads/"), 202)["Location"]
        pieces = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
        place = self._expect(lambda: client.patch(place, body=pieces), 202)["Location"]
        self._expect(lambda: client.put(with_digest(place, digest)), 201)

    def _pull(self) -> None:
        """A tag or a digest that was acknowledged, and all that it names."""
        repository, client = self._repository, self._client
        sure = {tag: want for (_, tag), want in self.ledger.tags.items() if len(want) == 1}
        tags = [tag for tag, (digest,) in sure.items() if digest is not None]
        if tags and self._chance.random() < 0.7:
            reference = self._chance.choice(sorted(tags))
            (digest,) = sure[reference]
        else:
            reference = digest = self._chance.choice([key[1] for key in self.ledger.manifests])
        target = f"/v2/{repository}/manifests/{reference}"
        reply = self._patiently(lambda: self._expect(lambda: client.get(target), 200, 404))
        if reply.status == 404 or digest_of(reply.body) != digest:
            found = digest_of(reply.body) if reply.status == 200 else "nothing"
            raise Wrong(f"{repository}:{reference} names {found}, not {digest}")
        document = json.loads(reply.body)
        for each in (document["config"], *document["layers"]):
            blob = f"/v2/{repository}/blobs/{each['digest']}"
            reply = self._patiently(
                lambda blob=blob: self._expect(lambda: client.get(blob), 200, 404)
            )
            if reply.status == 404 or digest_of(reply.body) != each["digest"]:
                raise Wrong(f"{blob}: {reply}")

    def _delete_tag(self) -> None:
        (repository, tag) = key = self._chance.choice(sorted(self.ledger.tags))
        self.ledger.tags[key].add(None)
        target = f"/v2/{repository}/manifests/{tag}"
        self._patiently(lambda: self._expect(lambda: self._client.delete(target), 202, 404))
        self.ledger.tags[key] = {None}

    def _expect(self, send: Callable[[], Reply], *statuses: int) -> Reply:
        """Send one request; ``OSError`` where it was not answered, or only with a 5xx."""
        began, served = time.monotonic(), False
        self.told.requests += 1
        try:
            reply = send()
            served = reply.status < 500
        finally:
            ended = time.monotonic()
            self.told.slowest = max(self.told.slowest, ended - began)
            self._observe(began, ended, served)
        if reply.status >= 500:
            raise OSError(f"{reply.status} {reply.body[:200]!r}")
        if reply.status not in statuses:
            raise Wrong(f"{reply.status} instead of {statuses}: {reply}")
        return reply

    def _patiently(self, transfer: Callable[[], Reply | None]) -> Reply:
        ended = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.told.retried += 1
                time.sleep(PAUSE * attempt)
            try:
                return transfer()  # type: ignore[return-value]
            except (OSError, http.client.HTTPException) as error:
                self._client.close()
                ended = f"{time.strftime('%H:%M:%S')} {error!r}"
        raise FailedError(ended)


@dataclass
class Probe:
    """One request again and again, never a second attempt: when it failed, and for how long."""

    send: Callable[[], Reply]
    statuses: tuple[int, ...]
    answered: list[tuple[float, float, bool]] = field(default_factory=list)
    """Begin and end of each request (monotonic seconds), and whether it was served."""

    failures: list[str] = field(default_factory=list)
    """When those began that were not, how long they took, and what came of them."""

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop."""
        while not stop.is_set():
            began, at = time.monotonic(), time.strftime("%H:%M:%S")
            try:
                answer = self.send()
                came, served = (
                    f"{answer.status} {answer.body[:200]!r}",
                    answer.status in self.statuses,
                )
            except (OSError, AssertionError) as error:
                came, served = repr(error), False
            ended = time.monotonic()
            self.answered.append((began, ended, served))
            if not served:
                self.failures.append(f"{at}, after {ended - began:.1f} s: {came}")
            stop.wait(0.05)

    @property
    def failed(self) -> int:
        """Requests that were not served."""
        return sum(not served for *_, served in self.answered)

    @property
    def errors_lasted(self) -> float:
        """The longest time from the begin of a failed request to the end of the next served one."""
        longest, since = 0.0, None
        for began, ended, served in self.answered:
            if not served and since is None:
                since = began
            elif served and since is not None:
                longest, since = max(longest, ended - since), None
        return max(longest, self.answered[-1][1] - since) if since is not None else longest

    @property
    def silence(self) -> float:
        """The longest time between the ends of two served requests."""
        ends = [ended for _, ended, served in self.answered if served]
        return max((later - earlier for earlier, later in itertools.pairwise(ends)), default=0.0)


def reading(client: Client, repository: str) -> Probe:
    """Get a manifest by its tag, of a repository of its own."""
    manifest = image(encode({"probe": "read"}))
    client_push(client, repository, [encode({"probe": "read"})])
    put_manifest(client, repository, "stable", manifest).expect(201)
    return Probe(lambda: client.get(f"/v2/{repository}/manifests/stable"), (200,))


def writing(client: Client, repository: str) -> Probe:
    """Move a tag, to one manifest and the other, in a repository of its own."""
    configs = [encode({"probe": number}) for number in range(2)]
    client_push(client, repository, configs)
    manifests = [image(config) for config in configs]

    def send() -> Reply:
        manifests.reverse()
        return put_manifest(client, repository, "moving", manifests[0])

    return Probe(send, (201,))


def client_push(client: Client, repository: str, contents: Iterable[bytes]) -> None:
    """Push small blobs, each in one request."""
    for data in contents:
        target = f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}"
        client.post(target, body=data).expect(201)


class Crane:
    """A real client: pushes a new image and pulls it, one command after another.

    `environment` and `options` are for its commands.
    """

    def __init__(
        self,
        program: str,
        address: str,
        *,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = ("--insecure",),
    ) -> None:
        self.commands = 0
        self.failed: list[str] = []
        self._program = program
        self._address = address
        self._environment = environment or {}
        self._options = options

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop."""
        with tempfile.TemporaryDirectory(prefix="crane-") as directory:
            number = 0
            while not stop.is_set():
                number += 1
                layout, back = Path(directory, f"{number}"), Path(directory, f"{number}-back")
                digest = write_layout(layout, number)
                name = f"{self._address}/chaos/crane:{number % 5}"
                if self._command(directory, "push", str(layout), name) and self._command(
                    directory,
                    "pull",
                    "--format=oci",
                    f"{name.rsplit(':', 1)[0]}@{digest}",
                    str(back),
                ):
                    assert (back / "blobs" / "sha256" / digest[7:]).is_file()

    def _command(self, home: str, *arguments: str) -> bool:
        self.commands += 1
        done = subprocess.run(
            [self._program, *self._options, *arguments],
            env={"HOME": home, "PATH": "/usr/bin:/bin"} | dict(self._environment),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            self.failed.append(f"{time.strftime('%H:%M:%S')} {arguments[0]}: {done.stderr[-500:]}")
        return done.returncode == 0


@contextmanager
def at_work(*workers):
    """Let them run, each on a thread, until the context is left."""
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,), daemon=True) for each in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(200)
            assert not thread.is_alive(), "a client hangs"


def write_layout(directory: Path, number: int) -> str:
    """Write an OCI layout with one image; return the manifest's digest."""
    config = encode({"architecture": "amd64", "os": "linux", "number": number, "at": time.time()})
    layer = random_bytes(("crane", number, time.time()), 100_000)
    manifest = image(config, [layer])
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for data in (config, layer, manifest):
        (blobs / digest_of(data)[7:]).write_bytes(data)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = descriptor(manifest, OCI_MANIFEST)
    (directory / "index.json").write_bytes(encode({"schemaVersion": 2, "manifests": [entry]}))
    return digest_of(manifest)
