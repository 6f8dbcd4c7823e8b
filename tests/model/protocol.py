"""The rules of the protocol, and what every step of it needs.

A step gives every world that can come of it. A rule that is not in ``rules`` is not kept: the tests
take one away to see that the model notices.
"""

from collections.abc import Callable, Iterable

from registry.spec.life import Event, advance
from tests.model.world import WINDOW, Record, World

RULES = {
    "revive": "a positive answer swaps a condemned membership back",
    "revive pointer": "whoever relies on a condemned pointer swaps it back",
    "grace": "nothing expires before it was condemned or hidden for the grace",
    "look again": "after the grace it is looked once more whether anything needs it",
    "look at members": "a pointer is kept while any repository holds the blob",
    "patient answers": "a look that took too long is done again",
    "patient uploads": "an upload or mount that took too long is done again",
    "patient manifests": "a manifest that took too long is pushed again",
    "fresh bytes": "whoever meets a pointer that is being deleted brings bytes of its own",
    "own bytes": "an upload that is done again makes sure that its bytes are still there",
    "pushed first": "that a manifest is pushed is written down before the manifest",
    "entered first": "what it needs is entered before it is struck out that it was pushed",
    "new entries": "whoever enters what is needed makes the entry young, whatever was there",
    "old entries": "an entry that leads nowhere goes only when it is older than the grace",
    "look twice": "what it leads to is looked at once more, after the entry",
    "copies": "what can be had back counts as a need",
    "as of the list": "how long something was condemned counts up to the list of what was pushed",
    "mounts first": "what was mounted at once is made a member before a pointer is judged",
    "as of the mounts": "how long a pointer was condemned counts up to the list of these",
    "members first": "what was mounted at once is a member before its record goes",
    "at the version": "what belongs to a record is removed at the version that was seen before",
    "settle": "on stores that can't delete at a version, nobody writes over what is being deleted",
}

END = "end"

Steps = Iterable[tuple[str, World]]
Step = Callable[["Model", World, int], Steps]


class Model:
    """The protocol, with the rules that are kept.

    ``exact``: the store deletes at a version. ``tries``: how often a client uploads, or the
    registry begins again where it was too slow.
    """

    def __init__(self, *, exact: bool = True, tries: int = 1, without: str = "") -> None:
        assert not without or without in RULES, without
        self.rules = frozenset(RULES) - {without}
        self.exact = exact
        self.tries = tries

    def keeps(self, rule: str) -> bool:
        return rule in self.rules

    @property
    def settle(self) -> int:
        """Ticks for which a removal may still be under way."""
        return 0 if self.exact else 1


class BrokenError(AssertionError):
    """A collector removed what had been promised."""


def is_there(model: Model, world: World, repository: int) -> bool:
    """Whether there is a manifest, or one that can be had back."""
    copy = world.copies[repository]
    kept = copy is not None and copy.age < WINDOW and model.keeps("copies")
    return world.manifests[repository] is not None or kept


def go(world: World, number: int, step: str, **more: object) -> World:
    actors = list(world.actors)
    actors[number] = actors[number]._replace(step=step, **more)
    return world._replace(actors=tuple(actors))


def nonce_of(world: World, number: int) -> str:
    actor = world.actors[number]
    return f"{actor.name}{actor.tries}"


def swap(
    record: Record | None, seen: Record, event: Event, nonce: str, data: str | None = None
) -> Record | None:
    """Compare and swap; ``None`` if it lost."""
    if record is None or not record.same(seen):
        return None
    after = advance(seen.life, event)
    return Record(after, nonce, 0, record.data if data is None else data)
