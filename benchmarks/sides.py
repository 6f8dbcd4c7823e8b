"""The sides of the comparison: each is a server with an address, most with processes of ours."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes
from benchmarks.content import Blob, Image, Layer
from benchmarks.wire import Endpoint
from conformance.stores import ACCESS_KEY, SECRET_KEY, StoreProcess

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = ROOT / ".tools" / "bin" / "registry"
WORKERS = 2
_START_LIMIT = 30.0
_STOP_LIMIT = 15.0

# The configuration that Distribution's image ships, with a log level of `info` (its default).
_DISTRIBUTION_CONFIG = """\
version: 0.1
log:
  fields:
    service: registry
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
{driver}
  maintenance:
    uploadpurging:
      enabled: false
  tag:
    concurrencylimit: 8
http:
  addr: {host}:{port}
  headers:
    X-Content-Type-Options: [nosniff]
"""

_DISTRIBUTION_FILES = """\
  filesystem:
    rootdirectory: {data}"""

# Redirects off, so that the bytes of a pull come from the registry on both sides.
_DISTRIBUTION_S3 = """\
  redirect:
    disable: true
  s3:
    bucket: {bucket}
    region: us-east-1
    regionendpoint: {endpoint}
    accesskey: {access_key}
    secretkey: {secret_key}
    forcepathstyle: true
    secure: false"""

_NGINX_CONFIG = """\
{user}
daemon off;
worker_processes {workers};
pid {work}/nginx.pid;
error_log {work}/error.log;
events {{ worker_connections 512; }}
http {{
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  open_file_cache max=1000;
  default_type application/octet-stream;
  access_log {work}/access.log;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server {{ listen {host}:{port} reuseport backlog=511; root {data}; }}
}}
"""


class StartError(RuntimeError):
    """A side did not start."""


@dataclass(slots=True)
class Side:
    """One server. `process` is None for a peer that somebody else runs."""

    name: str
    endpoint: Endpoint
    version: str = ""
    takes_pushes: bool = True
    data: Path | None = None
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    seeded: dict[str, object] = field(default_factory=dict)

    @property
    def root(self) -> int | None:
        """The process id at the root of the side's tree."""
        return self.process.pid if self.process else None

    def stop(self) -> None:
        """End the side's processes: SIGTERM, and SIGKILL to what is left after 15 s."""
        if self.process is None:
            return
        family = processes.tree(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            for pid in family:
                _kill(pid)
            self.process.wait()

    def big_files(self, size: int) -> set[Path]:
        """Files of at least that many bytes in the side's store."""
        if self.data is None:
            return set()
        found = set()
        for folder, _, names in os.walk(self.data):
            found |= {path for name in names if (path := Path(folder, name)).stat().st_size >= size}
        return found

    def place(self, repository: str, kind: str, name: str, content: bytes | Layer) -> None:
        """Write a file that a side without pushes then serves at the API's path."""
        if self.data is None or self.takes_pushes:
            raise TypeError("only a side that serves files takes files")
        path = self.data / "v2" / repository / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
            return
        with path.open("wb") as target:
            for _ in range(content.repeats):
                with content.path.open("rb", buffering=0) as source:
                    shutil.copyfileobj(_Limited(source.fileno(), content.base_size), target)
            target.write(content.suffix)

    def place_image(self, repository: str, tag: str, image: Image, extra: tuple[Blob, ...]) -> None:
        """Write an image's manifest and blobs as files."""
        self.place(repository, "manifests", tag, image.manifest)
        for blob in (*image.blobs, *extra):
            self.place(repository, "blobs", blob.digest, blob.data)


@dataclass(slots=True)
class _Limited:
    """Reads a file descriptor up to a length."""

    descriptor: int
    left: int

    def read(self, size: int = -1) -> bytes:
        data = os.read(self.descriptor, min(self.left, max(size, 1 << 20)))
        self.left -= len(data)
        return data


def moorage(work: Path, bucket: StoreProcess | None = None) -> Side:
    """This registry as `make serve` starts it: a file-system store and two workers.

    Over S3 it has one worker: several would need a coordinator.
    """
    endpoint = Endpoint("127.0.0.1", _free_port())
    command = [sys.executable, "-m", "registry", "serve"]
    command += ["--addr", f"{endpoint.host}:{endpoint.port}"]
    side = Side(
        "moorage", endpoint, _output([sys.executable, "-m", "registry", "version"]).split()[-1]
    )
    if bucket is not None:
        settings = {f"MOORAGE__{key}": text for key, text in bucket.settings("moorage").items()}
        return _start(side, command, work, None, ready="/readyz", environment=settings)
    data = _folder(work, "data")
    command += ["--workers", str(WORKERS), "--data", str(data)]
    return _start(side, command, work, data, ready="/readyz")


def distribution(
    work: Path,
    bucket: StoreProcess | None = None,
    program: Path = DISTRIBUTION,
    *,
    name: str = "distribution",
) -> Side:
    """CNCF Distribution with the descriptor cache that it ships; ``name`` is the bucket's."""
    if not program.exists():
        raise StartError(f"{program.name} is not built in {program.parent}: run `make tools`")
    endpoint = Endpoint("127.0.0.1", _free_port())
    if bucket is None:
        data = _folder(work, "data")
        driver = _DISTRIBUTION_FILES.format(data=data)
    else:
        data = None
        bucket.make_bucket(name)
        driver = _DISTRIBUTION_S3.format(
            bucket=name,
            endpoint=bucket.endpoint,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
    config = work / "config.yml"
    config.write_text(
        _DISTRIBUTION_CONFIG.format(driver=driver, host=endpoint.host, port=endpoint.port)
    )
    side = Side("distribution", endpoint, _output([str(program), "--version"]).split()[-1])
    return _start(side, [str(program), "serve", str(config)], work, data, ready="/v2/")


def nginx(work: Path, _bucket: StoreProcess | None = None) -> Side:
    """nginx with two workers that sends files: what no registry can be faster than."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not program:
        raise StartError("nginx is not installed (Debian: apt-get install nginx-light)")
    endpoint, data = Endpoint("127.0.0.1", _free_port()), _folder(work, "data")
    config = work / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(
        _NGINX_CONFIG.format(
            user=user, workers=WORKERS, work=work, data=data, host=endpoint.host, port=endpoint.port
        )
    )
    (data / "index.html").write_text("ready")
    side = Side("nginx", endpoint, _output([program, "-v"]).rpartition("/")[2], takes_pushes=False)
    command = [program, "-p", str(work), "-c", str(config), "-e", str(work / "error.log")]
    return _start(side, command, work, data, ready="/index.html")


def peer(text: str) -> Side:
    """A registry that already runs, from `NAME=URL`; it must take anonymous pushes."""
    name, _, url = text.partition("=")
    if not name or not url:
        raise StartError(f"a peer is given as NAME=URL, not {text!r}")
    side = Side(name, Endpoint.parse(url))
    _wait(side, "/v2/")
    return side


def _start(
    side: Side,
    command: list[str],
    work: Path,
    data: Path | None,
    *,
    ready: str,
    environment: Mapping[str, str] | None = None,
) -> Side:
    side.data, side.log = data, work / "output.log"
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none", **(environment or {})}
    with side.log.open("wb") as log:
        side.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    try:
        _wait(side, ready)
    except BaseException:
        side.stop()
        raise
    return side


def _wait(side: Side, path: str) -> None:
    end = time.monotonic() + _START_LIMIT
    problem = "no answer"
    while time.monotonic() < end:
        if side.process and side.process.poll() is not None:
            problem = f"it ended with status {side.process.returncode}"
            break
        try:
            with urllib.request.urlopen(side.endpoint.url + path, timeout=2):  # noqa: S310
                return
        except (urllib.error.URLError, OSError) as error:
            problem = str(error)
        time.sleep(0.05)
    tail = side.log.read_text(errors="replace")[-1000:] if side.log else ""
    raise StartError(f"{side.name} did not start: {problem}\n{tail}".strip())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _folder(work: Path, name: str) -> Path:
    path = work / name
    path.mkdir(parents=True)
    return path


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    return (done.stdout or done.stderr).strip()
