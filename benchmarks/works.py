"""The pieces of work, each measured on one side at a time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from benchmarks import seed, transfer, wrk
from benchmarks.content import MANIFEST_TYPE, Blob, Layer, LayerSource, image, image_of
from benchmarks.sides import Side
from benchmarks.wire import (
    Answer,
    AnswerError,
    Client,
    Conversation,
    Endpoint,
    converse,
    request,
    target_of,
)

SMALL = 4096


@dataclass(slots=True)
class Setting:
    """How much of everything a run does."""

    run: str
    source: LayerSource
    load_seconds: float = 5.0
    warm_seconds: float = 1.0
    pullers: int = 4
    pushers: int = 8
    pushes_each: int = 40
    push_seconds: float = 2.0
    manifest_puts: int = 100
    tags: int = 101
    page: int = 50
    round: int = 0
    notes: list[str] = field(default_factory=list)

    def repository(self, work: str) -> str:
        """A repository that this run and round have to themselves."""
        return f"bench-{self.run}/{work}-{self.round}"


Measure = Callable[[Setting, Side], float]


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table. `measure` prepares, times and verifies one round on one side."""

    name: str
    title: str
    unit: str
    measure: Measure
    less_is_better: bool = False
    needs_pushes: bool = False
    needs_wrk: bool = False


def push_layer(setting: Setting, side: Side, *, chunked: bool = False) -> float:
    """Seconds to push a large layer; it is then pulled to verify it, and removed."""
    layer, repository = setting.source.layer(), setting.repository("push")
    before = side.big_files(layer.size)
    start = time.perf_counter()
    transfer.push(side.endpoint, repository, layer, chunked=chunked)
    seconds = time.perf_counter() - start
    transfer.verify(side.endpoint, repository, layer)
    discard(side, repository, [layer], before)
    return seconds


def discard(side: Side, repository: str, layers: list[Layer], before: set[Path]) -> None:
    """Delete the layers by the API, then the files that it left (collected later, or never)."""
    for layer in layers:
        seed.delete_blob(side.endpoint, repository, layer.digest)
    if layers:
        for path in side.big_files(layers[0].size) - before:
            path.unlink(missing_ok=True)


def pull_layer(setting: Setting, side: Side) -> float:
    """Seconds for one client to pull the large layer."""
    repository, layer = _stored_layer(setting, side)
    transfer.verify(side.endpoint, repository, layer)
    return transfer.together([partial(transfer.pull, side.endpoint, repository, layer)])


def pull_by_many(setting: Setting, side: Side) -> float:
    """Megabytes a second that four clients pull together, each the whole layer."""
    repository, layer = _stored_layer(setting, side)
    transfer.verify(side.endpoint, repository, layer)
    one = partial(transfer.pull, side.endpoint, repository, layer)
    return setting.pullers * layer.size / 1e6 / transfer.together([one] * setting.pullers)


def manifest_by_tag(setting: Setting, side: Side) -> float:
    """Requests per second for one manifest by its tag, in a new repository with one tag."""
    repository, accept = setting.repository("manifest"), ("Accept", MANIFEST_TYPE)
    if side.takes_pushes:
        pushed = seed.put_image(side.endpoint, repository, "latest")
    else:
        pushed = image(note=repository)
        side.place_image(repository, "latest", pushed, ())
    target = f"/v2/{repository}/manifests/latest"
    return _load(setting, side, target, pushed.manifest, accept)


def small_blob(setting: Setting, side: Side) -> float:
    """Requests per second for one blob of 4 KiB, in a new repository."""
    repository, blob = setting.repository("blob"), Blob.random(SMALL)
    if side.takes_pushes:
        with Client(side.endpoint) as client:
            seed.put_blob(client, repository, blob)
    else:
        side.place(repository, "blobs", blob.digest, blob.data)
    return _load(setting, side, f"/v2/{repository}/blobs/{blob.digest}", blob.data)


def tags_page(setting: Setting, side: Side) -> float:
    """Requests per second for the first 50 of 101 tags."""
    repository = f"bench-{setting.run}/tags"
    if "tags" not in side.seeded:
        side.seeded["tags"] = seed.put_tags(side.endpoint, repository, setting.tags)
    tags = cast("list[str]", side.seeded["tags"])
    target = f"/v2/{repository}/tags/list?n={setting.page}"
    with Client(side.endpoint) as client:
        answer = client.ask("GET", target).expect(200)
    _same_tags(answer, tags[: setting.page])
    return _load(setting, side, target, answer.body)


def push_small_blobs(setting: Setting, side: Side) -> float:
    """Pushes per second (POST, PUT) of new 4 KiB blobs by 8 clients, 40 each, repeated for 2 s."""
    repository = setting.repository("small")
    done, seconds, sample = 0, 0.0, Blob.random(SMALL)
    while seconds < setting.push_seconds or not done:
        batches = [
            [Blob.random(SMALL) for _ in range(setting.pushes_each)] for _ in range(setting.pushers)
        ]
        sample = batches[-1][-1]
        clients = [_push_each(side.endpoint, repository, batch) for batch in batches]
        start = time.perf_counter()
        converse(side.endpoint, clients)
        seconds += time.perf_counter() - start
        done += setting.pushers * setting.pushes_each
    _same_body(side.endpoint, f"/v2/{repository}/blobs/{sample.digest}", sample.data)
    return done / seconds


def put_manifests(setting: Setting, side: Side) -> float:
    """Manifest PUTs per second, one after another, each a new manifest to a new tag."""
    repository = setting.repository("tagging")
    base = image(note=repository)
    config, *layers = base.blobs
    images = [image_of(config, tuple(layers), f"{n}") for n in range(setting.manifest_puts)]
    with Client(side.endpoint) as client:
        for blob in base.blobs:
            seed.put_blob(client, repository, blob)
        start = time.perf_counter()
        for number, pushed in enumerate(images):
            seed.put_manifest(client, repository, f"t{number}", pushed)
        seconds = time.perf_counter() - start
    last = f"/v2/{repository}/manifests/t{len(images) - 1}"
    _same_body(side.endpoint, last, images[-1].manifest, ("Accept", MANIFEST_TYPE))
    return len(images) / seconds


WORKS = (
    Work("push", "push of one layer", "s", push_layer, less_is_better=True, needs_pushes=True),
    Work(
        "push-chunked",
        "push of one layer, chunked",
        "s",
        partial(push_layer, chunked=True),
        less_is_better=True,
        needs_pushes=True,
    ),
    Work("pull", "pull of one layer, one client", "s", pull_layer, less_is_better=True),
    Work("pull-many", "pull of one layer, four clients", "MB/s", pull_by_many),
    Work("manifest", "GET manifest by tag", "req/s", manifest_by_tag, needs_wrk=True),
    Work("blob", "GET 4 KiB blob", "req/s", small_blob, needs_wrk=True),
    Work("tags", "tags/list?n=50 of 101", "req/s", tags_page, needs_pushes=True, needs_wrk=True),
    Work("push-small", "4 KiB blob pushes", "/s", push_small_blobs, needs_pushes=True),
    Work("put", "manifest PUT to a new tag", "/s", put_manifests, needs_pushes=True),
)


def _stored_layer(setting: Setting, side: Side) -> tuple[str, Layer]:
    repository = f"bench-{setting.run}/pull"
    if "layer" not in side.seeded:
        layer = setting.source.layer()
        if side.takes_pushes:
            transfer.push(side.endpoint, repository, layer)
        else:
            side.place(repository, "blobs", layer.digest, layer)
        side.seeded["layer"] = layer
    return repository, cast("Layer", side.seeded["layer"])


def _load(
    setting: Setting, side: Side, target: str, body: bytes, *headers: tuple[str, str]
) -> float:
    _same_body(side.endpoint, target, body, *headers)
    url = side.endpoint.url + target
    if setting.warm_seconds:
        wrk.run(url, setting.warm_seconds, *headers)
    rate = wrk.run(url, setting.load_seconds, *headers)
    _same_body(side.endpoint, target, body, *headers)
    return rate


def _push_each(endpoint: Endpoint, repository: str, blobs: list[Blob]) -> Conversation:
    binary = ("Content-Type", "application/octet-stream")
    start = request(endpoint, "POST", f"/v2/{repository}/blobs/uploads/")
    for blob in blobs:
        location = (yield start).expect(202).headers["location"]
        target = target_of(location, f"digest={blob.digest}")
        (yield request(endpoint, "PUT", target, blob.data, binary)).expect(201)


def _same_body(endpoint: Endpoint, target: str, body: bytes, *headers: tuple[str, str]) -> None:
    with Client(endpoint) as client:
        answer = client.ask("GET", target, b"", *headers).expect(200)
    if answer.body != body:
        raise AnswerError(f"GET {target}: {len(answer.body)} other bytes than were pushed")


def _same_tags(answer: Answer, tags: list[str]) -> None:
    if json.loads(answer.body)["tags"] != tags:
        raise AnswerError(f"GET tags/list: not the first {len(tags)} tags: {answer.body[:200]!r}")
    if "link" not in answer.headers:
        raise AnswerError("GET tags/list: a page that is not the last has no Link")
