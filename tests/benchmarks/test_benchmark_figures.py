"""Medians, ratios, and the files that show them."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.figures import Range, Results, Sample
from benchmarks.report import Report, Row
from benchmarks.sides import Side
from benchmarks.wire import AnswerError, Endpoint

ROWS = [
    Row("get", "GET <tag>", "req/s", less_is_better=False),
    Row("push", "push", "s", less_is_better=True),
]


def results() -> Results:
    """Three rounds; in the last the reference failed."""
    samples = [Sample("get", "ours", r, v) for r, v in enumerate((30, 60, 90))]
    samples += [Sample("get", "theirs", r, v) for r, v in enumerate((10, 30))]
    samples += [Sample("push", "ours", 0, 2.0), Sample("push", "theirs", 0, 3.0)]
    return Results(samples, ["get on theirs, round 3: status 500"])


def report() -> Report:
    sides = [Side(name, Endpoint("127.0.0.1", 1)) for name in ("ours", "theirs")]
    return Report("Benchmark", ROWS, sides, "theirs", results(), {"machine": "a test"})


def test_ratio_pairs_the_rounds_that_both_sides_did():
    ratio = results().ratio("get", "ours", "theirs", less_is_better=False)
    assert ratio == Range(2.5, 2.0, 3.0)


def test_ratio_above_one_is_better_for_seconds_too():
    assert results().ratio("push", "ours", "theirs", less_is_better=True) == Range(1.5, 1.5, 1.5)


def test_ratio_to_itself_or_to_nothing_is_none():
    assert results().ratio("get", "ours", "ours", less_is_better=False) is None
    assert results().ratio("get", "ours", "absent", less_is_better=False) is None


def test_table_shows_median_range_ratio_and_failures():
    text = report().markdown()
    assert (
        "| GET <tag> | req/s | 60.0 [30.0 \N{EN DASH} 90.0] | 20.0 [10.0 \N{EN DASH} 30.0] |"
        in text
    )
    assert "**2.50\N{MULTIPLICATION SIGN}** [2.00 \N{EN DASH} 3.00]" in text
    assert "- get on theirs, round 3: status 500" in text


def test_written_files_are_well_formed_and_repeat_as_latest(tmp_path: Path):
    files = report().write(tmp_path)
    assert sorted(path.suffix for path in files) == [".json", ".md", ".svg"]
    assert len(json.loads((tmp_path / "latest.json").read_text())["samples"]) == 7
    picture = ET.fromstring((tmp_path / "latest.svg").read_text())  # noqa: S314  ours
    texts = [node.text or "" for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("GET <tag>") for text in texts)
    assert any("2.50" in text for text in texts)


WRK = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 32 connections
{extra}  1517 requests in 1.00s, 4.50MB read
Requests/sec:   1510.85
"""


def test_wrk_report_gives_its_rate():
    assert wrk.parse(WRK.format(extra="")) == pytest.approx(1510.85)


@pytest.mark.parametrize(
    "extra",
    [
        "  Non-2xx or 3xx responses: 12\n",
        "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    ],
)
def test_wrk_report_with_failures_is_an_error(extra: str):
    with pytest.raises(AnswerError):
        wrk.parse(WRK.format(extra=extra))


def test_wrk_report_without_requests_is_an_error():
    with pytest.raises(AnswerError):
        wrk.parse(WRK.format(extra="").replace("1517 requests", "0 requests"))
