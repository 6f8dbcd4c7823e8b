"""The whole cluster: what is started, in which order, and how it is made whole again."""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

from cluster.balancer import Balancer
from cluster.links import Links
from cluster.minio import Minio
from cluster.ports import LOOPBACK, take_port
from cluster.process import Process, ProcessFailedError
from cluster.redis import NAMES, Redis
from conformance.server import is_ready

S3_NAME = "s3"
"""Host name of the object store."""

PROGRAMS = ("minio", "toxiproxy", "haproxy", "redis-server", "redis-sentinel", "redis-cli")

_ROOT = Path(__file__).resolve().parent.parent
_PREFIX = "MOORAGE__"
_START_SECONDS = 90
_BUCKET = "images"
_SEARCH = os.pathsep.join(
    [str(_ROOT / ".tools" / "bin"), os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin:/sbin"]
)


class ProgramMissingError(Exception):
    """A program that the cluster is made of is not installed; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not installed: run `make system tools`")
        self.name = name


def find_program(name: str) -> str:
    """Return the path of a program, one that `make tools` built before any other."""
    path = shutil.which(name, path=_SEARCH)
    if path is None:
        raise ProgramMissingError(name)
    return path


@final
class Cluster:
    """Replicas of the registry behind HAProxy, over four MinIO nodes and Redis with Sentinel.

    All of it listens on loopback, on ports that were free, and keeps its data and logs in `home`.
    `settings` are for the replicas, by the names of their environment variables without the
    prefix; they may be added to until it starts. With `links` each replica reaches S3 and Redis
    over links that can be cut and slowed down; without them it reaches them directly, as fast as
    the machine allows. Clients speak TLS where there is a `certificate`: a file with its chain and
    its key.
    """

    def __init__(
        self,
        home: Path,
        *,
        replicas: int = 3,
        workers: int = 1,
        links: bool = False,
        settings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        certificate: Path | None = None,
    ) -> None:
        found = {name: find_program(name) for name in PROGRAMS}
        self.home = home
        self.addresses = [f"{LOOPBACK}:{take_port()}" for _ in range(replicas)]
        self.minio = Minio(found["minio"], home)
        self.redis = Redis(home)
        self.balancer = Balancer(
            found["haproxy"],
            home,
            self.addresses,
            self.minio.addresses,
            certificate=certificate,
        )
        services = self.redis.services | {S3_NAME: (self.balancer.s3_port,)}
        self.links = Links(found["toxiproxy"], home, services)
        self.redis.build(found["redis-server"], found["redis-sentinel"], self.links.hosts())
        self._linked = links
        self.settings = dict(settings or {})
        self._command = [sys.executable, "-m", "registry", "serve"]
        self._command += ["--workers", str(workers), *arguments]
        self.replicas: list[Process] = []
        self._seen: list[int] = []

    @property
    def address(self) -> str:
        """host:port that clients use: the balancer's."""
        return self.balancer.registry

    @property
    def processes(self) -> list[Process]:
        """Everything that runs, in the order in which it is started."""
        return [
            self.links.process,
            *self.minio.nodes,
            *self.redis.nodes,
            *self.redis.sentinels,
            self.balancer.process,
            *self.replicas,
        ]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start everything and wait until all of it serves."""
        self.links.process.start()
        for process in [*self.minio.nodes, *self.redis.nodes, self.balancer.process]:
            process.launch()
        for process in [*self.redis.nodes, *self.minio.nodes, self.balancer.process]:
            process.wait()
        for process in self.redis.sentinels:
            process.start()
        self.redis.wait_until_whole()
        self._wait_for_minio(time.monotonic() + _START_SECONDS)
        self.minio.try_out(f"http://{self.balancer.s3}", _BUCKET, _START_SECONDS)
        self.replicas = [
            self._replica(number, address) for number, address in enumerate(self.addresses, 1)
        ]
        for replica in self.replicas:
            replica.launch()
        for replica in self.replicas:
            try:
                replica.wait(_START_SECONDS)
            except ProcessFailedError:
                replica.start(_START_SECONDS)  # as whoever runs it would
        self._seen = self._pids()
        self.heal()

    def heal(self, timeout: float = _START_SECONDS) -> None:
        """Undo every disturbance, start what is down, and wait until all of it is whole.

        A MinIO node that was started anew or frozen is waited for until it answers requests.
        """
        self.links.mend()
        frozen = any(node.frozen for node in self.minio.nodes)
        for process in self.processes:
            if process.frozen:
                process.thaw()
            process.launch()
        deadline = time.monotonic() + timeout
        self.balancer.process.wait(timeout)
        self.balancer.refuse_s3(0)
        for process in self.processes:
            process.wait(max(1, deadline - time.monotonic()))
        self.redis.wait_until_whole(max(1, deadline - time.monotonic()))
        self._wait_for_minio(deadline)
        if frozen or self._pids() != self._seen:
            for address in self.minio.addresses:
                left = max(1, deadline - time.monotonic())
                self.minio.try_out(f"http://{address}", _BUCKET, left)
            self._seen = self._pids()
        self._wait_up("replicas", len(self.replicas), deadline)

    def close(self) -> None:
        """End everything at once. Calling it again does nothing."""
        for process in reversed(self.processes):
            process.kill()

    def check_logs(self) -> None:
        """Raise ProcessFailedError if a replica printed a traceback since it was first started."""
        for replica in self.replicas:
            if "Traceback (most recent call last)" in replica.log.read_text(errors="replace"):
                raise ProcessFailedError(f"{replica.name} met an error:\n{replica.log_tail()}")

    def _pids(self) -> list[int]:
        return [node.pid for node in self.minio.nodes]

    def _wait_for_minio(self, deadline: float) -> None:
        self._wait_up("minio", len(self.minio.nodes), deadline)

    def _wait_up(self, backend: str, count: int, deadline: float) -> None:
        while self.balancer.up(backend) < count:
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"haproxy sees not all up:\n{self.balancer.process.log}")
            time.sleep(0.1)

    def _replica(self, number: int, address: str) -> Process:
        name = f"replica-{number}"
        settings = {
            "STORAGE__DRIVER": "s3",
            "STORAGE__S3__ENDPOINT": f"http://{S3_NAME}:{self.balancer.s3_port}",
            "STORAGE__S3__BUCKET": _BUCKET,
            "STORAGE__S3__CREATE_BUCKET": "true",
            "STORAGE__S3__ACCESS_KEY": self.minio.access_key,
            "STORAGE__S3__SECRET_KEY": self.minio.secret_key,
            "COORDINATION__REDIS__URL": self.redis.url,
            "COORDINATION__REDIS__PASSWORD": self.redis.password,
            # Longer than HAProxy needs to notice.
            "SERVER__DRAIN_DELAY_SECONDS": "2",
        } | self.settings
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIX)}
        return Process(
            name,
            [*self._command, "--addr", address],
            log=self.home / f"{name}.log",
            ready=lambda: is_ready(address),
            environment=inherited | {f"{_PREFIX}{key}": each for key, each in settings.items()},
            hosts=self.links.hosts(name if self._linked else None),
            directory=_ROOT,
        )


__all__ = ["NAMES", "PROGRAMS", "S3_NAME", "Cluster", "ProgramMissingError", "find_program"]
