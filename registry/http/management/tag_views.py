"""What answers and bodies about the rules and the past of tags look like."""

from typing import Annotated

from msgspec import Meta

from registry.http.management.views import Terms, Time, View
from registry.spec.digest import Digest
from registry.spec.tagrules import MAX_RULES

Globs = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
    Meta(
        max_length=50,
        description="Shell globs: one with a colon is of repository:tag, one without of the tag.",
        examples=[["demo/app:v*", "release-*"]],
    ),
]


SomeGlobs = Annotated[Globs, Meta(min_length=1)]


class TagRuleTerms(Terms, frozen=True, kw_only=True):
    """Tags that, once they are there, stay what they are."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_ .-]*\Z",
            description="What refusals call it.",
            examples=["releases"],
        ),
    ]
    tags: SomeGlobs
    exceptions: Globs = ()
    changed_by: Annotated[
        str,
        Meta(
            pattern=r"^(maintainer|owner|nobody)\Z",
            description="Who may move and delete them all the same: members with this role or a "
            "higher one; nobody: they are immutable.",
        ),
    ] = "nobody"


class TagRulesTerms(Terms, frozen=True, kw_only=True):
    """All tag rules that a project is to have."""

    rules: Annotated[tuple[TagRuleTerms, ...], Meta(max_length=MAX_RULES)]


class TagRulesView(View, frozen=True, kw_only=True):
    """The tag rules of a project."""

    rules: tuple[TagRuleTerms, ...]
    changed: Annotated[Time | None, Meta(description="Null where there never were any.")] = None
    by: Annotated[str, Meta(description="Who set them.")] = ""


class TagStateView(View, frozen=True, kw_only=True):
    """Where a tag pointed."""

    digest: Annotated[str | None, Meta(description="Null: the tag was deleted.")]
    since: Time
    by: Annotated[str, Meta(description="Who pointed it there, or deleted it.")]


class TagHistoryView(View, frozen=True, kw_only=True):
    """What a tag is, if it is there, and was; the newest first."""

    name: str
    items: tuple[TagStateView, ...]


class RollbackTerms(Terms, frozen=True, kw_only=True):
    """How far back."""

    to: Annotated[Digest | None, Meta(description="A digest of its history.")] = None
    steps: Annotated[
        int, Meta(ge=1, le=100, description="Without a digest: how many states of it back.")
    ] = 1


class RolledBackView(View, frozen=True, kw_only=True):
    """A tag that was pointed back."""

    name: str
    digest: Annotated[str, Meta(description="Where it points now.")]
    before: Annotated[
        str | None, Meta(description="Where it pointed before; null: it had been deleted.")
    ]
