"""The dashboard's panels, asked of a real Prometheus and drawn as Grafana would lay them out."""

import contextlib
import http.client
import json
import math
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from conformance.server import free_port

RATE = "20s"
"""What Grafana would put for `$__rate_interval`: four scrapes, and more."""

_COLOURS = (
    *("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1"),
    *("#ba43a9", "#705da0", "#508642", "#cca300", "#447ebc", "#c15c17"),
)


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def known(self) -> list[tuple[float, float]]:
        return [point for point in self.points if math.isfinite(point[1])]


class Prometheus:
    """Scrapes metrics of replicas every four seconds while it is entered."""

    def __init__(self, program: str, home: Path, targets: dict[str, int]) -> None:
        self._port = free_port()
        self._command = [
            program,
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]
        scraped = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"pod": pod}}
            for pod, port in targets.items()
        ]
        (home / "prometheus.yml").write_text(
            json.dumps(  # YAML takes JSON
                {
                    "global": {"scrape_interval": "4s", "scrape_timeout": "4s"},
                    "scrape_configs": [{"job_name": "moorage", "static_configs": scraped}],
                }
            )
        )
        self._log = home / "prometheus.log"

    @contextlib.contextmanager
    def running(self) -> Iterator["Prometheus"]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while not self._ready():
                over = process.poll() is not None or time.monotonic() > until
                assert not over, self._log.read_text()
                time.sleep(0.1)
            yield self
        finally:
            process.terminate()
            process.wait()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._get("/-/ready")[0] == 200
        return False

    def _get(self, path: str) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port)) as line:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()

    def scrapes(self) -> int:
        """How many scrapes of the replica with the fewest have gone well."""
        lines = self.query("sum_over_time(up[1h])", time.time(), time.time())
        return int(min((line.points[-1][1] for line in lines), default=0))

    def query(self, expression: str, began: float, ended: float, legend: str = "") -> list[Line]:
        """What an expression has between two times; raises where Prometheus refuses it."""
        query = {"query": expression, "start": began, "end": ended, "step": 1}
        status, body = self._get(f"/api/v1/query_range?{urlencode(query)}")
        document = json.loads(body)
        assert status == 200, (expression, document)
        return [
            Line(
                _named(legend, each["metric"]),
                [(float(at), float(value)) for at, value in each["values"]],
            )
            for each in document["data"]["result"]
        ]


def _named(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend or ", ".join(value for name, value in labels.items() if name != "__name__")


def expressions(panel: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each query of a panel as Grafana would ask it, and its legend."""
    for target in panel.get("targets", []):
        expression = target["expr"].replace("$__rate_interval", RATE).replace("$job", ".*")
        yield expression, target.get("legendFormat", "")


def page(title: str, panels: Sequence[tuple[dict[str, Any], Sequence[Line]]]) -> str:
    """A page with each panel at its place, without a script."""
    drawn = "".join(_panel(panel, lines) for panel, lines in panels)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in panels)
    return f"""<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>
body{{margin:8px;background:#111217;color:#ccccdc;font:12px sans-serif}}
main{{display:grid;grid-template-columns:repeat(24,1fr);grid-template-rows:repeat({rows},22px);gap:4px}}
section{{background:#181b1f;border:1px solid #2c3235;padding:4px 6px;overflow:hidden;
  display:flex;flex-direction:column}}
h2{{font-size:12px;margin:0 0 2px}} h1{{font-size:15px;margin:4px 0}} svg{{flex:1;min-height:0}}
b{{font-size:30px;margin:auto;color:#7eb26d}}
p{{margin:0;font-size:10px;max-height:24px;overflow:hidden}}
i{{font-style:normal;margin-right:8px}} em{{margin:auto;color:#777}}
</style><h1>{escape(title)}</h1><main>{drawn}</main>"""


def _panel(panel: dict[str, Any], lines: Sequence[Line]) -> str:
    at = panel["gridPos"]
    place = f"grid-column:{at['x'] + 1}/span {at['w']};grid-row:{at['y'] + 1}/span {at['h']}"
    title = f"<h2>{escape(panel['title'])}</h2>"
    if panel["type"] == "row":
        return f'<section style="{place};background:none;border:0">{title}</section>'
    known = [line for line in lines if line.known]
    if not known:
        body = "<em>no data</em>"
    elif panel["type"] == "stat":
        body = "".join(f"<b>{_shown(line.known[-1][1])}{_unit(panel)}</b>" for line in known[:1])
        if any(line.name for line in known[:1]):
            body += f"<p>{escape(', '.join(line.name for line in known))}</p>"
    else:
        body = _plot(known, panel) + _legend(known)
    return f'<section style="{place}">{title}{body}</section>'


def _unit(panel: dict[str, Any]) -> str:
    return {"percentunit": " of 1"}.get(panel["fieldConfig"]["defaults"].get("unit", ""), "")


def _shown(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def _plot(lines: Sequence[Line], panel: dict[str, Any]) -> str:
    times = [at for line in lines for at, _ in line.known]
    most = max([value for line in lines for _, value in line.known]) or 1.0
    began = min(times)
    wide = max(times) - began or 1.0
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    drawn = ""
    for number, line in enumerate(lines):
        points = " ".join(
            f"{40 + (at - began) / wide * 258:.1f},{92 - value / most * 84:.1f}"
            for at, value in line.known
        )
        colour = _COLOURS[number % len(_COLOURS)]
        drawn += (
            f'<polyline fill=none stroke="{colour}" vector-effect=non-scaling-stroke '
            f'points="{points}"/>'
        )
    grid = "".join(f'<path d="M40 {y}H298" stroke="#2c3235"/>' for y in (8, 50, 92))
    marks = "".join(
        f'<text x=36 y={y + 3} font-size=8 fill="#888" text-anchor=end>{_shown(value)}</text>'
        for y, value in ((8, most), (50, most / 2), (92, 0))
    )
    return (
        f'<svg viewBox="0 0 300 96" role=img aria-label="{escape(panel["title"])}">'
        f"<title>{escape(unit)}</title>{grid}{marks}{drawn}</svg>"
    )


def _legend(lines: Sequence[Line]) -> str:
    return (
        "<p>"
        + "".join(
            f'<i style="color:{_COLOURS[number % len(_COLOURS)]}">{escape(line.name)}</i>'
            for number, line in enumerate(lines)
        )
        + "</p>"
    )
