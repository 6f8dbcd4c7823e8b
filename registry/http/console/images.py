"""Images and other artifacts: how to pull them, what they are made of, what refers to them."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from auth.identity import Identity, Kind
from registry.http.console.visit import Page, PageRoute, Visit
from registry.http.management.environment_views import WholeVersionView
from registry.http.management.manifests import ImageConfigView, ManifestView
from registry.http.management.repositories import OfDigest, OfTag
from registry.http.management.tag_views import TagHistoryView
from registry.http.management.views import TagView
from registry.spec.errors import ManifestUnknown
from registry.spec.problems import Invalid

ROWS: Final = 60
"""Most rows of a list on the page of an image: some have thousands of layers, or of labels."""

LONGEST: Final = 4000
"""Most characters of a text there."""

_HELM: Final = "application/vnd.cncf.helm.config.v1+json"
_NO_LABEL: Final = re.compile(r"[^a-z0-9]+")


class Command(msgspec.Struct, frozen=True):
    """A command that pulls, and the program that it is for."""

    label: str
    text: str


async def show_tag(visit: Visit[OfTag]) -> Page:
    """A tag: the image that it leads to, and what it was built on."""
    name, tag = str(visit.input.repository), str(visit.input.tag)
    found = await visit.need("tag.get", TagView, repository=name, tag=tag)
    version: WholeVersionView | None = None
    try:
        version = await visit.ask("environment.version", WholeVersionView, repository=name, tag=tag)
    except (ManifestUnknown, Invalid):
        version = None  # no image, or in a repository with too many of them
    history = await visit.ask("tag.history", TagHistoryView, repository=name, tag=tag)
    manifest = await visit.need(
        "manifest.describe", ManifestView, repository=name, digest=found.digest
    )
    reference = f"{visit.host}/{name}:{tag}"
    facts = _facts(visit, name, manifest, reference) | {
        "title": f"{name}:{tag}",
        "tag": found,
        "version": version,
        "history": history,
    }
    return Page("image.html", facts)


async def show_manifest(visit: Visit[OfDigest]) -> Page:
    """A manifest by its digest: of an index, or one that refers to another."""
    name, digest = str(visit.input.repository), str(visit.input.digest)
    manifest = await visit.need("manifest.describe", ManifestView, repository=name, digest=digest)
    facts = _facts(visit, name, manifest, f"{visit.host}/{name}@{digest}") | {
        "title": f"{name}@{digest[:19]}",
        "tag": None,
        "version": None,
        "history": None,
    }
    return Page("image.html", facts)


def _facts(visit: Visit[Any], name: str, manifest: ManifestView, reference: str) -> dict[str, Any]:
    image = manifest.config is not None or bool(manifest.manifests) or bool(manifest.platforms)
    config = manifest.config
    return {
        "name": name,
        "project": name.partition("/")[0],
        "manifest": manifest,
        "commands": _commands(visit, name, manifest, reference, image=image),
        "fixed": f"{visit.host}/{name}@{manifest.digest}",
        # The first blob of an image is its config.
        "layers": manifest.blobs[1:] if config is not None else manifest.blobs,
        "runs": [] if config is None else _runs(config),
        "labels": {} if config is None else config.labels,
        "rows": ROWS,
        "longest": LONGEST,
    }


def _commands(
    visit: Visit[Any], name: str, manifest: ManifestView, reference: str, *, image: bool
) -> list[Command]:
    plain = not visit.secure
    user = _login_of(visit.identity)
    if manifest.artifact_type == _HELM:
        words = ["helm", "pull", f"oci://{reference}"]
        if "@" not in reference:
            chart, _, version = reference.rpartition(":")
            words = ["helm", "pull", f"oci://{chart}", "--version", version]
        return [Command("helm", shlex.join([*words, *(["--plain-http"] if plain else [])]))]
    if not image:
        words = ["oras", "pull", *(["--plain-http"] if plain else []), reference]
        return [Command("oras", shlex.join(words))]
    label = _NO_LABEL.sub("-", name.rpartition("/")[2]).strip("-") or "app"
    insecure = ["--tls-verify=false"] if plain else []
    ctr = [*(["--plain-http"] if plain else []), *(["--user", user] if user else [])]
    words = ["kubectl", "create", "deployment", label, f"--image={reference}"]
    return [
        Command("docker", shlex.join(["docker", "pull", reference])),
        Command("podman", shlex.join(["podman", "pull", *insecure, reference])),
        Command("containerd", shlex.join(["ctr", "images", "pull", *ctr, reference])),
        Command("kubectl", shlex.join(words)),
    ]


def _login_of(identity: Identity) -> str:
    """What the visitor gives as its user name to log in; ``""`` for who has no name for that."""
    name = identity.name.partition(":")[2]
    if identity.kind is Kind.ROBOT:
        return name.replace("/", "+")
    return name if identity.kind is Kind.USER else ""


def _runs(config: ImageConfigView) -> list[tuple[str, str]]:
    """What a container of the image runs, in the words of its config."""
    found: Mapping[str, str] = {
        "Entrypoint": _joined(" ", config.entrypoint, shlex.quote),
        "Command": _joined(" ", config.command, shlex.quote),
        "Directory": config.working_dir,
        "User": config.user,
        "Ports": _joined(", ", config.ports),
        "Created": config.created,
        "Author": config.author,
        "Variables": _joined("\n", config.environment),
    }
    return [(label, text) for label, text in found.items() if text]


def _joined(between: str, words: Sequence[str], written: Callable[[str], str] = str) -> str:
    """Join words, each as it is ``written``: no more of them, nor of each, than is shown."""
    text = between.join(written(each[:LONGEST]) for each in words[:ROWS])
    return text if len(words) <= ROWS else f"{text} …"


PAGES = (
    PageRoute.of("/repositories/{repository}/tags/{tag}", "tag", OfTag, show_tag),
    PageRoute.of(
        "/repositories/{repository}/manifests/{digest}", "manifest", OfDigest, show_manifest
    ),
)
