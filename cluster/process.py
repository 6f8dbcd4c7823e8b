"""One process of the cluster: how it is started, disturbed and ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from conformance.server import watch

_LOOK_SECONDS = 0.05
_AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")

# The command's own view of host names; the mount ends with the process.
_UNSHARE = ("unshare", "--mount", "--propagation=private", *_AS_ROOT, "/bin/sh", "-c")
_BIND = 'mount --bind "$0" /etc/hosts && exec "$@"'


class ProcessFailedError(Exception):
    """A process did not start, or did not end, as it should; the message carries its log."""


class Process:
    """A program in a process group of its own, ended by process id.

    It does not outlive the process that started it, even if that is killed. What it prints goes
    to the file `log` (appended to on each start). `ready` tells whether it serves; `hosts` is a
    file that it sees in the place of /etc/hosts; `prepare` is called before each start. After
    `kill` or `stop`, `start` starts it again.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        hosts: Path | None = None,
        directory: Path | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.log = log
        self.frozen = False
        self._ready = ready
        self._prepare = prepare
        self._directory = directory
        self._command = list(command)
        if hosts is not None:
            self._command = [*_UNSHARE, _BIND, str(hosts), *command]
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the process group."""
        if self._process is None:
            raise ProcessFailedError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended; true also while it is frozen."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it, and do not wait. Does nothing when it is running."""
        if self.running:
            return
        self.kill()
        self._prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchdog = watch(self._process.pid)

    def start(self, timeout: float = 60) -> None:
        """Start it and wait until it serves; ProcessFailedError after `timeout` seconds."""
        self.launch()
        self.wait(timeout)

    def wait(self, timeout: float = 60) -> None:
        """Wait until it serves; ProcessFailedError after `timeout` seconds, or when it ended."""
        deadline = time.monotonic() + timeout
        while not self._ready():
            if not self.running:
                self._fail("ended before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"was not ready after {timeout:g} s")
            time.sleep(_LOOK_SECONDS)

    def is_ready(self) -> bool:
        """Tell whether it serves now."""
        return self.running and not self.frozen and self._ready()

    def term(self) -> None:
        """Ask it to end (SIGTERM), and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self, timeout: float = 60, *, code: int | None = None) -> None:
        """Ask it to end and wait; ProcessFailedError unless it does in time (with `code`)."""
        if self._process is None:
            return
        if self.frozen:
            self.thaw()
        self._process.terminate()
        try:
            ended = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            self._fail(f"still ran {timeout:g} s after SIGTERM")
        self._reap()
        if code is not None and ended != code:
            self._fail(f"exited with {ended} after SIGTERM")

    def wait_ended(self, timeout: float) -> int:
        """Wait until it ends by itself and return its exit code; else ProcessFailedError."""
        if self._process is None:
            raise ProcessFailedError(f"{self.name} is not running")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._fail(f"still ran after {timeout:g} s")

    def kill(self) -> None:
        """End it at once with all its children (SIGKILL). Does nothing when it is not running."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reap()

    def restart(self, timeout: float = 60) -> None:
        """Stop it (SIGTERM), start it again and wait until it serves."""
        self.stop(timeout)
        self.start(timeout)

    def freeze(self) -> None:
        """Stop it in its tracks with all its children (SIGSTOP): it neither answers nor ends."""
        os.killpg(self.pid, signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        os.killpg(self.pid, signal.SIGCONT)
        self.frozen = False

    def log_tail(self, size: int = 4000) -> str:
        """Return the last `size` characters that it printed."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def _reap(self) -> None:
        self._process = None
        self.frozen = False
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def _fail(self, why: str) -> NoReturn:
        raise ProcessFailedError(f"{self.name} {why}: {self._command}\n{self.log_tail()}")
