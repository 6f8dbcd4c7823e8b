"""How long it takes to make a project with its environment, which is derived from a base image.

`python -m benchmarks.derive [--gib N] [--layers N] [--projects N] [--workers N] [--s3]`. One base
image of so many layers is pushed into a project that is open to all. Then projects are made one
after another, each in one call that names the base's tag and the tag of the environment. Each layer
is a MiB of random bytes, over and over.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.logins import request
from benchmarks.quotas import MANIFEST, PASSWORD, SECRET
from conformance.server import RegistryProcess
from conformance.stores import StoreProcess

BLOCK = 1024 * 1024


def basic(secret: str) -> dict[str, str]:
    """What the administrator shows."""
    pair = base64.b64encode(f"root:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def push_base(server: RegistryProcess, head: Mapping[str, str], gib: float, layers: int) -> int:
    """Push the base image; return how many bytes its layers have."""
    root = "/v2/base/python"
    size = int(gib * (1 << 30)) // layers

    def blob(pieces: int, piece: bytes) -> dict[str, object]:
        """Push ``piece`` so many times over, in one request, behind bytes that nobody has."""
        body = os.urandom(16) + piece * pieces
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        path = f"{root}/blobs/uploads/?digest={digest}"
        request(server, "POST", path, body, {**head, "Content-Type": "application/octet-stream"})
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(body)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(0, b""),
        "layers": [blob(size // BLOCK, os.urandom(BLOCK)) for _ in range(layers)],
    }
    body = json.dumps(manifest).encode()
    request(server, "PUT", f"{root}/manifests/4.1", body, {**head, "Content-Type": MANIFEST})
    return sum(int(str(layer["size"])) for layer in manifest["layers"])  # type: ignore[index]


def prepare(server: RegistryProcess) -> dict[str, str]:
    """Make the administrator and the base's project; return what the platform shows: a token."""
    kind = {"Content-Type": "application/json"}
    first = {"secret": SECRET, "name": "root", "password": PASSWORD}
    request(server, "POST", "/api/v1/bootstrap", json.dumps(first).encode(), kind)
    wanted = json.dumps({"owner": "user:root", "visibility": "internal"}).encode()
    head = {**basic(PASSWORD), **kind}
    request(server, "PUT", "/api/v1/projects/base", wanted, head)
    made = json.loads(request(server, "POST", "/api/v1/tokens", b'{"label": "platform"}', head))
    return basic(made["secret"])


def create(server: RegistryProcess, head: Mapping[str, str], number: int) -> float:
    """Make a project with its environment; return the seconds that it took."""
    wanted = {
        "name": f"project_{number}",
        "environment": {"repository": "base/python", "reference": "4.1", "tag": "1-4.1.0.0"},
    }
    body, head = json.dumps(wanted).encode(), {**head, "Content-Type": "application/json"}
    began = time.perf_counter()
    request(server, "PUT", f"/api/v1/platform/projects/{number}", body, head)
    return time.perf_counter() - began


def main() -> None:
    """Print the median and the slowest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=3)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--s3", action="store_true", help="keep the content in MinIO")
    options = parser.parse_args()
    settings = {
        "AUTH__MODE": "projects",
        "AUTH__BOOTSTRAP_SECRET": SECRET,
        "RATES__ENABLED": "off",
        "COLLECTION__ENABLED": "false",
        "PLATFORM__SERVICE": "user:root",
        "PLATFORM__BASES": "[]",
    }
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="derive-")))
        settings["LOG__ACCESS_FILE"] = str(work / "access.log")
        if options.s3:
            store = stack.enter_context(StoreProcess("minio", work))
            settings |= store.settings("derive")
        server = stack.enter_context(
            RegistryProcess(
                store="s3" if options.s3 else "filesystem",
                data=None if options.s3 else work / "data",
                log=work / "server.log",
                workers=options.workers,
                settings=settings,
            )
        )
        head = prepare(server)
        size = push_base(server, head, options.gib, options.layers)
        print(f"a base image of {options.layers} layers, {size / 1e9:.2f} GB", flush=True)
        took = [1000 * create(server, head, number) for number in range(1, options.projects + 1)]
    print(
        f"{options.projects} projects: median {statistics.median(took):.0f} ms, "
        f"slowest {max(took):.0f} ms, first {took[0]:.0f} ms"
    )


if __name__ == "__main__":
    main()
