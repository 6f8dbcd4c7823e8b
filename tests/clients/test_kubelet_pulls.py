"""A pull as a kubelet makes it: the credential provider by Kubernetes' types, then containerd.

The service account's token is signed by an issuer of the test, whose keys the registry was given as
the how-to has it. Nothing else is shown by anybody.
"""

import json
import tempfile
import time
from pathlib import Path

import pytest

from tests.clients.kubernetes import Accounts
from tests.clients.secured import Registry, make_client, said
from tests.fixtures.projects import PASSWORD

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def accounts():
    with tempfile.TemporaryDirectory(prefix="accounts-") as name:
        yield Accounts(Path(name))


@pytest.fixture(scope="module")
def registry(accounts):
    with tempfile.TemporaryDirectory(prefix="kubelet-") as home:
        made = Registry(Path(home), public=True, arguments=accounts.arguments)
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


def test_a_pod_pulls_with_its_service_account(client, registry, accounts, image):
    def login(token):
        client.login(*accounts.login(registry.address, name, token))

    name = f"{registry.address}/demo/kubelet:v1"
    client.login("alice", PASSWORD)
    client.push(image, name)
    login(accounts.token("demo", "trainer"))
    assert client.pull(name, image.layers) == image.layers
    other = f"{registry.address}/demo/by-kubelet:v1"
    client.load(image, other)
    assert said(client.run, *client.push_arguments(image, other))
    for wrong in (
        accounts.token("other"),  # a namespace that is no member
        accounts.token("demo", aud=["https://kubernetes.default.svc"]),  # what every pod has
        accounts.token("demo", exp=int(time.time()) - 600),
        accounts.token("demo", iss="https://elsewhere.example"),
    ):
        login(wrong)
        assert said(client.pull, name, image.layers)
    # None of which made the others wait, though they come from one address.
    login(accounts.token("demo", "trainer"))
    assert client.pull(name, image.layers) == image.layers
