"""Environments: images as versions, what they were built on, their packages, what they share."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from msgspec import Meta

from auth.policy import Action, Allow, Verb
from registry.http.management.environment_views import (
    BaseView,
    ChangePage,
    ChangeView,
    ClaimView,
    EnvironmentPage,
    EnvironmentView,
    LastPullView,
    LayerView,
    PackagePage,
    PackageView,
    SharingView,
    VersionPage,
    VersionView,
    WholeVersionView,
)
from registry.http.management.inputs import (
    MAX_LIMIT,
    After,
    Limit,
    OfProject,
    PagesOfProject,
    PagesOfRepository,
)
from registry.http.management.repositories import OfTag, visible
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import View, moment
from registry.service.bounded import all_of, results
from registry.service.environments import BaseImages, Known, Lineage, Version
from registry.spec import environments as grammar
from registry.spec import packages
from registry.spec.environments import Sharing
from registry.spec.errors import ManifestUnknown, NameUnknown
from registry.spec.names import Place, Tag
from registry.spec.packages import Package
from registry.spec.pagination import Page
from registry.spec.problems import Invalid

_REPOSITORIES: Final = 20
"""Most repositories of one page of environments, each with all of its tags."""

_READS: Final = 8


class PagesOfEnvironments(PagesOfProject, frozen=True, kw_only=True):
    """Which page of the project's environments is asked for."""

    limit: Annotated[int, Meta(ge=1, le=_REPOSITORIES, description="Most of the page.")] = (
        _REPOSITORIES
    )


class PagesOfTag(OfTag, frozen=True, kw_only=True):
    """Which page of a list about a tag is asked for."""

    limit: Limit = 100
    after: After = ""


class ChangesOfTag(PagesOfTag, frozen=True, kw_only=True):
    """Which tag a tag is compared with."""

    since: Annotated[Tag | None, Meta(description="Without it, the one that it was built on.")] = (
        None
    )


async def list_environments(call: Call[PagesOfEnvironments, None]) -> Reply:
    """List the repositories of a project that hold images, and what these take."""
    asked, service = call.input, call.managed.services.environments
    found = await call.managed.services.catalog.page(
        Page(asked.limit, asked.after), visible(call, asked.project)
    )
    bases = await _bases(call)
    items = []
    for name in found.repositories:
        versions = await service.versions(call.within(asked.project, name))
        if not versions:
            continue
        newest = versions[0]
        base = bases.tree.under(newest.facts.layers)
        shared = await service.sharing(versions, bases)
        items.append(
            EnvironmentView(
                repository=name,
                versions=len(versions),
                newest=newest.tag,
                pushed=moment(newest.at),
                base=_base(base[0]) if base else None,
                storage=_sharing(shared),
            )
        )
    after = found.repositories[-1] if found.more and found.repositories else ""
    return Reply(EnvironmentPage(items=tuple(items), next=after or None), after=after)


async def get_storage(call: Call[OfProject, None]) -> Reply:
    """Tell what all images of a project take together, and what of it is shared."""
    bases = await _bases(call)
    found = await call.managed.services.environments.storage(_places(call), bases)
    return Reply(_sharing(found))


async def list_versions(call: Call[PagesOfRepository, None]) -> Reply:
    """List the images of a repository as versions of an environment, the newest first."""
    asked, service = call.input, call.managed.services.environments
    versions = await service.versions(call.place)
    lineages = await service.lineages(versions, await _bases(call))
    if asked.after:
        behind = _position(asked.after)
        lineages = [e for e in lineages if (e.version.at, e.version.tag) < behind]
    chosen = lineages[: asked.limit]
    pulls = await _pulls(call, [each.version for each in chosen])
    last = chosen[-1].version if len(lineages) > len(chosen) else None
    after = f"{last.at!r} {last.tag}" if last is not None else ""
    platforms = await _platforms(call, [each.version for each in chosen])
    items = tuple(
        VersionView(**_fields(each), last_pull=pull, platforms=found)
        for each, pull, found in zip(chosen, pulls, platforms, strict=True)
    )
    return Reply(VersionPage(items=items, next=after or None), after=after)


async def get_version(call: Call[OfTag, None]) -> Reply:
    """Describe a version of an environment, layer by layer."""
    lineage = await _lineage(call, call.input.tag)
    facts = lineage.version.facts
    previous = lineage.previous.facts.content if lineage.previous else {}
    layers = tuple(
        LayerView(
            digest=digest,
            bytes=facts.content[digest],
            origin="base"
            if number < lineage.base_layers
            else "previous"
            if digest in previous
            else "own",
        )
        for number, digest in enumerate(facts.layers)
    )
    (pull,) = await _pulls(call, [lineage.version])
    (platforms,) = await _platforms(call, [lineage.version])
    view = WholeVersionView(
        **_fields(lineage), last_pull=pull, platforms=platforms, layer_list=layers
    )
    return Reply(view, version=lineage.version.digest)


async def list_packages(call: Call[PagesOfTag, None]) -> Reply:
    """List the packages of a version, from the list that was pushed with it."""
    asked, service = call.input, call.managed.services.environments
    version = await service.version(call.place, asked.tag)
    listing = await service.listing(call.place, version)
    listed = sorted((listing.packages or {}).items(), key=lambda each: _cursor(each[0]))
    left = [each for each in listed if _cursor(each[0]) > asked.after]
    chosen = left[: asked.limit]
    after = _cursor(chosen[-1][0]) if len(left) > len(chosen) else ""
    view = PackagePage(
        items=tuple(
            PackageView(name=package.name, kind=package.kind, versions=versions)
            for package, versions in chosen
        ),
        referrer=listing.referrer or None,
        artifact_type=listing.artifact_type or None,
        problem=listing.problem or None,
        next=after or None,
    )
    return Reply(view, after=after)


async def list_changes(call: Call[ChangesOfTag, None]) -> Reply:
    """Tell how a version differs from another: bytes, and packages."""
    asked, service = call.input, call.managed.services.environments
    if asked.since is None:
        lineage = await _lineage(call, asked.tag)
        if lineage.previous is None:
            raise Invalid(f"nothing was pushed before {asked.tag}: say `since` which tag")
        version, since = lineage.version, lineage.previous
    else:
        version = await service.version(call.place, asked.tag)
        since = await service.version(call.place, asked.since)
    problem = None
    changes: list[packages.Difference] = []
    # One after the other: both may be large.
    old = await service.listing(call.place, since)
    new = await service.listing(call.place, version)
    if old.packages is None or new.packages is None:
        missing = (since.tag, old) if old.packages is None else (version.tag, new)
        problem = f"{missing[0]}: {missing[1].problem}"
    else:
        changes = packages.differences(old.packages, new.packages)
        changes.sort(key=lambda each: _cursor(each.package))
    left = [each for each in changes if _cursor(each.package) > asked.after]
    chosen = left[: asked.limit]
    after = _cursor(chosen[-1].package) if len(left) > len(chosen) else ""
    view = ChangePage(
        since=since.tag,
        tag=version.tag,
        added_bytes=grammar.added(version.facts, since.facts),
        removed_bytes=grammar.added(since.facts, version.facts),
        items=tuple(
            ChangeView(
                name=each.package.name,
                kind=each.package.kind,
                before=each.before,
                after=each.after,
            )
            for each in chosen
        ),
        problem=problem,
        next=after or None,
    )
    return Reply(view, after=after)


async def _places(call: Call[OfProject, None]) -> AsyncIterator[Place]:
    """The project's repositories that the caller may see."""
    project, after = call.input.project, ""
    while True:
        page = await call.managed.services.catalog.page(
            Page(MAX_LIMIT, after), visible(call, project)
        )
        for name in page.repositories:
            yield call.within(project, name)
        if not page.more or not page.repositories:
            return
        after = page.repositories[-1]


async def _bases(call: Call[Any, Any]) -> BaseImages:
    """The base images that the caller may pull: of others it must not learn."""
    sources: list[tuple[str, Place]] = []
    for name in call.managed.bases:
        action = Action(Verb.PULL, name, address=call.address)
        decision = await call.managed.policy.decide(call.identity, action)
        if isinstance(decision, Allow):
            sources.append((name, decision.place))
    return await call.managed.services.environments.bases(sources)


async def _pulls(call: Call[Any, Any], versions: list[Version]) -> list[LastPullView | None]:
    """The last pull of each version, for those who may see the pull history."""
    action = Action(Verb.OPERATE, project=call.input.repository.project, address=call.address)
    decision = await call.managed.policy.decide(call.identity, action)
    if not isinstance(decision, Allow):
        return [None] * len(versions)

    async def read(version: Version) -> LastPullView | None:
        found = await call.managed.services.environments.last_pull(call.place, version)
        return None if found is None else LastPullView(at=moment(found.last), by=found.by)

    return await results(versions, read, at_once=_READS)


async def _platforms(call: Call[Any, Any], versions: list[Version]) -> list[tuple[str, ...]]:
    """What each version runs on."""
    configs = call.managed.services.configs
    return await all_of(configs.platforms(call.place, e.digest) for e in versions)


async def _lineage(call: Call[Any, Any], tag: Tag) -> Lineage:
    """The lineage of one version. ``ManifestUnknown`` where the tag leads to no image."""
    service = call.managed.services.environments
    versions = await service.versions(call.place)
    for lineage in await service.lineages(versions, await _bases(call)):
        if lineage.version.tag == tag:
            return lineage
    raise ManifestUnknown(tag)


def _fields(lineage: Lineage) -> dict[str, Any]:
    version, facts = lineage.version, lineage.version.facts
    claim = None
    if facts.base_name or facts.base_digest:
        claim = ClaimView(name=facts.base_name, digest=facts.base_digest)
    return {
        "tag": version.tag,
        "digest": version.digest,
        "pushed": moment(version.at),
        "by": version.by,
        "layers": len(facts.layers),
        "content_bytes": facts.size,
        "base": _base(lineage.base),
        "annotated_base": claim,
        "previous": lineage.previous.tag if lineage.previous else None,
        "added_bytes": lineage.added,
    }


def _base(known: Known | None) -> BaseView | None:
    if known is None:
        return None
    return BaseView(
        repository=known.repository,
        tag=known.tag,
        digest=known.digest,
        layers=len(known.facts.layers),
        content_bytes=known.facts.size,
    )


def _sharing(found: Sharing) -> SharingView:
    return SharingView(
        images=found.images,
        logical_bytes=found.logical,
        physical_bytes=found.physical,
        base_bytes=found.with_base,
        shared_bytes=found.between,
        unique_bytes=found.unique,
    )


def _position(after: str) -> tuple[float, str]:
    at, _, tag = after.partition(" ")
    try:
        return float(at), tag
    except ValueError:
        raise Invalid("`after` is what `next` of the page before it was") from None


def _cursor(package: Package) -> str:
    return f"{package.name} {package.kind}"


def _route(
    path: str, action: str, verb: Verb, text: str, handler: Any, given: Any, answer: type[View]
) -> Route:
    missing = (NameUnknown,) if verb is Verb.PULL else ()
    if "{tag}" in path:
        missing = (*missing, ManifestUnknown)
    return Route.of(
        f"GET {path}", action, verb, text, handler, given, answer, refusals=(Invalid, *missing)
    )


ROUTES = (
    _route(
        "/projects/{project}/environments",
        "environment.list",
        Verb.LIST,
        "List environments, and what they take",
        list_environments,
        PagesOfEnvironments,
        EnvironmentPage,
    ),
    _route(
        "/projects/{project}/storage",
        "environment.storage",
        Verb.LIST,
        "Tell what a project's images take, and share",
        get_storage,
        OfProject,
        SharingView,
    ),
    _route(
        "/repositories/{repository}/versions",
        "environment.versions",
        Verb.PULL,
        "List images as versions, with their lineage",
        list_versions,
        PagesOfRepository,
        VersionPage,
    ),
    _route(
        "/repositories/{repository}/versions/{tag}",
        "environment.version",
        Verb.PULL,
        "Describe a version, layer by layer",
        get_version,
        OfTag,
        WholeVersionView,
    ),
    _route(
        "/repositories/{repository}/versions/{tag}/packages",
        "environment.packages",
        Verb.PULL,
        "List the packages of a version",
        list_packages,
        PagesOfTag,
        PackagePage,
    ),
    _route(
        "/repositories/{repository}/versions/{tag}/changes",
        "environment.changes",
        Verb.PULL,
        "Tell how a version differs from another",
        list_changes,
        ChangesOfTag,
        ChangePage,
    ),
)
