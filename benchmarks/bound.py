"""What no registry can be faster than: a large layer that goes to the object store by itself.

`python -m benchmarks.bound [--rounds N] [--layer-size MIB]`. In each round, in turns, a layer goes
to this registry and to Distribution, both over one MinIO, and to MinIO with nothing between: in
parts of 16 MiB, two in flight, by `sendfile`, while a thread hashes as many bytes, as a registry
has to.
"""

import argparse
import contextlib
import http.client
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config

from benchmarks import sides, transfer
from benchmarks.content import MEBIBYTE, Layer, LayerSource, hash_file
from benchmarks.figures import Results, Sample
from benchmarks.report import figure_text, ratio_text
from benchmarks.run import rotated
from benchmarks.wire import AnswerError
from conformance.stores import ACCESS_KEY, SECRET_KEY, StoreProcess

PART = 16 * MEBIBYTE
IN_FLIGHT = 2
BUCKET = "bound"
WORK = "push"


class Direct:
    """Puts layers into a bucket, past any registry."""

    def __init__(self, store: StoreProcess) -> None:
        store.make_bucket(BUCKET)
        self._port = store.port
        self._client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=store.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def push(self, layer: Layer) -> float:
        """Seconds to put it there, and to hash it beside."""
        place = {"Bucket": BUCKET, "Key": layer.digest}
        upload = {**place, "UploadId": self._client.create_multipart_upload(**place)["UploadId"]}
        urls = [
            self._client.generate_presigned_url(
                "upload_part", Params={**upload, "PartNumber": number}
            )
            for number in range(1, layer.base_size * layer.repeats // PART + 1)
        ]
        parts = iter(list(enumerate(urls, 1)))  # threads share a list's iterator
        etags: dict[int, str] = {}
        tasks: list[Callable[[], object]] = [partial(self._put, layer, parts, etags)] * IN_FLIGHT
        tasks.append(partial(hash_file, layer.path, layer.base_size, layer.repeats))
        seconds = transfer.together(tasks)
        began = time.perf_counter()
        listed = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})
        seconds += time.perf_counter() - began
        self._client.delete_object(**place)
        return seconds

    def _put(self, layer: Layer, parts: Iterator[tuple[int, str]], etags: dict[int, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=transfer.TIMEOUT)
        with contextlib.closing(connection), layer.path.open("rb") as file:
            for number, url in parts:
                address = urlsplit(url)
                connection.putrequest("PUT", f"{address.path}?{address.query}")
                connection.putheader("Content-Length", str(PART))
                connection.endheaders()
                connection.sock.sendfile(file, (number - 1) * PART % layer.base_size, PART)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise AnswerError(f"part {number}: status {response.status}: {body[:300]!r}")
                etags[number] = response.headers["ETag"]


def main() -> None:
    """Print the seconds of each, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layer-size", type=int, default=1024, metavar="MIB")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bound-")))
        store = stack.enter_context(StoreProcess("minio", work))
        source = LayerSource(work / "layer", options.layer_size * MEBIBYTE, repeats=4)
        pushes: dict[str, Callable[[Layer], float]] = {"direct": Direct(store).push}
        for make in (sides.moorage, sides.distribution):
            folder = work / make.__name__
            folder.mkdir()
            side = make(folder, store)
            stack.callback(side.stop)
            pushes[side.name] = partial(_push, side)
        results = _measure(pushes, source, options.rounds)
    for name in pushes:
        ratio = results.ratio(WORK, name, "distribution", less_is_better=True)
        print(f"{name}: {figure_text(results.figure(WORK, name))} s {ratio_text(ratio)}".rstrip())


def _push(side: sides.Side, layer: Layer) -> float:
    began = time.perf_counter()
    transfer.push(side.endpoint, "bound/layer", layer)
    return time.perf_counter() - began


def _measure(
    pushes: Mapping[str, Callable[[Layer], float]], source: LayerSource, rounds: int
) -> Results:
    results = Results()
    for number in range(rounds + 1):
        for name in rotated(list(pushes), number):
            os.sync()
            seconds = pushes[name](source.layer())
            print(f"round {number}: {name} {seconds:.2f} s", flush=True)
            if number:  # the first one warms up
                results.samples.append(Sample(WORK, name, number, seconds))
    return results


if __name__ == "__main__":
    main()
