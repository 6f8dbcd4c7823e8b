"""Runs wrk, the load generator for small GETs, and reads its report."""

import re
import shutil
import subprocess

from benchmarks.wire import AnswerError

CONNECTIONS = 32
_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m)")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD = re.compile(r"(Non-2xx or 3xx responses|Socket errors): (.*)")


def available() -> bool:
    """Whether wrk is installed (Debian package `wrk`)."""
    return shutil.which("wrk") is not None


def run(url: str, seconds: float, *headers: tuple[str, str]) -> float:
    """Requests per second of one thread with 32 connections; any bad answer is an error."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    for name, value in headers:
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, url], capture_output=True, text=True, check=True, timeout=seconds + 30
    )
    return parse(done.stdout)


def parse(report: str) -> float:
    """The requests per second in wrk's report; AnswerError when it tells of failures."""
    if bad := _BAD.search(report):
        raise AnswerError(f"wrk: {bad[0]}")
    total, rate = _REQUESTS.search(report), _RATE.search(report)
    if not total or not rate or int(total[1]) == 0:
        raise AnswerError(f"wrk made no request: {report[-300:]}")
    return float(rate[1])
