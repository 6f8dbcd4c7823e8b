"""Starts the registry as a process of its own, the way an operator does, and ends it."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, final

from cluster.ports import take_port

Store = Literal["memory", "filesystem", "s3"]

_PREFIX = "MOORAGE__"
_ROOT = Path(__file__).resolve().parent.parent


class ServerFailedError(Exception):
    """The registry did not start, or did not end, as it should; the message carries its log."""


@final
class RegistryProcess:
    """A registry on a free loopback port, in its own process group, ended by process id.

    It does not outlive the process that started it, even if that is killed.

    With `store="filesystem"` the content lies in `data`, which outlives the process: after `kill`
    or `stop`, `start` again serves the same content on the same address. With `store="s3"` the
    `settings` name the bucket (see `conformance.stores`). What the server prints
    goes to the file `log` (appended to on each start). `settings` are by the names of their
    environment variables without the prefix (`LIMITS__ALLOW_SPARSE`); those that the caller's own
    environment has do not reach the server. `command` may be `token-service` too.
    `tls` are the files of a certificate and its key. `port` is taken instead of any free one.
    """

    def __init__(
        self,
        *,
        store: Store,
        log: Path,
        data: Path | None = None,
        workers: int = 1,
        arguments: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        command: str = "serve",
        tls: tuple[Path, Path] | None = None,
        port: int | None = None,
    ) -> None:
        if (store == "filesystem") != (data is not None):
            raise ValueError("a file-system store needs a data directory, a memory store has none")
        self.address = f"127.0.0.1:{port or take_port()}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.data = data
        self.log = log
        place = {"memory": ["--memory"], "filesystem": ["--data", str(data)], "s3": []}[store]
        self._command = [sys.executable, "-m", "registry", command, "--addr", self.address]
        self._command += [*place, "--workers", str(workers), *arguments]
        if tls is not None:
            self._command += ["--tls-certificate", str(tls[0]), "--tls-key", str(tls[1])]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)
        } | {f"{_PREFIX}{name}": value for name, value in (settings or {}).items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the server, which is also the id of its process group."""
        if self._process is None:
            raise ServerFailedError("the registry is not running")
        return self._process.pid

    def start(self, timeout: float = 60) -> None:
        """Start and wait until `/readyz` answers 200; ServerFailedError after `timeout` seconds."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=_ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchdog = watch(self._process.pid)
        deadline = time.monotonic() + timeout
        while not is_ready(self.url):
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                why = f"not ready after {timeout} s" if code is None else f"exited with {code}"
                raise ServerFailedError(f"{' '.join(self._command)}: {why}\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 60) -> None:
        """Ask it to end (SIGTERM) and wait; ServerFailedError unless it exits with 0 in time."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        if code != 0:
            why = f"still running {timeout} s after SIGTERM" if code is None else f"exited {code}"
            raise ServerFailedError(f"registry {self.address}: {why}\n{self.log_tail()}")

    def kill(self) -> None:
        """End it at once with all its workers (SIGKILL). Does nothing when it is not running."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def worker_pids(self) -> list[int]:
        """Process ids of the server's children; empty when it serves by itself (Linux only)."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def check_log(self) -> None:
        """Raise ServerFailedError if the server printed a traceback since it was first started."""
        if "Traceback (most recent call last)" in self.log.read_text(errors="replace"):
            raise ServerFailedError(f"registry {self.address} met an error:\n{self.log_tail()}")

    def log_tail(self, size: int = 8000) -> str:
        """Return the last `size` characters that the server printed."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


def watch(group: int) -> subprocess.Popen[bytes]:
    """Kill a process group when this process ends, even if it is killed itself.

    Returns the process that does it; kill that one when the group has been ended otherwise.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$0"', str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def is_ready(address: str) -> bool:
    """Tell whether `GET /readyz` on `address`, host:port or a URL, answers 200 in 2 seconds."""
    return answers(address, "/readyz")


def answers(address: str, path: str) -> bool:
    """Tell whether `GET` of `path` on `address` (as above) answers 200 within 2 seconds."""
    scheme, _, host = address.rpartition("://")
    connection = http.client.HTTPConnection(host, timeout=2)
    if scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323, SLF001  it only asks whether it runs
        connection = http.client.HTTPSConnection(host, timeout=2, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
