"""The account of a project that has limits. Every rule of the accounting lives in this file.

One object in the store holds all of it: the limits, what is *used*, and the *shares* of processes.
A process takes a share by compare-and-swap, and gives parts of it to its requests without asking
anybody. What a request has stored moves from the share to what is used, later and many at once.
So of what the project holds, all is either used or in a share:

    what is stored  <=  used + shares  <=  limits

- A share is taken before anything is stored from it, and only if used and all shares leave room.
- What is removed is taken off afterwards, by the one that removed it, and only if no count has
  begun or ended since before it was removed (``round``): the count may have missed it already.
- A count first lets everybody settle what they have stored. Then it lists what there is. What is
  settled from then on is added to it, since the list may have missed that; what is removed is not
  taken off. So it may come out too high while others push, never too low; then it is ``due`` again.
- The share of a process that is gone counts until a count that began to list after its end (and a
  margin for what was under way) is done.

Whatever is not known (a write without an answer, a process that died) counts as stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

KINDS: Final = ("bytes", "repositories", "tags")
"""What there are limits for."""


class Amounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """So much of each kind. ``bytes`` are those of blobs and manifests, once per repository."""

    bytes: int = 0
    repositories: int = 0
    tags: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.bytes + other.bytes,
            self.repositories + other.repositories,
            self.tags + other.tags,
        )

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.bytes - other.bytes,
            self.repositories - other.repositories,
            self.tags - other.tags,
        )

    def __bool__(self) -> bool:
        return bool(self.bytes or self.repositories or self.tags)

    def beyond(self, other: Amounts) -> Amounts:
        """How much of each kind this is more than the other; 0 where it is not."""
        return Amounts(
            max(0, self.bytes - other.bytes),
            max(0, self.repositories - other.repositories),
            max(0, self.tags - other.tags),
        )

    def covers(self, other: Amounts) -> bool:
        """Whether it is at least the other, of each kind."""
        return (
            self.bytes >= other.bytes
            and self.repositories >= other.repositories
            and self.tags >= other.tags
        )


NOTHING: Final = Amounts()


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The most that a project may hold; ``None``: any number.

    From ``warn_percent`` of any of them on, pushes are told how little is left. 100: never.
    """

    bytes: int | None = None
    repositories: int | None = None
    tags: int | None = None
    warn_percent: int = 90

    def __bool__(self) -> bool:
        return any(getattr(self, kind) is not None for kind in KINDS)


NO_LIMITS: Final = Limits()


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one process may still store. Until ``until`` (Unix seconds) it may begin to.

    ``round`` is that in which it last settled, ``serial`` the number of its last change: so a
    process that got no answer sees whether the change was made. It stays when nothing is held.
    """

    held: Amounts
    until: float
    round: int = 0
    serial: int = 0


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A count under way, begun at ``began`` (Unix seconds).

    Once it is ``listing``: what was settled ``since``, and the shares that were over then.
    """

    nonce: str
    began: float
    listing: bool = False
    since: Amounts = NOTHING
    over: Mapping[str, float] = {}


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Limits, what is used, and who has a share.

    ``edition`` counts the changes of the limits. ``counted`` is when the last count ended (Unix
    seconds); before the first one nothing is refused. ``physical`` is what it found of bytes that
    differ. ``due``: it is to be counted again. Until ``pressed`` nobody takes more than it needs.
    ``nonce`` tells any two writes apart.
    """

    limits: Limits
    edition: int = 1
    used: Amounts = NOTHING
    shares: Mapping[str, Share] = {}
    round: int = 0
    count: Count | None = None
    counted: float | None = None
    physical: int = 0
    due: bool = False
    pressed: float = 0.0
    nonce: str = ""

    @property
    def total(self) -> Amounts:
        """What counts: used, and in shares."""
        total = self.used
        for share in self.shares.values():
            total += share.held
        return total

    def left(self, kind: str) -> int | None:
        """How much of a kind is left, less than 0 where there is too much; ``None``: any."""
        limit: int | None = getattr(self.limits, kind)
        if limit is None or self.counted is None:
            return None
        return limit - int(getattr(self.total, kind))

    def lacking(self, need: Amounts) -> str:
        """The first kind of which too little is left for what is needed; ``""`` if it fits."""
        for kind in KINDS:
            wanted = int(getattr(need, kind))
            left = self.left(kind)
            if wanted > 0 and left is not None and wanted > left:
                return kind
        return ""


def spare(account: Account, part: int = 64, most: int = 256 * 1024 * 1024) -> Amounts:
    """What a process may take beyond its need: a ``part``-th of what is left, and not too much.

    The less is left the less that is; so what others need is seldom with somebody who does not.
    Of tags a crowd of pushes takes one each: a share that is too small for it makes it wait for
    one swap after the other.
    """

    def of(kind: str, most: int) -> int:
        left = account.left(kind)
        return 0 if left is None else max(0, min(left // part, most))

    return Amounts(of("bytes", most), 0, of("tags", 4096))


def take(account: Account, who: str, amounts: Amounts, until: float) -> Account | None:
    """Add to the share of ``who``, or make it one until then; ``None`` where that does not fit."""
    if account.lacking(amounts):
        return None
    share = account.shares.get(who) or Share(NOTHING, until, account.round)
    return _with(account, who, msgspec.structs.replace(share, held=share.held + amounts))


def settle(account: Account, who: str, stored: Amounts, returned: Amounts) -> Account | None:
    """Move what was stored from the share to what is used, and give back ``returned`` of it.

    ``None`` where ``who`` has no share (any more).
    """
    share = account.shares.get(who)
    if share is None:
        return None
    held = share.held - stored - returned
    share = msgspec.structs.replace(share, held=held, round=account.round)
    return charge(_with(account, who, share), stored)


def sign(account: Account, who: str, serial: int, now: float, until: float) -> Account:
    """Let the share of ``who`` be good until then, and tell that this is its change ``serial``.

    Shares of which nothing is held, and that are over, go.
    """
    share = account.shares.get(who) or Share(NOTHING, until, account.round)
    shares = {
        each: other for each, other in account.shares.items() if other.held or other.until > now
    }
    shares[who] = msgspec.structs.replace(share, until=until, serial=serial)
    return msgspec.structs.replace(account, shares=shares)


def _with(account: Account, who: str, share: Share) -> Account:
    return msgspec.structs.replace(account, shares={**account.shares, who: share})


def charge(account: Account, stored: Amounts) -> Account:
    """Add to what is used, whether it fits or not: it is there."""
    count = account.count
    if count is not None and count.listing:
        count = msgspec.structs.replace(count, since=count.since + stored)
    return msgspec.structs.replace(account, used=account.used + stored, count=count)


def give_back(account: Account, removed: Amounts, seen: int) -> Account:
    """Take off what was removed after ``round`` was ``seen``.

    Nothing is taken off while there is a count, or if there was one since: it is done again.
    """
    if account.round != seen or account.count is not None:
        return msgspec.structs.replace(account, due=True)
    return msgspec.structs.replace(account, used=account.used - removed)


def begin_count(account: Account, nonce: str, now: float) -> Account:
    """Begin a count; another one that is under way will come to nothing."""
    return msgspec.structs.replace(account, round=account.round + 1, count=Count(nonce, now))


def unsettled(account: Account, now: float) -> bool:
    """Whether a process may yet have something to settle from before this round.

    What it has stored would be counted, and then once more when it is settled.
    """
    return any(
        share.held and share.round != account.round and share.until >= now
        for share in account.shares.values()
    )


def begin_list(account: Account, nonce: str, now: float, margin: float) -> Account | None:
    """Let a count begin to list. ``None`` where another count has begun since.

    Shares that have been over for the ``margin`` (seconds) go when it ends: all that was stored
    from them is there to be listed.
    """
    count = account.count
    if count is None or count.nonce != nonce:
        return None
    over = {who: share.until for who, share in account.shares.items() if share.until + margin < now}
    count = msgspec.structs.replace(count, listing=True, since=NOTHING, over=over)
    return msgspec.structs.replace(account, count=count, due=False)


def end_count(
    account: Account, nonce: str, found: Amounts, physical: int, now: float
) -> Account | None:
    """Take what was ``found`` for what is used. ``None`` where another count has begun since."""
    count = account.count
    if count is None or count.nonce != nonce:
        return None
    shares = {
        who: share
        for who, share in account.shares.items()
        if who not in count.over or share.until != count.over[who]
    }
    return msgspec.structs.replace(
        account,
        used=found + count.since,
        shares=shares,
        round=account.round + 1,
        count=None,
        counted=now,
        physical=physical,
        due=account.due or bool(count.since or any(share.held for share in shares.values())),
    )


def limit(account: Account, limits: Limits) -> Account:
    """Set other limits."""
    return msgspec.structs.replace(account, limits=limits, edition=account.edition + 1)
