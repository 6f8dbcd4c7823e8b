"""Rollback: a tag is pointed back at what it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth.roles import Role
from registry.service.manifests import Manifests, Push
from registry.service.records import TagState
from registry.service.tags import Tags
from registry.spec.conditions import still
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown, PreconditionFailed
from registry.spec.names import Place, Tag
from registry.spec.problems import Invalid


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Where the tag points now, and where it pointed before; ``""``: it had been deleted."""

    digest: Digest
    before: str


class Rollbacks:
    """Points tags back."""

    def __init__(self, manifests: Manifests, tags: Tags) -> None:
        self._manifests = manifests
        self._tags = tags

    async def roll_back(
        self,
        repository: Place,
        tag: Tag,
        by: str,
        role: Role | None,
        *,
        to: Digest | None = None,
        steps: int = 1,
        expected: str | None = None,
    ) -> RolledBack:
        """Point the tag at ``to``, which it pointed at before, or ``steps`` states back.

        It is a push of the manifest that is stored, and so obeys and is refused like one; a
        deleted manifest is had back as long as it can be. ``expected`` is where the caller thinks
        that the tag points. ``ManifestUnknown`` for a tag that never was, and where the manifest
        is gone; ``Invalid`` where the history has no such state; ``PreconditionFailed`` where the
        tag has moved meanwhile: of two rollbacks at once from one state, one succeeds.
        """
        states = await self._tags.histories.of(repository, tag)
        if not states:
            raise ManifestUnknown(tag)
        before = states[0].digest
        if expected is not None and expected != before:
            raise PreconditionFailed(before or None)
        digest = Digest(_target(tag, states, to, steps))
        if digest != before:
            stored = await self._manifests.kept(repository, digest)
            push = Push(
                tag, (), stored.data, stored.media_type, still(before), algorithm=digest.algorithm
            )
            await self._manifests.put(repository, push, by, role)
        return RolledBack(digest, before)


def _target(tag: Tag, states: Sequence[TagState], to: Digest | None, steps: int) -> str:
    if to is not None:
        if all(state.digest != to for state in states):
            raise Invalid(f"the tag {tag} did not point at {to}, as far as its history goes")
        return to
    back = [state.digest for state in states[1:] if state.digest]
    if steps > len(back):
        raise Invalid(f"the history of the tag {tag} goes only {len(back)} states back")
    return back[steps - 1]
