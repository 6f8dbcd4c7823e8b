"""A pull as a kubelet makes it: the credential provider by Kubernetes' types, then containerd.

The service account's token is signed by an issuer of the test, whose keys the registry was given as
the how-to has it. Nothing else is shown by anybody.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jwt
import pytest

from registry import credential_provider
from tests.auth.keys import key_set, signing_key
from tests.clients.secured import Registry, make_client, said
from tests.fixtures.programs import require_program
from tests.fixtures.projects import PASSWORD

pytestmark = pytest.mark.timeout(300)

ISSUER = "https://kubernetes.default.svc.cluster.local"
SETTINGS = """
[auth.kubernetes.prod]
issuer = "{issuer}"
audiences = ["images.example.org"]
jwks_file = "{keys}"
"""


@pytest.fixture(scope="module")
def registry():
    with tempfile.TemporaryDirectory(prefix="kubelet-") as name:
        home = Path(name)
        (home / "keys.json").write_bytes(key_set().jwks())
        settings = home / "settings.toml"
        settings.write_text(SETTINGS.format(issuer=ISSUER, keys=home / "keys.json"))
        made = Registry(home, public=True, arguments=["-c", str(settings)])
        made.process.start()
        try:
            made.put_secret()
            body, head = (
                json.dumps({"role": "guest"}).encode(),
                {"Content-Type": "application/json"},
            )
            member = "/api/v1/projects/demo/members/group:prod/demo"
            assert made.ask("PUT", member, "alice", body, head)[0] == 201
            yield made
        finally:
            made.process.kill()
        made.process.check_log()


@pytest.fixture
def client(request, registry):
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield make_client("containerd", request, Path(home), registry)


def token(namespace, account="default", **claims):
    """What the kubelet has the API server make for the pod (TokenRequest)."""
    now, key = int(time.time()), signing_key()
    good = {
        "iss": ISSUER,
        "aud": ["images.example.org"],
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


def login(registry, image, shown):
    """What the kubelet gives to containerd for the image: a user name and a password."""
    provider = [sys.executable, "-I", "-S", credential_provider.__file__, registry.address]
    done = subprocess.run(
        [require_program("kubelet-exec"), "provider", image, *provider],
        input=shown, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)["auth"][registry.address]
    return entry["Username"], entry["Password"]


def test_a_pod_pulls_with_its_service_account(client, registry, image):
    name = f"{registry.address}/demo/kubelet:v1"
    client.login("alice", PASSWORD)
    client.push(image, name)
    client.login(*login(registry, name, token("demo", "trainer")))
    assert client.pull(name, image.layers) == image.layers
    other = f"{registry.address}/demo/by-kubelet:v1"
    client.load(image, other)
    assert said(client.run, *client.push_arguments(image, other))
    for wrong in (
        token("other"),  # a namespace that is no member
        token("demo", aud=["https://kubernetes.default.svc"]),  # what every pod has
        token("demo", exp=int(time.time()) - 600),
        token("demo", iss="https://elsewhere.example"),
    ):
        client.login(*login(registry, name, wrong))
        assert said(client.pull, name, image.layers)
    # None of which made the others wait, though they come from one address.
    client.login(*login(registry, name, token("demo", "trainer")))
    assert client.pull(name, image.layers) == image.layers
