"""What answers about environments look like."""

from typing import Annotated

from msgspec import Meta

from registry.http.management.views import Page, Platforms, Time, View

_Count = Annotated[int, Meta(ge=0)]


class BaseView(View, frozen=True, kw_only=True):
    """A base image that an image begins with."""

    repository: str
    tag: str
    digest: str
    layers: Annotated[int, Meta(description="How many layers it has.")]
    content_bytes: _Count


class ClaimView(View, frozen=True, kw_only=True):
    """What an image's annotations say of its base (`org.opencontainers.image.base.*`)."""

    name: str
    digest: str


class LastPullView(View, frozen=True, kw_only=True):
    """When a version was pulled last, by its tag or its digest, and by whom."""

    at: Time
    by: Annotated[str, Meta(examples=["robot:demo/serving"])]


class VersionView(View, frozen=True, kw_only=True):
    """A version of an environment: a tag that leads to an image."""

    tag: str
    digest: str
    pushed: Time
    by: Annotated[str, Meta(description="Who pushed the tag there.")]
    layers: Annotated[int, Meta(description="Of an index: of its image for linux/amd64.")]
    content_bytes: Annotated[int, Meta(description="Size of its config and layers.")]
    base: Annotated[
        BaseView | None, Meta(description="The known base image with most of its layers.")
    ]
    annotated_base: Annotated[ClaimView | None, Meta(description="Not checked.")]
    previous: Annotated[
        str | None,
        Meta(
            description="The tag that it was built on: the one with most of its layers, or else "
            "the one pushed before it."
        ),
    ]
    added_bytes: Annotated[int, Meta(description="What neither base nor previous one has.")]
    last_pull: Annotated[
        LastPullView | None,
        Meta(description="Null too for callers that may not see the pull history."),
    ]
    platforms: Platforms


class VersionPage(Page, frozen=True, kw_only=True):
    """A page of versions, the newest first."""

    items: tuple[VersionView, ...]


class LayerView(View, frozen=True, kw_only=True):
    """A layer, and where it comes from: `base`, `previous` or `own`."""

    digest: str
    bytes: int
    origin: str


class WholeVersionView(VersionView, frozen=True, kw_only=True):
    """A version with its layers, the lowest first."""

    layer_list: tuple[LayerView, ...]


class PackageView(View, frozen=True, kw_only=True):
    """A package; `kind` is that of its package URL, such as pypi or conda, or empty."""

    name: str
    kind: str
    versions: tuple[str, ...]


class PackagePage(Page, frozen=True, kw_only=True):
    """A page of the packages of a version, by name, and the referrer that lists them."""

    items: tuple[PackageView, ...]
    referrer: Annotated[str | None, Meta(description="Its digest.")]
    artifact_type: str | None
    problem: Annotated[str | None, Meta(description="Why there are none.")]


class ChangeView(View, frozen=True, kw_only=True):
    """A package that differs. `before` is empty for one that was added, `after` if removed."""

    name: str
    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class ChangePage(Page, frozen=True, kw_only=True):
    """How a version differs from another: its bytes, and a page of the packages that do."""

    since: Annotated[str, Meta(description="The tag that it is compared with.")]
    tag: str
    added_bytes: Annotated[int, Meta(description="Content that the other has not.")]
    removed_bytes: Annotated[int, Meta(description="Content that only the other has.")]
    items: tuple[ChangeView, ...]
    problem: Annotated[str | None, Meta(description="Why packages could not be compared.")]


class SharingView(View, frozen=True, kw_only=True):
    """What images take, in bytes. Physical are base, shared and unique bytes together."""

    images: int
    logical_bytes: Annotated[int, Meta(description="If each image was stored by itself.")]
    physical_bytes: Annotated[int, Meta(description="Each layer and config once.")]
    base_bytes: Annotated[int, Meta(description="What known base images have too.")]
    shared_bytes: Annotated[int, Meta(description="What several of the images have.")]
    unique_bytes: Annotated[int, Meta(description="What one of the images has alone.")]


class EnvironmentView(View, frozen=True, kw_only=True):
    """A repository with images."""

    repository: str
    versions: Annotated[int, Meta(description="Tags that lead to an image.")]
    newest: str | None
    pushed: Annotated[Time | None, Meta(description="When the newest was.")]
    base: Annotated[BaseView | None, Meta(description="That of the newest.")]
    storage: SharingView


class EnvironmentPage(Page, frozen=True, kw_only=True):
    """A page of a project's environments, by name."""

    items: tuple[EnvironmentView, ...]
