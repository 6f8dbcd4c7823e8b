"""The life of what can be collected. Every rule that affects the state lives in this file.

              PROMISE, WRITE                        a pointer from a digest to its bytes,
               +----------+                         a membership of a blob in a repository,
               v          |                         a manifest
        +--------------------+  CONDEMN   +-----------+
        |        LIVE        |----------->| CONDEMNED |
        |                    |<-----------|           |
        +--------------------+  PROMISE,  +-----------+
           |    ^       ^       WRITE,     |         |
      HIDE |    | WRITE |       KEEP       | HIDE    | EXPIRE
           v    |       |                  v         |
        +-----------+   |          (to HIDDEN)       |
        |  HIDDEN   |   | WRITE                      |
        +-----------+   |                            |
              |         |                            |
              | EXPIRE  |                            |
              v         |                            v
        +-------------------------------------------------+
        |                    DELETING                     |  EXPIRE: no change
        +-------------------------------------------------+

- LIVE and CONDEMNED are visible. Whoever gets a positive answer about one that is CONDEMNED has a
  promise (a client skips its upload then), so it is swapped back to LIVE before the answer.
- HIDDEN is gone for clients, and can still be had back: what was deleted, or put into quarantine.
- DELETING is gone for good. It stays until what belongs to it has been removed.
- What is not there at all has no state here: it is created LIVE, or HIDDEN by a collector that
  wants time to pass before it removes what an interrupted write has left.

Each change is a compare-and-swap of one object in the store, and of each the store keeps the time.
Three rules of time make that enough, whoever crashes, freezes or comes late:

1. A collector expires only what has been CONDEMNED or HIDDEN for the grace, and looks whether
   anything needs it *after* that, before the swap.
2. A writer looks first (and swaps back what is CONDEMNED), then writes what needs it, and answers
   only if all of that took no longer than `patience(grace)`; otherwise it does it all again. So a
   collector that condemned after the writer's look sees what was written.
3. What is removed at the end is removed at the version at which it was seen, and nobody writes over
   DELETING while such a removal may still be under way (`settle` of the store).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Life(StrEnum):
    """Where something that can be collected is."""

    LIVE = "live"
    CONDEMNED = "condemned"
    HIDDEN = "hidden"
    DELETING = "deleting"

    @property
    def visible(self) -> bool:
        """Whether clients are told that it is there."""
        return self in (Life.LIVE, Life.CONDEMNED)


class Event(StrEnum):
    """What can happen to it.

    PROMISE: a client is told that it is there. WRITE: it is pushed, mounted or had back. CONDEMN:
    nothing needs it. KEEP: something does after all. HIDE: it is deleted by a client, or found
    damaged. EXPIRE: its time is over, and still nothing needs it.
    """

    PROMISE = "promise"
    WRITE = "write"
    CONDEMN = "condemn"
    KEEP = "keep"
    HIDE = "hide"
    EXPIRE = "expire"


TRANSITIONS: Mapping[Life, Mapping[Event, Life]] = {
    Life.LIVE: {
        Event.PROMISE: Life.LIVE,
        Event.WRITE: Life.LIVE,
        Event.CONDEMN: Life.CONDEMNED,
        Event.HIDE: Life.HIDDEN,
    },
    Life.CONDEMNED: {
        Event.PROMISE: Life.LIVE,
        Event.WRITE: Life.LIVE,
        Event.KEEP: Life.LIVE,
        Event.HIDE: Life.HIDDEN,
        Event.EXPIRE: Life.DELETING,
    },
    Life.HIDDEN: {
        Event.WRITE: Life.LIVE,
        Event.EXPIRE: Life.DELETING,
    },
    Life.DELETING: {
        Event.WRITE: Life.LIVE,
        Event.EXPIRE: Life.DELETING,
    },
}
"""The whole table: state, event, next state. What is not here is illegal."""


class Gone(Exception):
    """The event can't happen to what is in this state: for clients there is no such thing."""

    def __init__(self, state: Life, event: Event) -> None:
        super().__init__(f"what is {state} can't {event}")
        self.state = state
        self.event = event


def advance(state: Life, event: Event) -> Life:
    """Give the state after `event`; `Gone` where the event is illegal."""
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise Gone(state, event)
    return after


MOST_PATIENCE = 300.0
"""A writer's longest sequence, in seconds, however long the grace is."""


def patience(grace: float) -> float:
    """Give the seconds that a writer may take from its first look to its last write.

    A quarter of the grace: far from its end even where clocks differ and stores are slow. Never
    more than `MOST_PATIENCE`, so that processes that were told different graces still agree, as
    long as each grace is four times that.
    """
    return min(grace / 4, MOST_PATIENCE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a collector is to do: cause `event`, if any, and look again after `wait` seconds.

    A negative `wait`: there is nothing to look for, until another event tells of it.
    """

    event: Event | None
    wait: float


NOTHING = Verdict(None, -1.0)


def judge(state: Life, age: float, *, grace: float, settle: float, needed: bool) -> Verdict:
    """Decide about something that has been in `state` for `age` seconds.

    `needed` is whether anything that is there now needs it, seen after `state` was. `settle` are
    the seconds for which a removal by another collector may still be under way.
    """
    if state is Life.DELETING:
        return Verdict(Event.EXPIRE, -1.0) if age >= settle else Verdict(None, settle - age)
    if needed:
        return Verdict(Event.KEEP, -1.0) if state is Life.CONDEMNED else NOTHING
    if age < grace:
        return Verdict(None, grace - age)
    if state is Life.LIVE:
        return Verdict(Event.CONDEMN, grace)
    return Verdict(Event.EXPIRE, -1.0)
