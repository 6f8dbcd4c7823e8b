"""A Prometheus on loopback: what it scrapes, and what it says when it is asked."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from cluster.ports import LOOPBACK, take_port
from cluster.process import Process
from conformance.server import answers

INTERVAL = 2
"""Seconds between two scrapes of a target, and for one at the most."""


class BadQueryError(Exception):
    """Prometheus did not take an expression; the message is its own."""


@dataclass(frozen=True)
class Series:
    """One line of an answer: (Unix seconds, value) for each step that has a value."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """Scrapes one job, whose `targets` are addresses by the name of their pod."""

    def __init__(
        self, program: str, home: Path, job: str, targets: Mapping[str, str], rules: Path
    ) -> None:
        self._address = f"{LOOPBACK}:{take_port()}"
        self._job = job
        config = {
            "global": {
                "scrape_interval": f"{INTERVAL}s",
                "scrape_timeout": f"{INTERVAL}s",
                "evaluation_interval": f"{INTERVAL}s",
            },
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [address], "labels": {"pod": pod}}
                        for pod, address in targets.items()
                    ],
                }
            ],
        }
        (home / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.process = Process(
            "prometheus",
            [
                program,
                f"--config.file={home / 'prometheus.yaml'}",
                f"--storage.tsdb.path={home / 'prometheus'}",
                f"--web.listen-address={self._address}",
                "--log.level=warn",
            ],
            log=home / "prometheus.log",
            ready=lambda: answers(self._address, "/-/ready"),
        )

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of the API; BadQueryError where it is an error."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
            said = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if said["status"] != "success":
            raise BadQueryError(f"{parameters}: {said['error']}")
        return said["data"]

    def value(self, expression: str) -> float:
        """What an expression for one number is now; 0 for none."""
        found = self.ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def history(self, expression: str, began: float, ended: float) -> list[Series]:
        """What an expression was from `began` to `ended`, in Unix seconds."""
        parameters = {"query": expression, "start": began, "end": ended, "step": INTERVAL}
        return [
            Series(each["metric"], [(at, float(value)) for at, value in each["values"]])
            for each in self.ask("query_range", **parameters)["result"]
        ]

    def scrapes(self) -> int:
        """How often the target that has succeeded least has been scraped."""
        return int(self.value(f'min(sum_over_time(up{{job="{self._job}"}}[1h]))'))

    def troubles(self) -> str:
        """How often targets were scraped, and why the last time failed where it did."""
        targets = self.ask("targets")["activeTargets"]
        return f"{self.scrapes()} scrapes; {[each['lastError'] for each in targets]}"
