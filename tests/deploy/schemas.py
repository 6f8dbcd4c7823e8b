"""JSON Schemas for kubeconform, made from what releases of Kubernetes say of their API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.api_server import HOME

RELEASES = sorted((HOME / "openapi").glob("*.json")) if HOME.exists() else []

_INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
_LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
_REFERENCE = "#/definitions/"


def write(release: Path, into: Path) -> None:
    """Write one file for each kind of the release, and of what is defined beside it.

    Fields that are not named are errors.
    """
    definitions = json.loads(release.read_text())["definitions"] | _LOOSE
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            reached = {each: _strict(definitions[each]) for each in _reached(name, definitions)}
            schema = {"$ref": _REFERENCE + name, "definitions": reached}
            _save(into, kind["kind"], kind["group"], kind["version"], schema)
    for path in (HOME / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            _save(into, spec["names"]["kind"], spec["group"], version["name"], schema)


def _save(into: Path, kind: str, group: str, version: str, schema: dict[str, Any]) -> None:
    # Of the core's kinds, kubeconform takes the version for the group.
    (into / f"{kind}_{group or version}_{version}.json".lower()).write_text(json.dumps(schema))


LOCATION = "{{ .ResourceKind }}_{{ .Group }}_{{ .ResourceAPIVersion }}.json"


def _reached(name: str, definitions: dict[str, Any]) -> set[str]:
    """The names of the definitions that one needs, itself too."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += _references(definitions[one])
    return found


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference.removeprefix(_REFERENCE)
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def _strict(part: Any) -> Any:
    if isinstance(part, list):
        return [_strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("x-kubernetes-int-or-string"):
        return _INT_OR_STRING
    made = {key: _strict(each) for key, each in part.items()}
    if isinstance(made.get("properties"), dict) and "type" in made:
        made.setdefault(
            "additionalProperties", bool(made.get("x-kubernetes-preserve-unknown-fields"))
        )
    return made
