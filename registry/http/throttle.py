"""How much one address and one caller may ask for.

Asked before a body is read, never in the midst of one. A session that an upload has is not limited
at all: its chunks are answered 429 by nobody, since clients do not wait before they give up
(containerd tries at once, and again, and stops). The same clients ask for manifests all the time,
so these cost little, and one that comes too early is held back for a moment rather than refused.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp.web import BaseRequest

from auth.identity import Identity, Kind
from registry.http.answer import Answer
from registry.http.management.problems import refusal
from registry.http.observe import RequestRecord
from registry.spec.errors import TooManyRequests
from registry.spec.requests import names_manifest, names_session
from storage.rates import Rate, RateLimits

PATIENCE: Final = 2.0
"""Seconds for which a request for a manifest is held back at most."""

MILD: Final = 0.25
"""What a request for a manifest costs; any other costs 1."""

LIMITS: Final = ("address", "principal", "management", "login")
"""The limits that there are, as metrics name them."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much is allowed; ``None``: as much as one likes."""

    address: Rate | None = None
    principal: Rate | None = None
    management: Rate | None = None


class Refusing(Protocol):
    """Refuses, and counts that."""

    refused: int


class Throttle:
    """Slows down who asks too much. A room that answers nothing but refusals."""

    def __init__(
        self, rates: RateLimits, allowance: Allowance, attempts: Refusing | None = None
    ) -> None:
        """Count in ``rates`` what ``allowance`` bounds; ``attempts`` sees to failed logins."""
        self._rates = rates
        self._allowance = allowance
        self._attempts = attempts
        self._refused: Counter[str] = Counter(dict.fromkeys(LIMITS, 0))

    def refused(self) -> Mapping[str, int]:
        """How many requests were refused since the start, by limit."""
        return self._refused | {"login": self._attempts.refused if self._attempts else 0}

    async def answer(
        self,
        http: BaseRequest,  # noqa: ARG002 -- all rooms are asked alike
        record: RequestRecord,
    ) -> Answer | None:
        """See ``Room``: the limit of the address that the request comes from."""
        rate = self._allowance.address
        if rate is None or _in_an_upload(record):
            return None
        try:
            await self._take("address", f"address/{record.remote}", rate, record)
        except TooManyRequests as error:
            if record.path.startswith("/api/"):
                record.code = error.code
                return refusal(error, record.request_id)
            raise
        return None

    async def principal(self, identity: Identity, record: RequestRecord) -> None:
        """Apply the limit of a caller. ``TooManyRequests``."""
        rate = self._allowance.principal
        if rate is not None and identity.kind is not Kind.ANONYMOUS and not _in_an_upload(record):
            await self._take("principal", f"principal/{identity.name}", rate, record)

    async def management(self, identity: Identity, record: RequestRecord) -> None:
        """Apply the limit of management calls, by caller, or by address. ``TooManyRequests``."""
        rate = self._allowance.management
        if rate is not None:
            known = identity.kind is not Kind.ANONYMOUS
            name = identity.name if known else record.remote
            await self._take("management", f"management/{name}", rate, record)

    async def _take(self, limit: str, name: str, rate: Rate, record: RequestRecord) -> None:
        mild = record.method in ("GET", "HEAD") and names_manifest(record.path)
        wait = self._rates.take(name, rate, MILD if mild else 1.0)
        if wait and mild and wait <= PATIENCE:
            await asyncio.sleep(wait)
            wait = self._rates.take(name, rate, MILD)
        if wait:
            self._refused[limit] += 1
            raise TooManyRequests(max(math.ceil(wait), 1))


def _in_an_upload(record: RequestRecord) -> bool:
    """Whether it is about an upload that was begun: POST begins one, and is limited."""
    return record.method != "POST" and names_session(record.path)
