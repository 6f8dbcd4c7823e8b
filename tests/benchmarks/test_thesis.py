"""The thesis's experiment: a small run, what it counts as failed, and what it says of times."""

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import sides
from benchmarks.thesis.__main__ import main
from benchmarks.thesis.images import Images
from benchmarks.thesis.load import Course, Sample, _slices
from benchmarks.thesis.report import Report, Spread
from benchmarks.wire import Endpoint


@pytest.mark.timeout(60)
def test_run_writes_samples_and_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- filesystem -->\nold\n<!-- end -->\nafter\n")
    size = ["--images", "3", "--concurrency", "2", "--base-kib", "80", "--layer-kib", "3"]
    places = ["--work-dir", str(tmp_path), "--results", str(tmp_path), "--document", str(page)]
    assert main([*size, *places, "--side", "moorage"]) == 0, capsys.readouterr().err
    samples = json.loads((tmp_path / "thesis-filesystem.json").read_text())["samples"]
    done = {(s["phase"], s["level"], s["iteration"]) for s in samples}
    assert done == {(p, 2, n) for p in ("push", "pull") for n in range(3)}
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert (tmp_path / "thesis-filesystem.svg").read_text().count("at a time") == 2


class Broken(BaseHTTPRequestHandler):
    """Answers the ping, and nothing else."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def broken() -> Iterator[Endpoint]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Endpoint("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join()


def test_registry_that_refuses_fails_every_image(broken: Endpoint):
    course = Course([sides.Side("broken", broken)], Images("r", 100, 100), 3)
    with asyncio.Runner() as runner:
        course.level(2, 0, runner)
    assert [s.failure and "status 500" in s.failure for s in course.samples] == [True] * 6


def test_no_registry_at_all_fails_every_image(unused_tcp_port: int):
    gone = sides.Side("gone", Endpoint("127.0.0.1", unused_tcp_port))
    course = Course([gone], Images("r", 100, 100), 3)
    with asyncio.Runner() as runner:
        course.level(2, 0, runner)
    assert [s.failure is not None for s in course.samples] == [True] * 6


def test_images_share_their_base_and_nothing_else():
    images = Images("r", 100, 100)
    one, two = (images.new(images.place(1, n)) for n in range(2))
    assert [a.digest == b.digest for a, b in zip(one.blobs, two.blobs, strict=True)] == [
        False,
        True,
        False,
    ]
    assert all(blob == type(blob).of(blob.data) for blob in one.blobs)


def test_percentiles_are_of_what_did_not_fail():
    samples = [Sample("push", "a", 1, n, (n + 1) / 1e3) for n in range(100)]
    spread = Spread.of([*samples, Sample("push", "a", 1, 100, 9.0, "status 500")])
    assert (spread.median, spread.p90, spread.p99, spread.most, spread.failed) == (
        50,
        90,
        99,
        100,
        1,
    )
    assert math.isnan(Spread.of([]).median)


def test_report_names_what_does_not_hold():
    def series(phase, side, seconds, failure=None):
        return [Sample(phase, side, 1, n, seconds, failure) for n in range(3)]

    slower = series("push", "a", 0.2) + series("push", "b", 0.1)
    failed = series("pull", "a", 0.1, "status 500") + series("pull", "b", 0.1)
    report = Report(["a", "b"], [1], slower + failed, {})
    assert [miss.partition(":")[2].split()[0] for miss in report.misses()] == [
        "median",
        "p99",
        "3",
        "median",
        "p99",
    ]
    good = series("push", "a", 0.1) + series("push", "b", 0.2)
    good += series("pull", "a", 0.1) + series("pull", "b", 0.2)
    assert Report(["a", "b"], [1], good, {}).misses() == []


@pytest.mark.parametrize(
    ("count", "level", "sizes"),
    [
        (1000, 100, [200] * 5),
        (1000, 1, [50] * 20),
        (120, 50, [120]),
        (250, 50, [125, 125]),
        (5, 1, [3, 2]),
        (3, 9, [3]),
    ],
)
def test_slices_are_equal_and_long_enough_for_the_level(count, level, sizes):
    slices = _slices(count, level)
    assert [len(each) for each in slices] == sizes
    assert [number for each in slices for number in each] == list(range(count))
