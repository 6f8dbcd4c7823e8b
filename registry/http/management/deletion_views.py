"""What the API says of whole repositories that are deleted, and had back."""

from typing import Annotated

from msgspec import Meta

from registry.http.management.views import Terms, Time, View


class DeletionView(View, frozen=True, kw_only=True):
    """A repository that was deleted."""

    repository: str
    manifests: Annotated[int, Meta(description="Manifests that were deleted.")]
    tags: Annotated[int, Meta(description="Tags that were there.")]
    gone: Annotated[
        bool,
        Meta(description="Whether it is; if not, something was pushed to it meanwhile, and stays."),
    ]
    since: Annotated[
        Time, Meta(description="What was deleted then or later can be had back by that time.")
    ]


class UndeletionBody(Terms, frozen=True, kw_only=True):
    """Which of the deleted manifests are to be had back."""

    since: Annotated[
        Time | None,
        Meta(description="Those that were deleted then or later; without it, all of them."),
    ] = None


class UndeletionView(View, frozen=True, kw_only=True):
    """A repository that was had back."""

    repository: str
    manifests: Annotated[int, Meta(description="Manifests that were had back.")]
    tags: Annotated[int, Meta(description="Tags that lead to them again.")]
    lost: Annotated[
        tuple[str, ...],
        Meta(description="Digests of those that can't be: their content was deleted by itself."),
    ]
