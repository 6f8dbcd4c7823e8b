"""A real kube-apiserver over etcd, on loopback: `make chart` builds it."""

import contextlib
import http.client
import json
import secrets
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cluster.ports import LOOPBACK, take_port
from cluster.process import Process
from conformance.server import answers
from tests.fixtures.programs import TOOLS, find_program

HOME = TOOLS.parent / "kubernetes"
PROGRAM = HOME / "kube-apiserver"

_START_SECONDS = 180
_PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


class RefusedError(Exception):
    """The API server did not take it; the message is its own."""


class ApiServer:
    """What a client says to it, as an administrator.

    Where it warns, the warning is kept in `warnings`: so it tells of pods in a template that the
    namespace would not let in.
    """

    def __init__(self, port: int, token: str) -> None:
        self.warnings: list[str] = []
        self._port = port
        self._token = token
        # Its certificate is of this run.
        self._context = ssl._create_unverified_context()  # noqa: S323

    def call(self, method: str, path: str, document: object = None, kind: str = "json") -> dict:
        """Send a request; RefusedError unless the answer is 2xx."""
        connection = http.client.HTTPSConnection(
            LOOPBACK, self._port, timeout=30, context=self._context
        )
        headers = {"Authorization": f"Bearer {self._token}"}
        if document is not None:
            headers["Content-Type"] = f"application/{kind}"
        try:
            connection.request(method, path, json.dumps(document) if document else None, headers)
            answer = connection.getresponse()
            said = answer.read().decode()
            self.warnings += answer.headers.get_all("Warning") or []
        finally:
            connection.close()
        if answer.status >= 300:
            raise RefusedError(f"{method} {path}: {answer.status} {said[:2000]}")
        return json.loads(said) if said.startswith("{") else {"text": said}

    def ready(self) -> bool:
        try:
            return self.call("GET", "/readyz")["text"] == "ok"
        except (OSError, RefusedError, http.client.HTTPException):
            return False

    def apply(self, thing: dict, *, force: bool = False) -> dict:
        """Apply on the server's side, as kubectl does; unknown fields are refused."""
        options = f"fieldManager=tests&fieldValidation=Strict&force={str(force).lower()}"
        path = f"{place(thing)}/{quote(thing['metadata']['name'])}?{options}"
        return self.call("PATCH", path, thing, "apply-patch+yaml")

    def try_pod(self, name: str, namespace: str, template: dict) -> dict:
        """Create the pod of a template, but for storing it."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, **template.get("metadata", {})},
            "spec": template["spec"],
        }
        return self.call("POST", f"{place(pod)}?dryRun=All&fieldValidation=Strict", pod)


def place(thing: dict) -> str:
    """The path of all objects of this kind, in its namespace if it has one."""
    version, kind = thing["apiVersion"], thing["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = thing["metadata"].get("namespace")
    inner = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inner}/{_PLURALS.get(kind, kind.lower() + 's')}"


@contextlib.contextmanager
def running(home: Path) -> Iterator[ApiServer]:
    """Start etcd and the API server, and end them."""
    etcd, client, peer, port = find_program("etcd"), take_port(), take_port(), take_port()
    token = secrets.token_hex(16)
    (home / "tokens.csv").write_text(f"{token},tests,tests,system:masters\n")
    (home / "tokens.csv").chmod(0o600)
    key = home / "service-accounts.key"
    subprocess.run(
        [shutil.which("openssl"), "genrsa", "-out", key, "2048"], check=True, capture_output=True
    )
    store = f"http://{LOOPBACK}:{client}"
    processes = [
        Process(
            "etcd",
            [
                etcd,
                f"--data-dir={home / 'etcd'}",
                f"--listen-client-urls={store}",
                f"--advertise-client-urls={store}",
                f"--listen-peer-urls=http://{LOOPBACK}:{peer}",
                "--unsafe-no-fsync",
            ],
            log=home / "etcd.log",
            ready=lambda: answers(f"{LOOPBACK}:{client}", "/health"),
        )
    ]
    api = ApiServer(port, token)
    processes.append(
        Process(
            "kube-apiserver",
            [
                str(PROGRAM),
                f"--etcd-servers={store}",
                f"--bind-address={LOOPBACK}",
                f"--advertise-address={LOOPBACK}",
                f"--secure-port={port}",
                f"--cert-dir={home / 'certificates'}",
                f"--token-auth-file={home / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
            ],
            log=home / "kube-apiserver.log",
            ready=api.ready,
        )
    )
    try:
        for process in processes:
            process.start(_START_SECONDS)
        yield api
    finally:
        for process in reversed(processes):
            process.kill()


def wait_for(true, seconds: float = 60) -> None:
    """Wait until it is; TimeoutError after that."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.2)
