"""The table in Markdown, the raw figures in JSON, and what was measured on what."""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chart import Bar, draw
from benchmarks.figures import Range, Results
from benchmarks.sides import Side

_TIMES = "\N{MULTIPLICATION SIGN}"
_TO = " \N{EN DASH} "
_LEGEND = (
    f"Median [lowest{_TO}highest] of the rounds. A ratio is the median of the rounds' ratios; "
    "above 1 is better than the reference, whatever the unit."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    work: str
    title: str
    unit: str
    less_is_better: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run, ready to be written."""

    title: str
    rows: Sequence[Row]
    sides: Sequence[Side]
    reference: str
    results: Results
    facts: dict[str, str]

    def markdown(self) -> str:
        """The table, with the facts below."""
        names = [side.name for side in self.sides]
        shown = [name for name in names if name != self.reference and self._has(name)]
        others = [name for name in shown if self._has(self.reference)]
        head = ["work", "unit", *names, *(f"{name} ÷ {self.reference}" for name in others)]
        lines = [f"# {self.title}", "", _line(head), _line(["---"] * 2 + ["--:"] * (len(head) - 2))]
        for row in self.rows:
            cells = [row.title, row.unit]
            cells += [figure_text(self.results.figure(row.work, name)) for name in names]
            cells += [ratio_text(self._ratio(row, name)) for name in others]
            lines.append(_line(cells))
        lines += [
            "",
            _LEGEND,
            "",
            *(f"- {name}: {value}" for name, value in self.facts.items()),
        ]
        if self.results.failures:
            lines += ["", "**Failed:**", "", *(f"- {text}" for text in self.results.failures)]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Everything that was measured."""
        rows = [[row.work, row.title, row.unit, row.less_is_better] for row in self.rows]
        data = {"title": self.title, "facts": self.facts, "rows": rows}
        return json.dumps({**data, **self.results.as_data()}, indent=1) + "\n"

    def svg(self) -> str:
        """The ratios as a picture; without a reference, there is nothing to draw."""
        groups = []
        for row in self.rows:
            bars = []
            for side in self.sides:
                ratio = self._ratio(row, side.name)
                figure = self.results.figure(row.work, side.name)
                if ratio and figure:
                    bars.append(Bar(side.name, ratio, f"{_number(figure.median)} {row.unit}"))
            theirs = self.results.figure(row.work, self.reference)
            if bars and theirs:
                groups.append((f"{row.title} ({_number(theirs.median)} {row.unit})", bars))
        return draw(f"Times {self.reference}", groups)

    def write(self, folder: Path) -> list[Path]:
        """Write the three files, named by the time, and again as `latest`; gives the former."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        written = []
        for suffix, text in (("md", self.markdown()), ("json", self.json()), ("svg", self.svg())):
            for name in (stamp, "latest"):
                path = folder / f"{name}.{suffix}"
                path.write_text(text, encoding="utf-8")
                written += [path] if name == stamp else []
        return written

    def _has(self, side: str) -> bool:
        return any(sample.side == side for sample in self.results.samples)

    def _ratio(self, row: Row, side: str) -> Range | None:
        return self.results.ratio(row.work, side, self.reference, less_is_better=row.less_is_better)


def machine_facts(work_dir: Path) -> dict[str, str]:
    """What the figures depend on: processor, memory, kernel, file system."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "machine": f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, "
        f"Linux {platform.release()}, {_file_system(work_dir)}; load and servers share it",
        "Python": platform.python_version(),
    }


def _file_system(path: Path) -> str:
    best = ("", "unknown file system")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figure_text(figure: Range | None) -> str:
    """A median with its extremes; empty where nothing was measured."""
    if figure is None:
        return ""
    if figure.low == figure.high:
        return _number(figure.median)
    return f"{_number(figure.median)} [{_number(figure.low)}{_TO}{_number(figure.high)}]"


def ratio_text(ratio: Range | None) -> str:
    """As `figure_text`, of how many times better a side is."""
    if ratio is None:
        return ""
    if ratio.low == ratio.high:
        return f"**{ratio.median:.2f}{_TIMES}**"
    return f"**{ratio.median:.2f}{_TIMES}** [{ratio.low:.2f}{_TO}{ratio.high:.2f}]"
