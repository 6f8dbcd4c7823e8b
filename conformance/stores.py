"""Object stores that speak S3, as processes of their own: MinIO and SeaweedFS."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, final

from cluster.ports import take_port
from conformance.server import ServerFailedError, watch
from storage.s3 import S3Settings, S3Store

Kind = Literal["minio", "seaweedfs"]

ACCESS_KEY = "moorage-tests"
SECRET_KEY = "only-for-tests-on-loopback"  # noqa: S105  of stores that live as long as a test

_TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "bin"
_PROGRAMS: Mapping[Kind, str] = {"minio": "minio", "seaweedfs": "weed"}


def find_store(kind: Kind) -> str | None:
    """The store's program: one that `make tools` built, of the environment, or of the machine."""
    name = _PROGRAMS[kind]
    for place in (_TOOLS / name, Path(sys.executable).with_name(name)):
        if place.exists():
            return str(place)
    return shutil.which(name)


@final
class StoreProcess:
    """A store on free loopback ports, its data below `home`; it ends with this process.

    After `kill`, `start` serves the same data at the same `endpoint` again.
    """

    def __init__(self, kind: Kind, home: Path) -> None:
        program = find_store(kind)
        if program is None:
            raise ServerFailedError(f"{_PROGRAMS[kind]} is missing: run `make tools dev`")
        self.kind = kind
        self.port = take_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = home / f"{kind}.log"
        data = home / kind
        data.mkdir(parents=True, exist_ok=True)
        arguments = _minio(self.port, data) if kind == "minio" else _seaweedfs(self.port, data)
        self._command = [program, *arguments]
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
        """Its process id."""
        if self._process is None:
            raise ServerFailedError(f"{self.kind} is not running")
        return self._process.pid

    def settings(self, bucket: str) -> dict[str, str]:
        """Settings of a registry over a bucket here, made if it is missing: see RegistryProcess."""
        return {
            "STORAGE__DRIVER": "s3",
            "STORAGE__S3__ENDPOINT": self.endpoint,
            "STORAGE__S3__BUCKET": bucket,
            "STORAGE__S3__CREATE_BUCKET": "true",
            "STORAGE__S3__ACCESS_KEY": ACCESS_KEY,
            "STORAGE__S3__SECRET_KEY": SECRET_KEY,
        }

    def make_bucket(self, name: str) -> None:
        """Make a bucket, if it is missing."""

        async def make() -> None:
            settings = S3Settings(
                bucket=name, endpoint=self.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY
            )
            store = await S3Store.opened(settings, create=True)
            await store.close()

        asyncio.run(make())

    def start(self, timeout: float = 60) -> None:
        """Start and wait until it answers; ServerFailedError after `timeout` seconds."""
        credentials = {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_CI_CD": "1",  # else it refuses the disk that the system is on
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **credentials},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchdog = watch(self._process.pid)
        deadline = time.monotonic() + timeout
        while (code := self._process.poll()) is not None or not self._answers():
            if code is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-4000:]
                self.kill()
                raise ServerFailedError(f"{self.kind} did not start ({code}):\n{tail}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once. Does nothing when it is not running."""
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

    def _answers(self) -> bool:
        """Whether it takes requests: an unsigned one is refused, by a store that is ready."""
        path = "/minio/health/ready" if self.kind == "minio" else "/"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status in (200, 403)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _minio(port: int, data: Path) -> list[str]:
    address = f"127.0.0.1:{port}"
    return ["server", "--quiet", "--address", address, str(data)]


def _seaweedfs(port: int, data: Path) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = data.with_suffix(".json")
    config.write_text(json.dumps({"identities": [identity]}))
    ports = {name: take_port() for name in ("master", "volume", "filer")}
    grpc = {f"{name}.port.grpc": take_port() for name in (*ports, "s3")}
    options = {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": data,
        "s3.port": port,
        "s3.config": config,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **{f"{name}.port": number for name, number in ports.items()},
        **grpc,
        "master.volumeSizeLimitMB": 256,
        "volume.max": 50,
        "master.telemetry": "false",
    }
    return ["-logtostderr=true", "server", "-s3", *(f"-{k}={v}" for k, v in options.items())]
