"""Manifests: what an image is made of, what it runs, and what refers to it."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.repositories import OfDigest
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import Platforms, View
from registry.spec import image_config
from registry.spec.errors import (
    DigestInvalid,
    DigestUnsupported,
    ManifestUnknown,
    NameUnknown,
)
from registry.spec.image_config import ImageConfig
from registry.spec.manifest import Descriptor, Manifest
from registry.spec.pagination import Page

_REFERRERS: Final = 100

Annotations = Annotated[dict[str, str], Meta(description="As they were pushed: nobody checked.")]


class DescriptorView(View, frozen=True, kw_only=True):
    """A reference to content."""

    digest: str
    media_type: str
    bytes: int
    artifact_type: str | None = None
    platform: Annotated[str | None, Meta(examples=["linux/amd64"])] = None
    annotations: Annotations


class ImageConfigView(View, frozen=True, kw_only=True):
    """What an image runs, as its config says. What is missing is empty."""

    created: str
    author: str
    user: str
    working_dir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...]
    ports: tuple[str, ...]
    labels: Annotations


class ManifestView(View, frozen=True, kw_only=True):
    """A manifest, and what refers to it."""

    digest: str
    media_type: str
    bytes: Annotated[int, Meta(description="Size of the manifest itself.")]
    artifact_type: str | None
    annotations: Annotations
    platforms: Platforms
    config: Annotated[
        ImageConfigView | None,
        Meta(description="Null for what is no image, and for a config that can't be read."),
    ]
    blobs: Annotated[
        tuple[DescriptorView, ...], Meta(description="Of an image its config, then its layers.")
    ]
    manifests: Annotated[tuple[DescriptorView, ...], Meta(description="Those of an index.")]
    subject: Annotated[str | None, Meta(description="The manifest that it refers to.")]
    referrers: Annotated[
        tuple[DescriptorView, ...], Meta(description="Manifests that refer to it, the first 100.")
    ]
    more_referrers: bool


async def get_manifest(call: Call[OfDigest, None]) -> Reply:
    """Describe a manifest."""
    services, digest = call.managed.services, call.input.digest
    stored = await services.manifests.get(call.place, digest)
    manifest = await stored.parsed()
    config = await services.configs.read(call.place, manifest)
    referrers, last = await services.manifests.referrers_of(
        call.place, digest, (), Page(_REFERRERS, None)
    )
    more = last is not None
    view = await stored.beside(lambda: _view(digest, manifest, config, referrers, more=more))
    # Without an entity tag: what refers to a manifest changes, and its digest does not.
    return Reply(view)


def _view(
    digest: str,
    manifest: Manifest,
    config: ImageConfig | None,
    referrers: Sequence[Any],
    *,
    more: bool,
) -> ManifestView:
    platforms = image_config.platforms_of_index(manifest)
    if config is not None and config.platform:
        platforms = (config.platform,)
    return ManifestView(
        digest=digest,
        media_type=manifest.media_type,
        bytes=manifest.size,
        artifact_type=manifest.artifact_type,
        annotations=manifest.annotations,
        platforms=platforms,
        config=None if config is None else _config(config),
        blobs=tuple(map(_descriptor, (*manifest.blobs, *manifest.foreign))),
        manifests=tuple(map(_descriptor, manifest.manifests)),
        subject=None if manifest.subject is None else manifest.subject.digest,
        referrers=tuple(map(_referrer, referrers)),
        more_referrers=more,
    )


def _descriptor(found: Descriptor) -> DescriptorView:
    return DescriptorView(
        digest=found.digest,
        media_type=found.media_type,
        bytes=found.size,
        artifact_type=found.artifact_type,
        platform=image_config.platform_text(found.platform) or None,
        annotations=found.annotations or {},
    )


def _referrer(found: Any) -> DescriptorView:
    return DescriptorView(
        digest=found["digest"],
        media_type=found["mediaType"],
        bytes=found["size"],
        artifact_type=found.get("artifactType"),
        annotations=found.get("annotations") or {},
    )


def _config(found: ImageConfig) -> ImageConfigView:
    return ImageConfigView(
        created=found.created,
        author=found.author,
        user=found.user,
        working_dir=found.working_dir,
        entrypoint=found.entrypoint,
        command=found.command,
        environment=found.environment,
        ports=found.ports,
        labels=found.labels,
    )


ROUTES = (
    Route.of(
        "GET /repositories/{repository}/manifests/{digest}",
        "manifest.describe",
        Verb.PULL,
        "Describe a manifest, what it is made of, and what refers to it",
        get_manifest,
        OfDigest,
        ManifestView,
        refusals=(DigestInvalid, DigestUnsupported, ManifestUnknown, NameUnknown),
    ),
)
