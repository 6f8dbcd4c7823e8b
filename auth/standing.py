"""Whether a caller whose credentials are good may use them: before it gets anything in return."""

import time
from collections.abc import Awaitable, Callable

from auth.access import Standing
from auth.credentials import InvalidCredentials
from auth.identity import Identity
from auth.judgement import REASONS, Action, lapse
from auth.roles import Verb

StandingOf = Callable[[Identity], Awaitable[Standing]]
"""Tells what is known of a caller: ``auth.access.Directory.standing``."""


async def check_standing(standing: StandingOf, identity: Identity, address: str) -> None:
    """Raise ``InvalidCredentials`` for a caller from ``address`` that is blocked, or over."""
    known = await standing(identity)
    why = lapse(Action(Verb.CATALOG, address=address), known, time.time())
    if why is not None:
        raise InvalidCredentials(REASONS[why])
