"""The manifests against schemas of each supported Kubernetes, and against a policy checker.

`make chart` gets the programs and the schemas.
"""

import json
import os
import subprocess

import pytest

from deploy.k8s import render
from deploy.k8s.render import NODES, NODES_EXAMPLE
from tests.deploy import schemas
from tests.deploy.rendered import EXAMPLES, load
from tests.fixtures.programs import require_program

pytestmark = pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it")

EVERY = sorted(EXAMPLES)

FIRST_FOR_NODES = ["1", "34"]
"""The release of Kubernetes from which on kubelets give providers tokens."""

_SPREAD = "does not have a host podAntiAffinity set"

IGNORED = {
    # Topology spread is as strict about nodes, and lets a fourth pod run on three of them.
    "deployment-has-host-podantiaffinity": f"Deployment {_SPREAD}",
    "statefulset-has-host-podantiaffinity": f"StatefulSet {_SPREAD}",
    # A limit of processor time only makes slow, also where there is time to spare.
    "container-resources": "CPU limit is not set",
    # An image that was pushed under a tag is pulled once; a digest can be given.
    "container-image-pull-policy": "ImagePullPolicy is not set to Always",
}


def run(program, *arguments, text=""):
    return subprocess.run(
        [require_program(program), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module", params=schemas.RELEASES, ids=lambda path: path.stem)
def release(request, tmp_path_factory):
    """A directory with the schemas of a release of Kubernetes, and the release."""
    into = tmp_path_factory.mktemp("schemas")
    schemas.write(request.param, into)
    return into, request.param.stem


def conform(release, text):
    into, version = release
    options = ["-strict", "-summary", "-output", "json", "-kubernetes-version", version[1:]]
    return run(
        "kubeconform", *options, "-schema-location", f"{into}/{schemas.LOCATION}", "-", text=text
    )


def valid(release, text):
    """How many manifests there are, all of which have to be valid."""
    checked = conform(release, text)
    summary = json.loads(checked.stdout)["summary"]
    assert checked.returncode == 0, checked.stdout
    assert summary["skipped"] == summary["invalid"] == summary["errors"] == 0
    return summary["valid"]


def test_there_are_releases_to_check_against():
    assert len(schemas.RELEASES) >= 3, "run `make chart`"


@pytest.mark.parametrize("name", EVERY)
def test_manifests_are_valid(release, name):
    text = render.template([EXAMPLES[name]], version=release[1][1:])
    assert valid(release, text) > 20


def test_what_nodes_need_is_valid(release):
    """On the releases that the chart is for; helm makes nothing of it for older ones."""
    version = release[1][1:]
    if version.split(".") < FIRST_FOR_NODES:
        with pytest.raises(RuntimeError, match="requires kubeVersion"):
            render.template([NODES_EXAMPLE], version=version, chart=NODES)
        return
    text = render.template([NODES_EXAMPLE], version=version, chart=NODES)
    assert valid(release, text) == len(load(text)) >= 4
    assert conform(release, text.replace("hostPath:", "hostpath:")).returncode == 1


def test_there_is_a_release_to_check_what_nodes_need_against():
    assert any(path.stem[1:].split(".") >= FIRST_FOR_NODES for path in schemas.RELEASES)


def test_a_field_that_there_is_not_would_be_found(release):
    text = render.template([EXAMPLES["bundled"]]).replace("maxUnavailable: 1", "maxUnavailabel: 1")
    assert conform(release, text).returncode == 1


@pytest.mark.parametrize("name", EVERY)
def test_policies_have_nothing_critical_to_say(name):
    checked = run("kube-score", "score", "-o", "json", "-", text=render.template([EXAMPLES[name]]))
    found = [
        f"{thing['object_name']}: {check['check']['id']}: {comment['summary']}"
        for thing in json.loads(checked.stdout)
        for check in thing["checks"] or []
        if check["grade"] <= 5 and not check.get("skipped")
        for comment in check["comments"] or [{"summary": ""}]
        if IGNORED.get(check["check"]["id"]) != comment["summary"]
    ]
    assert found == []
