"""What one request may store in its project."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from registry.service.quotas.ledger import Ledger
from registry.service.quotas.terms import QUOTA_TERMS, QuotaTerms
from registry.spec.quota import NOTHING, Amounts
from storage.ports import AlreadyExists

STEP: Final = 16 * 1024 * 1024
"""Bytes that are reserved at a time for a body of which nobody knows how long it is."""


class Storing:
    """A write under way: within this context. It counts, unless it ``was_there``.

    Also if it had no answer. This one is of a project without limits. A class, since each push
    enters five: a generator would cost as much as all else that is done for them.
    """

    __slots__ = ("new",)

    def __init__(self) -> None:
        self.new = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def was_there(self) -> None:
        """What was to be stored was there already, or another was first: nothing was written."""
        self.new = False

    @contextmanager
    def unless_there(self) -> Iterator[None]:
        """Create something inside; that it was there is raised on."""
        try:
            yield
        except AlreadyExists:
            self.was_there()
            raise


class Charge:
    """What one request has reserved, and not stored yet. It is given back by ``close``, once.

    This one is of a project without limits: all fits, and nothing is counted.
    """

    limited: bool = False

    async def hold(self, need: Amounts, extra: Amounts = NOTHING, *, patient: bool = True) -> None:
        """Have so much reserved, and ``extra`` if it fits; ``QuotaExceeded`` if it does not.

        ``patient``: not before others had time to give back what they don't need.
        """

    async def room(self) -> None:
        """``QuotaExceeded`` if not one more byte fits."""

    def covers(self, amounts: Amounts) -> bool:
        """Whether so much is reserved."""
        del amounts
        return True

    def spare(self, amounts: Amounts) -> bool:
        """Have so much reserved if that is free, and nobody else seems to need it."""
        del amounts
        return True

    def storing(self, amounts: Amounts) -> Storing:
        """Store so much inside, of what is reserved; what is not, is first.

        Whatever comes of it: it counts as stored, but for what ``was_there``.
        """
        del amounts
        return Storing()

    async def metered(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield a body as far as there is room for it; what is not reserved, is step by step."""
        async for data in body:
            yield data

    def adopt(self, size: int) -> None:
        """An upload session of so many bytes, which are counted, becomes a blob with this request.

        So that much of the next blob is not counted again.
        """

    @property
    def adopted(self) -> int:
        """Bytes that were adopted, and of which nothing was made."""
        return 0

    async def round(self) -> int:
        """The account's round, which is asked for before something is removed."""
        return 0

    def removed(self, amounts: Amounts, seen: int) -> None:
        """Something was removed, by this request and no other; ``seen`` was the round before."""

    def close(self) -> None:
        """Give back what is reserved."""


NO_CHARGE: Final = Charge()


class ProjectCharge(Charge):
    """The charge of a request in a project that has limits."""

    limited = True

    def __init__(self, ledger: Ledger, terms: QuotaTerms = QUOTA_TERMS) -> None:
        ledger.users += 1
        self._ledger = ledger
        self._terms = terms
        self._generation = 0
        self._reserved = NOTHING
        self._adopted = 0
        self._came = 0

    async def hold(self, need: Amounts, extra: Amounts = NOTHING, *, patient: bool = True) -> None:
        """See ``Charge``. What was reserved from a share that is gone is reserved anew."""
        ledger = self._ledger
        if self._generation != ledger.generation:
            self._reserved = NOTHING
        more = need.beyond(self._reserved)
        if not more:
            return
        got = await ledger.reserve(more, extra, patient=patient)
        if self._generation != ledger.generation:
            self._generation, self._reserved = ledger.generation, NOTHING
        self._reserved += got

    async def room(self) -> None:
        """See ``Charge``. Asks the store only where this process knows of no room."""
        account = await self._ledger.look()
        left = account.left("bytes") if account is not None else None
        if left is not None and left <= 0:
            await self.hold(Amounts(bytes=1))

    def covers(self, amounts: Amounts) -> bool:
        """See ``Charge``."""
        return self._generation == self._ledger.generation and self._reserved.covers(amounts)

    def spare(self, amounts: Amounts) -> bool:
        """See ``Charge``. What comes of a count is not to be spoilt either."""
        if self._generation != self._ledger.generation:
            self._generation, self._reserved = self._ledger.generation, NOTHING
        more = amounts.beyond(self._reserved)
        spared = not more or self._ledger.spare(more)
        if spared:
            self._reserved += more
        return spared

    def storing(self, amounts: Amounts) -> Storing:
        """See ``Charge``. Nothing is begun from a share that is over."""
        return _Spending(self, amounts)

    async def begin(self, amounts: Amounts) -> "_Begun":
        """Have so much reserved for a write that begins now, but for what a session brought."""
        adopted = min(self._adopted, amounts.bytes)
        own = amounts - Amounts(bytes=adopted) if adopted else amounts
        await self.hold(own)
        while own and not self._ledger.good(self._generation):
            self._release()
            await self.hold(own)
        until = self._terms.pace() + self._terms.margin / 2
        return _Begun(own, adopted, self._generation, until)

    def end(self, begun: "_Begun") -> None:
        """What was begun is stored, or may be."""
        own = begun.own
        self._adopted -= begun.adopted
        self._came = max(0, self._came - own.bytes)
        self._ledger.stored(begun.generation, own)
        if begun.generation == self._generation:
            self._reserved -= own
        if self._terms.pace() > begun.until and own:
            # It came so late that the share may be gone, and the count over.
            self._ledger.force(own)

    async def metered(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """See ``Charge``."""
        async for data in body:
            self._came += len(data)
            if self._reserved.bytes < self._came:
                await self.hold(Amounts(bytes=self._came), Amounts(bytes=STEP))
            yield data

    def adopt(self, size: int) -> None:
        """See ``Charge``."""
        self._adopted += size

    @property
    def adopted(self) -> int:
        """See ``Charge``."""
        return self._adopted

    async def round(self) -> int:
        """See ``Charge``. Where it is an earlier one than the present, nothing is given back."""
        account = await self._ledger.look()
        return account.round if account is not None else -1

    def removed(self, amounts: Amounts, seen: int) -> None:
        """See ``Charge``."""
        if amounts:
            self._ledger.removed(amounts, seen)

    def close(self) -> None:
        """See ``Charge``."""
        self._release()
        self._ledger.users -= 1

    def _release(self) -> None:
        self._ledger.release(self._generation, self._reserved)
        self._reserved = NOTHING


class _Begun(NamedTuple):
    """What a write takes: its ``own`` of a share of that generation, and ``adopted`` bytes.

    After ``until``, by the terms' pace, it is late.
    """

    own: Amounts
    adopted: int
    generation: int
    until: float


class _Spending(Storing):
    """A write that a charge pays for."""

    __slots__ = ("_amounts", "_begun", "_charge")

    def __init__(self, charge: ProjectCharge, amounts: Amounts) -> None:
        super().__init__()
        self._charge = charge
        self._amounts = amounts

    async def __aenter__(self) -> Self:
        self._begun = await self._charge.begin(self._amounts)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.new:
            self._charge.end(self._begun)
