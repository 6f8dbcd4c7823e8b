"""Artifacts that refer to an image, and charts: oras, regctl and helm."""

import json
import os
import random

import pytest

from tests.clients import raw
from tests.clients.client import Client
from tests.clients.content import MIB, hash_file
from tests.fixtures.programs import require_program

pytestmark = pytest.mark.timeout(200)

TYPE = "application/vnd.example.sbom+json"
CONTENT = b'{"packages": ["a", "b"]}\n'


def referrers(address, repository, digest, **parameters):
    """Ask the referrers API; return its descriptors and the filters it applied."""
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    answer = raw.ask("GET", address, f"/v2/{repository}/referrers/{digest}?{query}")
    assert answer.status == 200
    return json.loads(answer.body)["manifests"], answer.headers["OCI-Filters-Applied"]


@pytest.fixture
def reference(client, relay, image, request):
    """An image that the client pushed, for something to refer to."""
    reference = f"{relay.address}/{client.name}-{os.getpid()}/referred:first"
    client.push(image, reference)
    return reference


@pytest.mark.parametrize("client", ["oras"], indirect=True)
def test_oras_attaches_finds_and_copies_a_referrer(client, relay, image, reference):
    (client.home / "sbom.json").write_bytes(CONTENT)
    attach = ["attach", "--plain-http", "--format=json", f"--artifact-type={TYPE}"]
    attached = json.loads(client.run(*attach, reference, "sbom.json:application/json"))

    discover = ["discover", "--plain-http", "--format=json", f"--artifact-type={TYPE}"]
    (found,) = json.loads(client.run(*discover, reference))["referrers"]
    assert found["digest"] == attached["digest"]

    pulled = client.scratch("referrer")
    client.run("pull", "--plain-http", f"--output={pulled}", found["reference"])
    assert (pulled / "sbom.json").read_bytes() == CONTENT

    repository = reference.partition("/")[2].partition(":")[0]
    copy = f"{relay.address}/{repository}-copy:first"
    options = ["--recursive", "--no-tty", "--from-plain-http", "--to-plain-http"]
    client.run("cp", *options, reference, copy)
    described, applied = referrers(
        relay.address, f"{repository}-copy", image.digest, artifactType=TYPE.replace("+", "%2B")
    )
    assert [each["digest"] for each in described] == [attached["digest"]]
    assert applied == "artifactType"


@pytest.mark.parametrize("client", ["regctl"], indirect=True)
def test_regctl_puts_lists_and_gets_a_referrer(client, relay, image, reference):
    (client.home / "sbom.json").write_bytes(CONTENT)
    put = ["artifact", "put", f"--artifact-type={TYPE}", "--file=sbom.json"]
    client.run(*put, "--file-media-type=application/json", f"--subject={reference}")

    filtered = ["--filter-artifact-type", TYPE]
    listed = client.run("artifact", "list", reference, *filtered, "--format={{json .Descriptors}}")
    (found,) = json.loads(listed)
    assert client.run("artifact", "get", f"--subject={reference}", *filtered) == CONTENT.decode()

    repository = reference.partition("/")[2].partition(":")[0]
    described, _ = referrers(relay.address, repository, image.digest)
    assert [each["digest"] for each in described] == [found["digest"]]


class Helm(Client):
    """helm, with a chart of 48 MiB that does not compress."""

    name = "helm"

    def package(self, seed: int) -> str:
        """Make a chart called `moored` and return the name of its package."""
        chart = self.home / "moored"
        (chart / "files").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: moored\nversion: 1.2.3\n")
        (chart / "values.yaml").write_text("replicas: 1\n")
        source = random.Random(seed)  # noqa: S311 - reproducible, not secret
        for number in range(12):  # helm refuses single files above 5 MiB
            (chart / "files" / f"{number}.bin").write_bytes(source.randbytes(4 * MIB))
        self.run("package", "moored")
        return "moored-1.2.3.tgz"


@pytest.fixture
def helm(tmp_path):
    return Helm(require_program("helm"), tmp_path)


@pytest.mark.parametrize("client", ["oras"], indirect=True)
def test_helm_pushes_again_after_a_kill_and_pulls_its_chart(helm, relay):
    package = helm.package(seed=4)
    target = f"oci://{relay.address}/charts-{os.getpid()}"
    push = ["push", "--plain-http", package, target]
    helm.kill_when_sent(20 * MIB, relay, push)
    assert not raw.has_manifest(relay.address, f"charts-{os.getpid()}/moored", "1.2.3")

    helm.run(*push)
    relay.reset()
    helm.run(*push)
    assert relay.sent < MIB  # the second time the chart itself is not sent

    pulled = helm.scratch("pulled")
    pulled.mkdir()
    options = ["--plain-http", "--version=1.2.3", f"--destination={pulled}"]
    helm.run("pull", *options, f"{target}/moored")
    assert hash_file(pulled / package) == hash_file(helm.home / package)
    assert "name: moored" in helm.run("show", "chart", "--plain-http", f"{target}/moored")
