"""Where one caller may find things that a shared repository shows: its own projects' and no other.

What others hold makes no difference to the answer, nor to what is asked of the store for it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from auth.identity import Identity
from auth.policy import Allow, Decision, Verb
from registry.service.bounded import all_of, batches
from registry.service.platform.shared import SharedRepository
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown
from registry.spec.names import Place

AT_ONCE: Final = 16
"""Projects that are looked in at the same time."""

SEVERAL: Final = (
    "not one of your projects alone has this digest: name a tag, or log in with an account of the "
    "project that is meant"
)

Holds = Callable[[Place], Awaitable[bool]]
"""Whether something is in a repository."""


class Reach:
    """The projects of one caller, for one request; ``""`` stands for the platform's own images."""

    def __init__(self, shared: SharedRepository, identity: Identity, address: str) -> None:
        self._shared = shared
        self._identity = identity
        self._address = address
        self._known: list[str] | None = None

    async def decide(self, verb: Verb, project: str) -> Decision:
        """Say whether the caller may do it where a project's images are."""
        action = self._shared.action(verb, project, self._address)
        return await self._shared.policy.decide(self._identity, action)

    async def projects(self) -> list[str]:
        """Return the names of those that may concern the caller, in byte order."""
        if self._known is None:
            self._known = await self._shared.projects(self._identity)
        return self._known

    async def allowed(self, verb: Verb) -> AsyncIterator[Allow]:
        """Yield where the caller may do it, the shared repository's own place first."""
        for project in ["", *await self.projects()]:
            decision = await self.decide(verb, project)
            if isinstance(decision, Allow):
                yield decision

    async def anywhere(self, verb: Verb) -> Decision:
        """Say where the caller may do it at all; where it may not, it is denied as in no project.

        Does not tell one who may do it nowhere of any project.
        """
        async for allowed in self.allowed(verb):
            return allowed
        return await self.decide(verb, "")

    async def first(
        self, verb: Verb, digest: Digest, holds: Holds, *, own_first: bool = False
    ) -> Allow | None:
        """Return where something is that the caller may do this to; ``None``: nowhere.

        The shared repository's own place is the first, since most content is there; but for who has
        one project only, whose images have all that they need in it, or with ``own_first``.
        """
        own = await self.projects()
        order = [*own, ""] if own_first or len(own) == 1 else ["", *own]
        last = self._shared.found.peek(digest)
        if last is not None and last in own:
            order = [last, *(each for each in order if each != last)]
        for some in (order[:1], *batches(order[1:], AT_ONCE)):
            for found in await self._held(verb, holds, some):
                self.note(found, digest)
                return found
        return None

    async def only(self, verb: Verb, holds: Holds) -> Allow | None:
        """As ``first``; ``Denied`` where it is in several places that the caller may do it in.

        A digest does not tell which is meant, and of the others' images nothing is to go.
        """
        found: list[Allow] = []
        for some in batches(["", *await self.projects()], AT_ONCE):
            found += await self._held(verb, holds, some)
            if len(found) > 1:
                raise Denied(SEVERAL)
        return found[0] if found else None

    def note(self, where: Allow, *digests: Digest) -> None:
        """Remember where these were found: whoever pulls one asks for the next of them then."""
        project = where.tenant.name if where.tenant is not None else ""
        if project not in ("", self._shared.name.project):
            for digest in digests:
                self._shared.found.keep(digest, project)

    def blob(self, digest: Digest) -> Holds:
        """Look for a blob."""
        blobs = self._shared.services.blobs

        async def holds(place: Place) -> bool:
            return await blobs.holds(place, digest)

        return holds

    def manifest(self, digest: Digest) -> Holds:
        """Look for a manifest."""
        manifests = self._shared.services.manifests

        async def holds(place: Place) -> bool:
            try:
                await manifests.get(place, digest)
            except ManifestUnknown:
                return False
            return True

        return holds

    async def _held(self, verb: Verb, holds: Holds, projects: Sequence[str]) -> list[Allow]:
        async def look(project: str) -> Allow | None:
            decision = await self.decide(verb, project)
            if isinstance(decision, Allow) and await holds(decision.place):
                return decision
            return None

        return [found for found in await all_of(map(look, projects)) if found]
