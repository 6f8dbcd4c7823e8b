"""``moorage pull-secret``: what Kubernetes needs to pull a project's images."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from registry.cli.remote.client import Client
from registry.cli.remote.output import note
from registry.cli.remote.speaking import Remote

_ABOUT: Final = """\
A pull secret is a robot account that can only pull: from its project, and from what is shared with
that or open to every login. It is printed as a Secret of Kubernetes, which holds its password, this
once."""

_DEFAULT: Final = "kubelet"


def add(remote: Remote) -> None:
    """Add the commands."""
    group = remote.group("pull-secret", "see to image pull secrets", description=_ABOUT)
    issue = group.command(
        "issue",
        "make an image pull secret, or a new one in its place, and print it",
        _issue,
        epilog="examples:\n"
        "  moorage pull-secret issue demo | kubectl apply -f -\n"
        "  moorage pull-secret issue demo batch --namespace demo-batch --overlap 86400",
    )
    _named(issue)
    issue.add_argument(
        "--namespace",
        metavar="NAMESPACE",
        help="where Kubernetes keeps it (default: the project's)",
    )
    issue.add_argument(
        "--as", dest="kept_as", metavar="NAME", help="the Secret's name (default moorage-<name>)"
    )
    issue.add_argument(
        "--overlap",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long the one before stays good too (default 600)",
    )
    _named(group.command("revoke", "end an image pull secret, at once", _revoke))


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project")
    parser.add_argument(
        "name", nargs="?", default=_DEFAULT, help=f"name of its robot account (default {_DEFAULT})"
    )


def _path(options: argparse.Namespace) -> dict[str, str]:
    return {"project": options.project, "robot": options.name}


async def _issue(client: Client, options: argparse.Namespace) -> None:
    body = {
        "namespace": options.namespace,
        "name": options.kept_as,
        "overlap_seconds": options.overlap,
    }
    said = await client.ask("pull-secret.issue", _path(options), body)
    manifest = said.value["manifest"]
    print(json.dumps(manifest, indent=2) if options.json else "\n".join(yaml(manifest)))
    note("It holds a password, which is shown this once: apply it, and keep no copy.")


async def _revoke(client: Client, options: argparse.Namespace) -> None:
    await client.ask("pull-secret.revoke", _path(options))


def yaml(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield the lines of a document of mappings and texts.

    Texts are written as JSON has them, which YAML 1.2 reads as the same (its section 1.3).
    """
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield f"{indent}{key}:"
            yield from yaml(each, f"{indent}  ")
        else:
            yield f"{indent}{key}: {json.dumps(each)}"
