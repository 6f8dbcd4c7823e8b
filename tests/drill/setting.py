"""What the drill is played on: an installation from the chart, its project, and clients at work."""

import http.client
import json
import secrets
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import trustme

from cluster.cluster import find_program
from cluster.kubernetes.installation import Installation
from cluster.kubernetes.pod import Pod, Program
from deploy.k8s import render
from tests.chaos import load
from tests.chaos.load import Crane, Customer, at_work
from tests.deploy.rendered import load as objects_of
from tests.drill.clients import (
    DockerLoop,
    TokenClient,
    environment_of,
    login_of,
    write_login,
)
from tests.drill.record import Record, Request
from tests.fixtures.daemons import docker_running
from tests.oracle.load import verify

BEFORE = "4f78d7b"
"""The revision that stands for the release before: the drill goes back to it and forth."""

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "chaos"
CUSTOMERS = 3
DISK = 12 << 30
"""Bytes of a storage node's file system, of which a file in it takes nearly all."""

_SECRETS = {
    "moorage-s3": ("access-key", "secret-key"),
    "moorage-redis": ("password",),
    "moorage-auth": ("audit-key", "signing-key-password", "bootstrap-secret"),
}
_COMMAND = ("-P", "-m", "registry")


@dataclass
class Setting:
    """The installation, and who is at work there."""

    installation: Installation
    secrets: Mapping[str, Mapping[str, str]]
    host: str
    authority: trustme.CA | None
    before: Program
    login: str = ""
    record: Record | None = None
    cold_start: str = ""

    @property
    def context(self) -> ssl.SSLContext | None:
        """What clients trust; None without TLS."""
        if self.authority is None:
            return None
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def client(self, *, fresh: bool = False, host: str = "", timeout: float = 60) -> TokenClient:
        """A client that logs in; at a pod's own address with `host`."""
        context = self.context
        if host and context is not None:
            context.check_hostname = False
        return TokenClient(
            host or self.host, self.login, fresh=fresh, timeout=timeout, context=context
        )

    def registries(self) -> list[Pod]:
        """The pods of the registry that are not being ended."""
        return [each for each in self.installation.workloads["moorage"].pods if not each.ending]

    def redis_primary(self) -> Pod:
        """The pod whose Redis is the primary."""
        password = self.installation.contents.secrets["moorage-redis"]["password"]
        while True:
            for pod in self.installation.workloads["moorage-redis"].pods:
                try:
                    with redis.Redis(pod.address, password=password, socket_timeout=2) as asked:
                        if asked.role()[0] == b"master":
                            return pod
                except redis.RedisError:
                    continue
            time.sleep(0.5)


def certificate(authority: trustme.CA) -> dict[str, str]:
    """A new certificate for the registry, as a Secret has it."""
    made = authority.issue_cert("moorage")
    chain = b"".join(each.bytes() for each in made.cert_chain_pems)
    return {"tls.crt": chain.decode(), "tls.key": made.private_key_pem.bytes().decode()}


@contextmanager
def installed(home: Path, *, secure: bool, workers: int = 1) -> Iterator[Setting]:
    """The bundled installation; with `secure` the registry ends TLS itself.

    The store's gateways are kept back until the registry has said that it waits for them.
    """
    known = {name: {key: secrets.token_hex(16) for key in keys} for name, keys in _SECRETS.items()}
    authority = trustme.CA() if secure else None
    host, values = f"moorage:{443 if secure else 80}", [render.HERE / "values" / "bundled.yaml"]
    values += [
        f"workers={workers}",
        f'config.server.public_url="{"https" if secure else "http"}://{host}"',
        "gateway.enabled=false",
        f"service.port={host.partition(':')[2]}",
        "tests.conformance.enabled=true",
        'tests.conformance.image={"repository": "conformance", "tag": "1", "digest": ""}',
        f'tests.conformance.repository="{PROJECT}/suite"',
    ]
    if authority is not None:
        values.append('tls.terminate="registry"')
        known["moorage-tls"] = certificate(authority)
    objects = objects_of(render.template(values))
    old = home / "before"
    programs = {
        "registry": Program([sys.executable, *_COMMAND], {"PYTHONPATH": str(ROOT)}),
        "conformance": Program([find_program("conformance")]),
    }
    installation = Installation(
        home,
        objects,
        secrets=known,
        programs=programs,
        haproxy=find_program("haproxy"),
        disks={"moorage-weed-volume": DISK},
        edge="" if secure else "moorage",
    )
    before = Program([sys.executable, *_COMMAND], {"PYTHONPATH": str(old)})
    setting = Setting(installation, known, host, authority, before)
    try:
        began = time.monotonic()
        installation.held_back.add("moorage-s3")
        installation.start(lambda: _come_late(setting))
        ready = time.monotonic() - began
        restarts = sum(pod.restarts for pod in setting.registries())
        setting.cold_start = (
            f"{len(installation.pods)} pods ready after {ready:.0f} s, the store's gateways held "
            "back until all registries had logged that they wait for them; "
            f"{restarts} restarts of a registry"
        )
        _populate(setting)
        yield setting
    finally:
        installation.close()


def take_out(revision: str, directory: Path) -> None:
    """Put the sources of another revision of this repository into a directory."""
    directory.mkdir()
    made = subprocess.run(
        ["git", "archive", revision, "registry", "storage", "auth"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    archive = directory.with_suffix(".tar")
    archive.write_bytes(made.stdout)
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")


def _come_late(setting: Setting) -> None:
    """Let the store's gateways start once each registry has said that it waits."""
    installation = setting.installation

    def waits() -> bool:
        pods = setting.registries()
        return len(pods) == 3 and all("does not answer yet" in pod.log("registry") for pod in pods)

    installation.wait_until(waits, 100)
    installation.held_back.clear()


def _populate(setting: Setting) -> None:
    """Make the first administrator, the project, and the robot account that all clients use."""
    password = secrets.token_hex(16)
    body = {
        "secret": setting.secrets["moorage-auth"]["bootstrap-secret"],
        "name": "root",
        "password": password,
    }
    call(setting, "POST", "/api/v1/bootstrap", body)
    root = login_of("root", password)
    call(setting, "PUT", f"/api/v1/projects/{PROJECT}", {}, root)
    robot = f"/api/v1/projects/{PROJECT}/robots/drill"
    made = call(setting, "PUT", robot, {"role": "maintainer"}, root)
    name = f"{PROJECT}+drill"
    setting.login = login_of(name, made["secret"])
    setting.installation.replace_secret(
        "moorage-conformance", {"username": name, "password": made["secret"]}
    )


def call(setting: Setting, method: str, path: str, body: object, login: str = "") -> dict:
    """Ask the management API; RuntimeError unless it does it."""
    context = setting.context
    connection = (
        http.client.HTTPConnection(setting.host, timeout=60)
        if context is None
        else http.client.HTTPSConnection(setting.host, timeout=60, context=context)
    )
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Basic {login}"} if login else {}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status >= 300:
        raise RuntimeError(f"{path}: {answer.status} {text}")
    return json.loads(text) if text else {}


@contextmanager
def busy(setting: Setting, home: Path) -> Iterator[Record]:
    """Clients at work until the context is left."""
    requests: list[Request] = []

    def observe(began: float, ended: float, served: bool) -> None:  # noqa: FBT001
        requests.append((began, ended, served))

    customers = [
        Customer(setting.client(fresh=n % 2 == 0), f"c{n}", n, observe) for n in range(CUSTOMERS)
    ]
    probes = [make(setting.client(fresh=True, timeout=15)) for make in (load.reading, load.writing)]
    ca = None
    if setting.authority is not None:
        ca = home / "ca.pem"
        setting.authority.cert_pem.write_to_path(ca)
    login = write_login(home / "login", setting.host, setting.login)
    environment = environment_of(login, ca)
    crane = Crane(
        find_program("crane"),
        setting.host,
        environment=environment,
        options=() if ca else ("--insecure",),
    )
    with ExitStack() as stack:
        trusting = [] if ca else [f"--insecure-registry={setting.host}"]
        engine = stack.enter_context(docker_running(*trusting, environment=environment))
        docker = DockerLoop(
            find_program("docker"), home / "docker", engine, f"{setting.host}/{PROJECT}/docker"
        )
        docker.log_in(setting.host, setting.login)
        record = setting.record = Record(customers, [crane, docker], probes, requests)
        stack.enter_context(at_work(*customers, crane, docker, *probes))
        yield record


def wrong(setting: Setting, record: Record) -> list[str]:
    """What is not as clients were told, and what they saw that was wrong; through each replica."""
    found = [text for each in record.customers for text in each.wrong]
    pods = setting.registries()
    port = 5000
    for number, customer in enumerate(record.customers):
        pod = pods[number % len(pods)]
        with setting.client(host=f"{pod.address}:{port}") as client:
            try:
                verify(client, customer.ledger)
            except AssertionError as error:
                found.append(str(error))
    return found
