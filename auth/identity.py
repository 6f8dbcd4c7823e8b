"""Who is asking."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credentials, if any, have been checked.

    ``name`` is unique among all callers and safe to log. An upload session belongs to it.
    """

    name: str


ANONYMOUS = Identity("anonymous")
"""A caller that showed no credentials."""
