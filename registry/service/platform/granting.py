"""What tokens are granted for a repository that all projects of a platform are shown in."""

from collections.abc import AsyncIterator

from auth.identity import SECRET, Identity
from auth.policy import Action, Allow, Decision, Policy, Visible
from registry.service.platform.reach import Reach
from registry.service.platform.shared import SharedRepository


class SharedGrants:
    """A policy to grant tokens by: for the shared repository, what may be done anywhere in it.

    A scope names no tag, so the token says no more than how far it reaches; each request that shows
    it is decided by itself.
    """

    def __init__(self, shared: SharedRepository) -> None:
        self._shared = shared

    async def decide(self, identity: Identity, action: Action) -> Decision:
        """See ``Policy``."""
        decision = await self._shared.policy.decide(identity, action)
        if action.repository != self._shared.name or isinstance(decision, Allow):
            return decision
        if not self._reaches(identity, action):
            return decision
        found = await Reach(self._shared, identity, action.address).anywhere(action.verb)
        return found if isinstance(found, Allow) else decision

    def _reaches(self, identity: Identity, action: Action) -> bool:
        """Whether a token for the shared repository reaches no further than the credential does.

        A credential for some projects only may have one where the registry itself keeps what the
        credential is good for: that is looked at again with each request.
        """
        ceiling = identity.ceiling
        if ceiling is None or ceiling.permits("repository", self._shared.name, action.verb):
            return True
        return identity.projects is None and identity.credential.startswith(SECRET)

    def visible(self, identity: Identity, after: str, address: str = "") -> AsyncIterator[Visible]:
        """See ``Policy``."""
        return self._shared.policy.visible(identity, after, address)

    async def projects(self, identity: Identity) -> list[str]:
        """See ``Policy``."""
        return await self._shared.policy.projects(identity)


_: type[Policy] = SharedGrants
