"""The bundled installation, run from its manifests; a whole node is lost while clients go on.

    unshare --net --mount python -m tests.deploy.drill HOME

Prints what was seen, as JSON.
"""

import base64
import http.client
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from cluster.cluster import find_program
from cluster.pods import Pods
from deploy.k8s import render
from tests.deploy.rendered import load

NAMES = {
    "moorage-s3": ("access-key", "secret-key"),
    "moorage-redis": ("password",),
    "moorage-auth": ("audit-key", "signing-key-password", "bootstrap-secret"),
}
PROJECT = "demo"
NODE = 0
"""The one that is lost: the first of each kind was on it, so the Redis that is the primary."""
HOST = "moorage:80"
"""The registry, as clients in the cluster reach it: by its Service."""


def main() -> None:
    home = Path(sys.argv[1])
    known = {name: {key: secrets.token_hex(16) for key in keys} for name, keys in NAMES.items()}
    # With one worker, for this machine; and without an Ingress that ends TLS.
    values = [
        render.HERE / "values" / "bundled.yaml",
        "workers=1",
        f'config.server.public_url="http://{HOST}"',
    ]
    objects = load(render.template(values, tests=False))
    serve = {"registry": [str(Path(sys.executable).with_name("moorage"))]}
    began = time.monotonic()
    with Pods(
        home, objects, secrets=known, programs=serve, haproxy=find_program("haproxy")
    ) as pods:
        seen: dict[str, object] = {"pods": len(pods.pods)}
        seen["ready_seconds"] = round(time.monotonic() - began, 1)
        drill(pods, home, known, seen)
        print(json.dumps(seen))


def drill(pods: Pods, home: Path, known: Mapping[str, Mapping[str, str]], seen: dict) -> None:
    secret = secrets.token_hex(16)
    body = {
        "secret": known["moorage-auth"]["bootstrap-secret"],
        "name": "root",
        "password": secret,
    }
    call("POST", "/api/v1/bootstrap", body)
    login = base64.b64encode(f"root:{secret}".encode()).decode()
    call("PUT", f"/api/v1/projects/{PROJECT}", {}, login)
    (home / "config.json").write_text(json.dumps({"auths": {HOST: {"auth": login}}}))
    stop, longest = threading.Event(), [0.0]
    pushed, repeated, failed = [], [], []

    def work(client: int) -> None:
        layer = home / f"layer-{client}"
        number = 0
        while not stop.is_set():
            number += 1
            layer.write_bytes(secrets.token_bytes(300_000))
            name = f"{HOST}/{PROJECT}/client-{client}:{number}"
            start = time.monotonic()
            push = ("push", name, f"{layer.name}:application/octet-stream")
            if (done := oras(home, *push)).returncode:
                # What ran on the replica that died is cut off with its connection.
                repeated.append((name, done.stderr[-500:]))
                done = oras(home, *push)
            longest[0] = max(longest[0], time.monotonic() - start)
            (failed if done.returncode else pushed).append((name, done.stderr[-500:]))

    clients = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    time.sleep(15)
    seen["pushed_before"] = len(pushed)
    seen["longest_before"], longest[0] = round(longest[0], 1), 0.0
    lost = pods.on_node(NODE)
    for pod in lost:
        pod.kill()
    before = {pod.name: pod.restarts for pod in pods.pods}
    seen["lost"] = [pod.name for pod in lost]
    time.sleep(60)
    stop.set()
    for client in clients:
        client.join()
    seen["pushed"] = len(pushed)
    seen["longest_after"] = round(longest[0], 1)
    seen["repeated"] = len(repeated)
    seen["failed"] = failed[:3]
    seen["unreadable"] = [
        name for name, _ in pushed if oras(home, "manifest", "fetch", name).returncode
    ]
    seen["restarts_after"] = {
        pod.name: pod.restarts - before[pod.name]
        for pod in pods.pods
        if pod.restarts > before[pod.name]
    }


def oras(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [find_program("oras"), *arguments, "--plain-http"]
    command += ["--registry-config", str(home / "config.json")]
    return subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=300, check=False
    )


def call(method: str, path: str, body: object, login: str = "") -> None:
    connection = http.client.HTTPConnection(HOST, timeout=60)
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Basic {login}"} if login else {}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status >= 300:
        raise RuntimeError(f"{path}: {answer.status} {answer.read().decode()}")


if __name__ == "__main__":
    main()
