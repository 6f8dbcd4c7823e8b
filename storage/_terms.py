"""What Redis can't say of itself: which primary counts."""

from typing import Protocol


class Terms(Protocol):
    """Which primary counts. ``primary`` is a text that no other process of Redis ever has."""

    def number(self, primary: str) -> int | None:
        """The number of the primary's term, if that is known to be the newest at this moment."""
        ...

    def superseded(self, primary: str) -> bool:
        """Whether a term of another primary is known to be the newest."""
        ...

    async def settle(self, primary: str) -> int:
        """Begin a term of the primary, unless the newest is its own; return its number.

        When it returns, no process gives another primary a ``number`` any more.
        """
        ...


class SoleTerms:
    """For one Redis that no other ever replaces: it always counts."""

    def number(self, primary: str) -> int | None:  # noqa: ARG002
        """As ``Terms`` has it."""
        return 0

    def superseded(self, primary: str) -> bool:  # noqa: ARG002
        """As ``Terms`` has it."""
        return False

    async def settle(self, primary: str) -> int:  # noqa: ARG002
        """As ``Terms`` has it."""
        return 0


_: type[Terms] = SoleTerms
