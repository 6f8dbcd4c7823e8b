"""The chart's manifests, as objects."""

import copy
import json
from functools import cache
from pathlib import Path

import yaml

from deploy.k8s import render

HERE = Path(__file__).parent
EVERYTHING = HERE / "everything.yaml"
"""Values with which the chart makes all that it can make."""

EXAMPLES = {path.stem: path for path in [*render.EXAMPLES, EVERYTHING]}


def load(text):
    """The objects of some manifests."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


@cache
def objects(name, *values):
    """The objects that an example makes, with `values` like `replicas=5` over it."""
    return load(render.template([EXAMPLES[name], *values]))


def one(found, kind, name=None):
    """The only object of a kind (with a name)."""
    (chosen,) = (
        each for each in found if each["kind"] == kind and name in (None, each["metadata"]["name"])
    )
    return chosen


def pods(found):
    """The name and the pod's template of each workload, with the claims that a controller adds."""
    for each in found:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            template = copy.deepcopy(spec["template"])
            for claim in spec.get("volumeClaimTemplates", []):
                name = claim["metadata"]["name"]
                volume = {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-0"}}
                template["spec"]["volumes"].append(volume)
            yield f"{each['kind']}/{each['metadata']['name']}", template


def defaults():
    """The values that the chart has by itself."""
    return yaml.load((render.CHART / "values.yaml").read_text(), yaml.CSafeLoader)


def leaves(values, *path):
    """Each value that is no filled map, with its path."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, *path, key)
    else:
        yield path, values


def option(path, value):
    """The `--set-json` of a value."""
    keys = (key.replace(".", "\\.") for key in path)
    return f"{'.'.join(keys)}={json.dumps(value)}"
