"""The chart on a real kube-apiserver, under the *restricted* level: `make chart`."""

import copy
import os

import pytest
import yaml

from deploy.k8s import render
from tests.deploy import api_server
from tests.deploy.rendered import EXAMPLES, load, objects, pods
from tests.fixtures.programs import require_program

pytestmark = [
    pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it"),
    pytest.mark.timeout(400),
]

EVERY = sorted(EXAMPLES)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    require_program("helm")
    require_program("etcd")
    if not api_server.PROGRAM.exists():
        pytest.skip("not installed: kube-apiserver (`make chart` builds it)")
    with api_server.running(tmp_path_factory.mktemp("kubernetes")) as api:
        for path in sorted((api_server.HOME / "crds").glob("*.yaml")):
            api.apply(yaml.safe_load(path.read_text()))
        group = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        api_server.wait_for(lambda: established(api.call("GET", group)))
        yield api


def established(found):
    """Whether each definition is served."""
    served = [
        any(
            one["type"] == "Established" and one["status"] == "True"
            for one in (each.get("status") or {}).get("conditions") or []
        )
        for each in found["items"]
    ]
    return len(served) == len(list((api_server.HOME / "crds").glob("*.yaml"))) and all(served)


@pytest.fixture(params=EVERY)
def namespace(api, request):
    """A namespace of an example's own, which lets in nothing but what is restricted."""
    labels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    name = request.param
    meta = {"name": name, "labels": labels}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    api.apply({**account, "metadata": {"name": "default", "namespace": name}})
    api.warnings.clear()
    return name


def moved(thing, namespace):
    """The object, but in this namespace."""
    thing = copy.deepcopy(thing)
    assert thing["metadata"]["namespace"] == render.NAMESPACE
    thing["metadata"]["namespace"] = namespace
    return thing


def test_every_manifest_applies_and_is_not_warned_of(api, namespace):
    for thing in objects(namespace):
        api.apply(moved(thing, namespace))
    assert api.warnings == []
    # And once more, as at each upgrade, without taking anything away from anybody.
    for thing in objects(namespace):
        api.apply(moved(thing, namespace))


def test_the_plain_manifests_apply(api, namespace):
    path = render.HERE / "manifests" / f"{namespace}.yaml"
    if not path.exists():
        pytest.skip("not one of the plain ones")
    for thing in load(path.read_text()):
        api.apply(moved(thing, namespace), force=True)
    assert api.warnings == []


def test_every_pod_is_let_in(api, namespace):
    for thing in objects(namespace):
        if thing["kind"] == "ServiceAccount":
            api.apply(moved(thing, namespace), force=True)
    for number, (_, template) in enumerate(pods(objects(namespace))):
        made = api.try_pod(f"pod-{number}", namespace, template)
        mounted = [volume for volume in made["spec"].get("volumes", []) if "projected" in volume]
        tokens = [
            source
            for volume in mounted
            for source in volume["projected"]["sources"]
            if "serviceAccountToken" in source
        ]
        assert bool(tokens) == template["spec"]["automountServiceAccountToken"]
    assert api.warnings == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "securityContext", "runAsNonRoot"), False),
        (("spec", "securityContext", "seccompProfile"), None),
        (("spec", "hostNetwork"), True),
        (("spec", "containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
        (("spec", "containers", 0, "securityContext", "capabilities"), None),
    ],
)
def test_a_pod_with_more_rights_would_be_refused(api, namespace, place, value):
    """The level is enforced, so that the test above means something."""
    _, template = next(pods(objects(namespace)))
    template = copy.deepcopy(template)
    template["spec"].pop("serviceAccountName", None)
    here = template
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    with pytest.raises(api_server.RefusedError, match="violates PodSecurity"):
        api.try_pod("pod", namespace, template)


def test_an_unknown_field_would_be_refused(api, namespace):
    thing = moved(next(one for one in objects(namespace) if one["kind"] == "Deployment"), namespace)
    thing["metadata"]["name"] = "misspelt"
    thing["spec"]["replica"] = 3
    with pytest.raises(api_server.RefusedError, match=r"replica"):
        api.apply(thing)


def test_an_upgrade_changes_what_it_may(api, namespace):
    """New settings, sizes and images go into what is there: no field that can't change changes."""
    for thing in objects(namespace):
        api.apply(moved(thing, namespace), force=True)
    newer = objects(
        namespace,
        'image.tag="9.9"',
        "workers=4",
        "config.server.drain_seconds=300",
        'redis.image.tag="9"',
        "replicas=5",
    )
    changed = 0
    for thing in newer:
        if "helm.sh/hook" in thing["metadata"].get("annotations", {}):
            continue  # helm removes the one before
        before = api.call(
            "GET", f"{api_server.place(moved(thing, namespace))}/{thing['metadata']['name']}"
        )
        after = api.apply(moved(thing, namespace), force=True)
        changed += before["metadata"].get("generation") != after["metadata"].get("generation")
    assert changed >= 5
