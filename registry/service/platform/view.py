"""What one caller is shown of the repository of all projects, and what it may do there.

A request that names a tag is about the project that the tag is of. One that names none is about
what the caller could get at by one.
"""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

from auth.identity import Identity
from auth.policy import Allow, Decision, Verb
from auth.roles import Role
from registry.service.bounded import each
from registry.service.manifests import Push, Pushed
from registry.service.platform.bringing import Bringing
from registry.service.platform.reach import AT_ONCE, SEVERAL, Reach
from registry.service.platform.shared import SharedRepository
from registry.service.stored import StoredManifest
from registry.service.tags import TagPage, cut
from registry.spec import requests as spec
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestInvalid, NameUnknown, TagInvalid
from registry.spec.names import Place, Reference, Tag
from registry.spec.pagination import Page

_ASIDE: Final = "-"
"""What the last part of a place begins with where uploads wait. No repository's name has it."""


class SharedView:
    """A shared repository as one caller sees it, for one request."""

    def __init__(self, shared: SharedRepository, identity: Identity, address: str) -> None:
        self._shared = shared
        self._services = shared.services
        self._identity = identity
        self._reach = Reach(shared, identity, address)
        self._where: Allow | None = None

    async def decide(self, verb: Verb, request: spec.Request) -> Decision:
        """Say whether the caller may do what it asks for, which takes ``verb``, and where.

        ``TagInvalid`` for a tag to be pushed that is nobody's, or another's than the one before it.
        ``Denied`` where something is to be deleted by a digest that several projects have.
        """
        tags = _tags_of(request)
        decision = await (self._of_tags(verb, tags) if tags else self._of_digest(verb, request))
        self._where = decision if isinstance(decision, Allow) else None
        return decision

    async def holder(self, digest: Digest) -> Decision:
        """Say from where the caller may read a blob, which it may have uploaded and not tagged."""
        holds = self._reach.blob(digest)
        found = await self._reach.first(Verb.PULL, digest, holds)
        if found is None and self._identity.confirmed:  # else it may push nothing
            aside = await self._aside()
            if aside is not None and await holds(aside):
                found = Allow(aside)
        return found or await self._reach.anywhere(Verb.PULL)

    async def page(self, _: Place, page: Page) -> TagPage:
        """Return the tags that the caller may see, in byte order, as ``Tags.page`` does."""
        found: list[str] = []
        known = False

        async def read(project: str) -> None:
            nonlocal known
            decision = await self._reach.decide(Verb.PULL, project)
            if not isinstance(decision, Allow):
                return
            try:
                tags = await self._services.tags.page(decision.place, Page(None, page.last))
            except NameUnknown:
                return
            known = True
            found.extend(tag for tag in tags.tags if self._shared.project_of(tag) == project)

        await each(["", *await self._reach.projects()], read, at_once=AT_ONCE)
        if not known:
            raise NameUnknown
        return cut(sorted(found), page)

    async def get(self, repository: Place, reference: Reference) -> StoredManifest:
        """Return a manifest as ``Manifests.get`` does."""
        stored = await self._services.manifests.get(repository, reference)
        if self._where is not None:
            needed: list[Digest] = []
            with suppress(ManifestInvalid):
                manifest = await stored.parsed()
                needed = [one.digest for one in (*manifest.blobs, *manifest.manifests)]
            self._reach.note(self._where, stored.digest, *needed)
        return stored

    async def put(self, repository: Place, push: Push, by: str, role: Role | None = None) -> Pushed:
        """Store a manifest as ``Manifests.put`` does, with what the caller may read elsewhere.

        What it needs and the repository lacks is mounted from where the caller has uploaded it, or
        may read it. One without a tag, from a caller of several projects, goes where its subject
        is; without a subject it is a part of an index that is yet to come, and waits beside the
        blobs until that names a project. ``Denied`` where not one project alone has the subject.
        """
        aside = repository if _is_aside(repository) else await self._aside()
        bringing = Bringing(self._services, self.holder, self._manifest_holder, aside, by)
        if aside is not None and repository == aside:
            subject = await bringing.subject(push)
            if subject is None:
                return await bringing.put_aside(aside, push)
            found = await self._reach.only(Verb.PUSH, self._reach.manifest(subject))
            if found is None:
                raise Denied(SEVERAL)
            repository, role = found.place, found.role
        return await self._services.manifests.put(
            repository, push, by, role, content=lambda: bringing.bring(repository, push, role)
        )

    async def _of_tags(self, verb: Verb, tags: Sequence[Tag]) -> Decision:
        projects = [self._shared.project_of(tag) for tag in tags]
        decision = await self._reach.decide(verb, projects[0] or "")
        if verb is Verb.PUSH and isinstance(decision, Allow):
            for tag, project in zip(tags, projects, strict=True):
                if project is None or project != projects[0]:
                    raise TagInvalid(tag)
        return decision

    async def _of_digest(self, verb: Verb, request: spec.Request) -> Decision:
        reach = self._reach
        match request:
            case spec.GetBlob(digest=digest):
                return await self.holder(digest)
            case spec.GetManifest(reference=Digest() as digest):
                found = await reach.first(verb, digest, reach.manifest(digest))
            case spec.ListReferrers(digest=digest):
                found = await reach.first(verb, digest, reach.manifest(digest), own_first=True)
            case spec.DeleteBlob(digest=digest):
                found = await reach.only(verb, reach.blob(digest))
            case spec.DeleteManifest(reference=Digest() as digest):
                found = await reach.only(verb, reach.manifest(digest))
            case spec.ListTags():
                found = None
            case _:
                return await self._upload()
        return found or await reach.anywhere(verb)

    async def _upload(self) -> Decision:
        """Say where what names no tag is pushed to.

        To the one project that the caller may push to. Where there are several it waits in a place
        that no name leads to, the caller's own, until a tag names the project; who keeps the images
        of the platform itself has it there, others in the first of their projects.
        """
        found: list[Allow] = []
        async for allowed in self._reach.allowed(Verb.PUSH):
            found.append(allowed)
            if len(found) > 1:
                number = sha256(self._identity.name.encode()).hexdigest()[:32]
                return Allow(Place(f"{found[0].place}/{_ASIDE}{number}"))
        return found[0] if found else await self._reach.decide(Verb.PUSH, "")

    async def _aside(self) -> Place | None:
        """Where the caller's uploads wait; ``None`` where they need not."""
        upload = await self._upload()
        return upload.place if isinstance(upload, Allow) and _is_aside(upload.place) else None

    async def _manifest_holder(self, digest: Digest) -> Decision:
        found = await self._reach.first(Verb.PULL, digest, self._reach.manifest(digest))
        return found or await self._reach.anywhere(Verb.PULL)


def _is_aside(place: Place) -> bool:
    return place.rpartition("/")[2].startswith(_ASIDE)


def _tags_of(request: spec.Request) -> Sequence[Tag]:
    """The tags that a request names: what it is about is kept with them."""
    match request:
        case spec.GetManifest() | spec.PutManifest() | spec.DeleteManifest():
            if not isinstance(request.reference, Digest):
                return (request.reference,)
            return request.tags if isinstance(request, spec.PutManifest) else ()
    return ()
