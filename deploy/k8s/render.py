"""Write what is made from the chart's sources: the schema of its values, and the plain manifests.

    python -m deploy.k8s.render [--check]

`values.schema.json` is written by hand but for the settings in it, which come from the registry's
own configuration. `manifests/` has one file for each of `values/`, for people without helm.
With `--check` nothing is written: the exit code is 1 where something is stale.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.cluster import find_program
from registry import config

HERE = Path(__file__).resolve().parent
CHART = HERE / "moorage"
NODES = HERE / "nodes"
"""The chart of what nodes need, of which there is one example."""

SCHEMA = CHART / "values.schema.json"
EXAMPLES = sorted((HERE / "values").glob("*.yaml"))
NODES_EXAMPLE = 'registries=["images.example.org"]'
NAMESPACE = "moorage"
KUBERNETES = ("1.30", "1.34")
"""The oldest and the newest release of Kubernetes that manifests are made for."""

_BY_HAND = (
    *("Digest", "Image", "Resources", "Amounts", "Quantity", "Unsatisfiable", "Job", "SecretKey"),
)
_HEADER = """\
# Made from deploy/k8s/moorage with deploy/k8s/values/{name} by `make manifests`: edit those.
# Make the namespace and the Secrets first: docs/how-to/install-on-kubernetes.md.
"""


_NODES_HEADER = """\
# Made from deploy/k8s/nodes for the registry images.example.org by `make manifests`: edit that.
# What it is for, and the namespace that it needs: docs/how-to/pull-with-kubelet.md.
"""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm, with nothing of the user's own configuration."""
    return subprocess.run(
        [find_program("helm"), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def template(
    values: Sequence[Path | str],
    *,
    version: str = KUBERNETES[-1],
    tests: bool = True,
    chart: Path = CHART,
) -> str:
    """Return a chart's manifests. A text of `values` is an option like `host=a.example`.

    RuntimeError says what helm made of it.
    """
    options = [
        option
        for value in values
        for option in (("-f", str(value)) if isinstance(value, Path) else ("--set-json", value))
    ]
    name = NAMESPACE if chart == CHART else f"{NAMESPACE}-{chart.name}"
    made = helm(
        *("template", name, str(chart)),
        *("--namespace", name, "--kube-version", version),
        *([] if tests else ["--skip-tests"]),
        *options,
    )
    if made.returncode:
        raise RuntimeError(made.stderr.strip())
    return made.stdout


def schema(written: str) -> str:
    """Return the schema of the values: what is written by hand, with the settings of today.

    Settings that are secrets are left out of `config`, whose place is a ConfigMap; they are what
    `secrets` may name.
    """
    document: dict[str, Any] = json.loads(written)
    made = config.schema()["$defs"]
    names = []
    for setting in config.settings():
        if setting.secret:
            del made[setting.holder.__name__]["properties"][setting.key]
            names.append(setting.name)
    document["$defs"] = {name: document["$defs"][name] for name in _BY_HAND} | made
    properties = document["properties"]
    properties["config"] = {"$ref": "#/$defs/Config"}
    properties["secrets"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"$ref": "#/$defs/SecretKey"} for name in sorted(names)},
    }
    return json.dumps(document, indent=2) + "\n"


def made() -> Iterator[tuple[Path, str]]:
    """Each file that is made, with what it should hold. The schema first: helm reads it."""
    yield SCHEMA, schema(SCHEMA.read_text())
    for values in EXAMPLES:
        header = _HEADER.format(name=values.name)
        yield HERE / "manifests" / values.name, header + template([values], tests=False)
    yield HERE / "manifests" / "nodes.yaml", _NODES_HEADER + template([NODES_EXAMPLE], chart=NODES)


def main() -> int:
    """Write, or check, all of them."""
    stale = 0
    for path, content in made():
        if path.exists() and path.read_text() == content:
            continue
        stale += 1
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(HERE)}")
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    return int("--check" in sys.argv and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
