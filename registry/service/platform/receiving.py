"""Events of a platform, as they come in: signed, and signed just now."""

import hmac
import re
import time
from collections.abc import Callable
from typing import Final

from registry.service.webhooks.signature import HEADER, signature
from registry.spec.problems import SignatureInvalid

WINDOW: Final = 300.0
"""Seconds by which the clocks of the two may differ, and for which a signature is good."""

_HEADER: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", re.ASCII)


class Receiver:
    """Checks that events come from who has the secret.

    An event that is sent again within the window does no harm, and later it is refused: what it
    says is compared with what was told by the platform's own time of it (``Lifecycle``), so ids
    need not be remembered.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        """``secret`` is what the platform signs with; ``""``: no event is taken."""
        self._secret = secret
        self._clock = clock

    def check(self, header: str | None, body: bytes) -> None:
        """Raise ``SignatureInvalid`` unless the header signs this very body, now.

        It is the header that this registry's own webhooks have (``webhooks.signature``).
        """
        if not self._secret:
            raise SignatureInvalid("this registry takes no events: set platform.events_secret")
        found = _HEADER.fullmatch(header or "")
        if found is None:
            raise SignatureInvalid(
                f"sign the event: {HEADER}: t=<Unix time>,v1=<hex HMAC-SHA256 of t.body>"
            )
        seconds = int(found[1])
        expected = signature(self._secret, body, seconds)
        if not hmac.compare_digest(expected.encode(), f"t={seconds},v1={found[2]}".encode()):
            raise SignatureInvalid("the event is signed with another secret, or was changed")
        if abs(self._clock() - seconds) > WINDOW:
            raise SignatureInvalid(
                f"the event was signed more than {WINDOW:.0f} s ago, or the clocks differ: sign "
                "each attempt anew"
            )
