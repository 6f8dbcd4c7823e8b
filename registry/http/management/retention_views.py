"""What answers and bodies about retention look like."""

from typing import Annotated, Final

from msgspec import Meta

from registry.http.management.tag_views import Globs, SomeGlobs
from registry.http.management.views import Terms, Time, View
from registry.spec.retention import MAX_RULES

MOST: Final = 1000
"""Most verdicts of one answer, and most that one request deletes."""


class RetentionRuleTerms(Terms, frozen=True, kw_only=True):
    """Which of the tags that match are kept, by any of what it says."""

    name: Annotated[
        str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_ .-]*\Z")
    ]
    tags: SomeGlobs
    exceptions: Globs = ()
    keep_last: (
        Annotated[int, Meta(ge=1, le=100_000, description="Of each repository, the last pushed.")]
        | None
    ) = None
    younger_than_days: (
        Annotated[float, Meta(gt=0, le=36_500, description="Those pushed within so many days.")]
        | None
    ) = None
    pulled_within_days: (
        Annotated[float, Meta(gt=0, le=36_500, description="Those pulled within so many days.")]
        | None
    ) = None


class RetentionTerms(Terms, frozen=True, kw_only=True):
    """What a project keeps. A tag that no rule matches is kept."""

    rules: Annotated[tuple[RetentionRuleTerms, ...], Meta(max_length=MAX_RULES)] = ()
    untagged_days: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=36_500,
                description="After so many days, manifests go that no tag leads to and nothing "
                "needs; null: never.",
            ),
        ]
        | None
    ) = None


class RetentionView(View, frozen=True, kw_only=True):
    """The retention of a project."""

    rules: tuple[RetentionRuleTerms, ...]
    untagged_days: float | None
    changed: Annotated[Time | None, Meta(description="Null where there never was any.")] = None
    by: Annotated[str, Meta(description="Who set it.")] = ""


class PlanTerms(Terms, frozen=True, kw_only=True):
    """What is to be planned for."""

    retention: Annotated[
        RetentionTerms | None, Meta(description="To be tried; without it, the project's own.")
    ] = None
    after: Annotated[str, Meta(max_length=300, description="`next` of the page before.")] = ""


class VerdictView(View, frozen=True, kw_only=True):
    """Whether a tag, or a manifest without a tag, goes, and why."""

    kind: Annotated[str, Meta(pattern=r"^(tag|manifest)\Z")]
    name: Annotated[str, Meta(description="The tag, or the manifest's digest.")]
    digest: str
    goes: bool
    why: str


class PlanView(View, frozen=True, kw_only=True):
    """A page of what would become of a repository now. Nothing is deleted by it."""

    items: tuple[VerdictView, ...]
    going: Annotated[int, Meta(description="How many things would go in all.")]
    next: str | None = None


class RunTerms(Terms, frozen=True, kw_only=True):
    """How much is to be deleted."""

    limit: Annotated[int, Meta(ge=1, le=MOST, description="At most so many things.")] = 100


class RunView(View, frozen=True, kw_only=True):
    """What was deleted."""

    tags: tuple[str, ...]
    manifests: tuple[str, ...]
    more: Annotated[bool, Meta(description="There is more to be deleted: ask again.")]
