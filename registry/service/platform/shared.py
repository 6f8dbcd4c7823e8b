"""One repository in which the images of all projects of a platform are shown: a view, no place.

Nothing is kept in it but the platform's own images. A tag that is a project's (``names``) is kept,
by the same name, in that project's repository ``<project>/<last part of the shared one's name>``,
and everything about it is decided and done there: so roles, quotas, events, removal and collection
are what they are for any repository of a project.

A request that names no tag is about what the caller could get at by one. It is looked for in the
shared repository itself and in the projects that may concern the caller, and in no other: what
others hold makes no difference to the answer, nor to what is asked of the store for it.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from hashlib import sha256
from typing import Final

from auth.identity import Identity
from auth.policy import Action, Allow, Decision, Policy, Verb
from auth.roles import Role
from registry.service.bounded import each, good
from registry.service.manifests import Push, Pushed
from registry.service.platform import names
from registry.service.platform.bringing import Bringing
from registry.service.services import Services
from registry.service.tags import TagPage, cut
from registry.spec import requests as spec
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown, NameUnknown, TagInvalid
from registry.spec.names import Place, RepositoryName, Tag
from registry.spec.pagination import Page

_AT_ONCE: Final = 16

_Holds = Callable[[Place], Awaitable[bool]]
"""Whether something is in a repository."""

_SEVERAL: Final = (
    "not one of your projects alone has this digest: name a tag, or log in with an account of the "
    "project that is meant"
)


class SharedRepository:
    """A repository by its name, and where what it shows is kept."""

    def __init__(
        self,
        name: RepositoryName,
        policy: Policy,
        services: Services,
        bases: Collection[str] = names.BASES,
    ) -> None:
        """``policy`` decides; ``bases`` are names that no project of the platform has."""
        self.name = name
        self.policy = policy
        self.services = services
        self._bases = frozenset(bases)

    def view(self, identity: Identity, address: str) -> "SharedView":
        """Return what a caller, at ``address``, is shown of it."""
        return SharedView(self, identity, address)

    def project_of(self, tag: str) -> str | None:
        """Return whose the tag is, as ``names.tag_project`` does."""
        found = names.tag_project(tag, self._bases)
        return None if found == self.name.project else found

    def action(self, verb: Verb, project: str, address: str) -> Action:
        """Return what is asked for where a project's images are; ``""``: the platform's own."""
        if not project:
            return Action(verb, self.name, address=address)
        name = RepositoryName(f"{project}/{self.name.rpartition('/')[2]}")
        return Action(verb, name, address=address, shown=self.name)

    async def projects(self, identity: Identity, address: str) -> list[str]:
        """Return the names of the platform's projects that may concern the caller."""
        others = {self.name.project, *self._bases}
        seen = self.policy.visible(identity, "", address)
        return [each.name async for each in seen if each.name not in others]


class SharedView:
    """What one caller is shown, for one request."""

    def __init__(self, shared: SharedRepository, identity: Identity, address: str) -> None:
        self._shared = shared
        self._services = shared.services
        self._identity = identity
        self._address = address
        self._known: list[str] | None = None

    async def decide(self, verb: Verb, request: spec.Request) -> Decision:
        """Say whether the caller may do what it asks for, which takes ``verb``, and where.

        ``TagInvalid`` for a tag to be pushed that is nobody's, or another's than the one before it.
        ``Denied`` where something is to be deleted by a digest that several projects have.
        """
        tags = _tags_of(request)
        if tags:
            return await self._of_tags(verb, tags)
        match request:
            case spec.GetBlob():
                return await self.holder(request.digest)
            case spec.GetManifest(reference=Digest() as digest):
                found = await self._first(verb, self._manifest(digest))
            case spec.ListReferrers():
                found = await self._first(verb, self._manifest(request.digest), own_first=True)
            case spec.DeleteBlob():
                found = await self._only(verb, self._blob(request.digest))
            case spec.DeleteManifest(reference=Digest() as digest):
                found = await self._only(verb, self._manifest(digest))
            case spec.ListTags():
                found = None
            case _:
                return await self._upload()
        return found or await self.anywhere(verb)

    async def anywhere(self, verb: Verb) -> Decision:
        """Say where the caller may do it at all: in the shared repository, else in a project."""
        decision = await self._decide(verb, "")
        if not isinstance(decision, Allow):
            async for allowed in self._allowed(verb, await self._projects()):
                return allowed
        return decision

    async def holder(self, digest: Digest) -> Decision:
        """Say from where the caller may read a blob, which it may have uploaded and not tagged."""
        holds = self._blob(digest)
        found = await self._first(Verb.PULL, holds)
        if found is None and self._identity.confirmed:  # else it may push nothing
            aside = await self._aside()
            if aside is not None and await holds(aside):
                found = Allow(aside)
        return found or await self.anywhere(Verb.PULL)

    async def page(self, _: Place, page: Page) -> TagPage:
        """Return the tags that the caller may see, in byte order, as ``Tags.page`` does."""
        found: list[str] = []
        known = False

        async def read(project: str) -> None:
            nonlocal known
            decision = await self._decide(Verb.PULL, project)
            if not isinstance(decision, Allow):
                return
            try:
                tags = await self._services.tags.page(decision.place, Page(None, page.last))
            except NameUnknown:
                return
            known = True
            found.extend(tag for tag in tags.tags if self._shared.project_of(tag) == project)

        await each(["", *await self._projects()], read, at_once=_AT_ONCE)
        if not known:
            raise NameUnknown
        return cut(sorted(found), page)

    async def put(self, repository: Place, push: Push, by: str, role: Role | None = None) -> Pushed:
        """Store a manifest as ``Manifests.put`` does, with what the caller may read elsewhere.

        What it needs and the repository lacks is mounted from where the caller has uploaded it, or
        may read it. One without a tag, from a caller of several projects, goes where its subject
        is; without a subject it is a part of an index that is yet to come, and waits beside the
        blobs until that names a project. ``Denied`` where not one project alone has the subject.
        """
        aside = await self._aside()
        bringing = Bringing(self._services, self.holder, self._manifest_holder, aside, by)
        if repository == aside:
            subject = await bringing.subject(push)
            if subject is None:
                return await bringing.put_aside(aside, push)
            found = await self._only(Verb.PUSH, self._manifest(subject))
            if found is None:
                raise Denied(_SEVERAL)
            repository, role = found.place, found.role
        return await self._services.manifests.put(
            repository, push, by, role, content=lambda: bringing.bring(repository, push, role)
        )

    async def _of_tags(self, verb: Verb, tags: Sequence[Tag]) -> Decision:
        projects = [self._shared.project_of(tag) for tag in tags]
        decision = await self._decide(verb, projects[0] or "")
        if verb is Verb.PUSH and isinstance(decision, Allow):
            for tag, project in zip(tags, projects, strict=True):
                if project is None or project != projects[0]:
                    raise TagInvalid(tag)
        return decision

    async def _upload(self) -> Decision:
        """Say where what names no tag is pushed to.

        To the one project that the caller may push to. Where there are several it waits in a place
        that no name leads to, the caller's own, until a tag names the project; who keeps the images
        of the platform itself has it there, others in the first of their projects.
        """
        found: list[Allow] = []
        async for allowed in self._allowed(Verb.PUSH, ["", *await self._projects()]):
            found.append(allowed)
            if len(found) > 1:
                number = sha256(self._identity.name.encode()).hexdigest()[:32]
                return Allow(Place(f"{found[0].place}/{_ASIDE}{number}"))
        return found[0] if found else await self._decide(Verb.PUSH, "")

    async def _aside(self) -> Place | None:
        """Where the caller's uploads wait; ``None`` where they need not."""
        upload = await self._upload()
        waits = isinstance(upload, Allow) and f"/{_ASIDE}" in upload.place
        return upload.place if isinstance(upload, Allow) and waits else None

    async def _manifest_holder(self, digest: Digest) -> Decision:
        found = await self._first(Verb.PULL, self._manifest(digest))
        return found or await self.anywhere(Verb.PULL)

    async def _first(self, verb: Verb, holds: _Holds, *, own_first: bool = False) -> Allow | None:
        """Return where something is that the caller may do this to, if anywhere.

        The shared repository's own come first, since most content is theirs; but for who has one
        project only, whose images have all that they need there.
        """
        own = await self._projects()
        first = [*own, ""] if own_first or len(own) == 1 else ["", *own]
        for some in (first[:1], *_batches(first[1:])):
            for found in await self._held(verb, holds, some):
                return found
        return None

    async def _only(self, verb: Verb, holds: _Holds) -> Allow | None:
        """As ``_first``; ``Denied`` where it is in several places that the caller may do it in.

        A digest does not tell which is meant, and of the others' images nothing is to go.
        """
        found: list[Allow] = []
        for some in _batches(["", *await self._projects()]):
            found += await self._held(verb, holds, some)
            if len(found) > 1:
                raise Denied(_SEVERAL)
        return found[0] if found else None

    async def _held(self, verb: Verb, holds: _Holds, projects: Sequence[str]) -> list[Allow]:
        async def look(project: str) -> Allow | None:
            decision = await self._decide(verb, project)
            if isinstance(decision, Allow) and await holds(decision.place):
                return decision
            return None

        looks = await asyncio.gather(*map(look, projects), return_exceptions=True)
        return [found for found in map(good, looks) if found]

    async def _allowed(self, verb: Verb, projects: Sequence[str]) -> AsyncIterator[Allow]:
        for project in projects:
            decision = await self._decide(verb, project)
            if isinstance(decision, Allow):
                yield decision

    async def _decide(self, verb: Verb, project: str) -> Decision:
        action = self._shared.action(verb, project, self._address)
        return await self._shared.policy.decide(self._identity, action)

    async def _projects(self) -> list[str]:
        if self._known is None:
            self._known = await self._shared.projects(self._identity, self._address)
        return self._known

    def _blob(self, digest: Digest) -> _Holds:
        async def holds(place: Place) -> bool:
            return await self._services.blobs.holds(place, digest)

        return holds

    def _manifest(self, digest: Digest) -> _Holds:
        async def holds(place: Place) -> bool:
            try:
                await self._services.manifests.get(place, digest)
            except ManifestUnknown:
                return False
            return True

        return holds


_ASIDE: Final = "-"
"""What the last part of a place begins with where uploads wait. No repository's name has it."""


def _batches(projects: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(projects), _AT_ONCE):
        yield projects[start : start + _AT_ONCE]


def _tags_of(request: spec.Request) -> Sequence[Tag]:
    """The tags that a request names: what it is about is kept with them."""
    match request:
        case spec.GetManifest() | spec.PutManifest() | spec.DeleteManifest():
            if not isinstance(request.reference, Digest):
                return (request.reference,)
            return request.tags if isinstance(request, spec.PutManifest) else ()
    return ()
