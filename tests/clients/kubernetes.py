"""What Kubernetes does when a pod's image is pulled: Secrets, and tokens of service accounts.

All that a kubelet makes of either goes through Kubernetes' own types: see tests/kubelet/exec.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jwt

from registry import credential_provider
from tests.auth.keys import key_set, signing_key
from tests.fixtures.programs import require_program
from tests.fixtures.secrecy import SECRETS

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = "images.example.org"
_SETTINGS = """
[auth.kubernetes.prod]
issuer = "{issuer}"
audiences = ["{audience}"]
jwks_file = "{keys}"
"""


class Namespace:
    """The Secrets of a namespace: the one that was applied last is what a puller reads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.secrets: dict[str, bytes] = {}

    def apply(self, manifest: Mapping) -> None:
        """`kubectl apply`: strictly as Kubernetes reads it."""
        assert manifest["metadata"]["namespace"] == self.name
        done = subprocess.run(
            [require_program("kubelet-exec"), "secret"],
            input=json.dumps(manifest).encode(),
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.secrets[manifest["metadata"]["name"]] = done.stdout

    def docker_config(self, name: str = "moorage-kubelet") -> bytes:
        """The Secret's content, of the type kubernetes.io/dockerconfigjson."""
        return self.secrets[name]

    def login(self, address: str, name: str = "moorage-kubelet") -> tuple[str, str]:
        """What the kubelet gives to containerd for an image of the registry."""
        entry = json.loads(self.docker_config(name))["auths"][address]
        SECRETS.note(entry["password"])
        return entry["username"], entry["password"]


class Accounts:
    """Service accounts of a cluster whose keys the registry has in a file."""

    def __init__(self, directory: Path) -> None:
        keys = directory / "cluster-keys.json"
        keys.write_bytes(key_set().jwks())
        self.settings = directory / "cluster.toml"
        self.settings.write_text(_SETTINGS.format(issuer=ISSUER, audience=AUDIENCE, keys=keys))

    @property
    def arguments(self) -> Sequence[str]:
        """What the registry is started with."""
        return ["-c", str(self.settings)]

    def token(self, namespace: str, account: str = "default", **claims: object) -> str:
        """What the kubelet has the API server make for the pod (TokenRequest)."""
        now, key = int(time.time()), signing_key()
        good = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account, "uid": "0d2c1b7e-4f0f-4a4e-9d5b-1f2a3b4c5d6e"},
            },
        } | claims
        return jwt.encode(good, key.private, algorithm=key.algorithm, headers={"kid": key.kid})

    def login(self, address: str, image: str, shown: str) -> tuple[str, str]:
        """What the kubelet gives to containerd for the image, by the credential provider."""
        provider = [sys.executable, "-I", "-S", credential_provider.__file__, address]
        done = subprocess.run(
            [require_program("kubelet-exec"), "provider", image, *provider],
            input=shown, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        entry = json.loads(done.stdout)["auth"][address]
        return entry["Username"], entry["Password"]
