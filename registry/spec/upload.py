"""The upload session's state machine. Every rule that affects the state lives in this file.

           APPEND                 FINISH
          +------+              +--------+
          v      |              v        |
        +----------+  FINISH  +-------------+  COMMIT  +-------------+
        |   OPEN   |--------->|  FINISHING  |--------->|  COMMITTED  |
        +----------+          +-------------+          +-------------+
             | CANCEL, EXPIRE        | MISMATCH          FINISH, COMMIT,
             v                       v                   EXPIRE: no change
        +------------------------------------+
        |              ABORTED               |  CANCEL, EXPIRE, MISMATCH: no change
        +------------------------------------+

- FINISH and COMMIT can be repeated, because a closing PUT that got no answer is sent again, or
  taken up by another server: the same PUT gets 201 each time.
- FINISHING cannot be cancelled and does not expire: the blob may be published already. Whoever
  finds a session there (its lease free, its server gone) sends FINISH and then COMMIT or
  MISMATCH.
- A mismatch ends the session. The received bytes are wrong or the digest is, and the client
  cannot tell which; every known client begins again with POST.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from registry.spec.errors import RangeInvalid, UploadInvalid, UploadUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.spec.ranges import ContentRange


class State(StrEnum):
    """Where an upload session is."""

    OPEN = "open"
    FINISHING = "finishing"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Event(StrEnum):
    """What can happen to an upload session.

    APPEND: bytes became durable (end-5, end-6). FINISH: a closing PUT was accepted (end-6).
    COMMIT: the blob is published. MISMATCH: its digest is another. CANCEL: end-14. EXPIRE: it
    was idle for too long.
    """

    APPEND = "append"
    FINISH = "finish"
    COMMIT = "commit"
    MISMATCH = "mismatch"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.OPEN: {
        Event.APPEND: State.OPEN,
        Event.FINISH: State.FINISHING,
        Event.CANCEL: State.ABORTED,
        Event.EXPIRE: State.ABORTED,
    },
    State.FINISHING: {
        Event.FINISH: State.FINISHING,
        Event.COMMIT: State.COMMITTED,
        Event.MISMATCH: State.ABORTED,
    },
    State.COMMITTED: {
        Event.FINISH: State.COMMITTED,
        Event.COMMIT: State.COMMITTED,
        Event.EXPIRE: State.COMMITTED,
    },
    State.ABORTED: {
        Event.MISMATCH: State.ABORTED,
        Event.CANCEL: State.ABORTED,
        Event.EXPIRE: State.ABORTED,
    },
}
"""The whole table: state, event, next state. What is not here is illegal."""


def advance(state: State, event: Event, session: str = "") -> State:
    """Give the state after `event`; nothing else changes.

    An illegal event raises UploadUnknown (404) when the session is over, since it no longer
    exists for the client, and UploadInvalid (400) when it is still alive. `session` is for the
    message.
    """
    after = TRANSITIONS[state].get(event)
    if after is not None:
        return after
    if state in (State.COMMITTED, State.ABORTED):
        raise UploadUnknown(session)
    raise UploadInvalid(f"the upload session is {state}: it cannot {event} now")


def check_append(
    offset: int,
    content_range: ContentRange | None,
    content_length: int | None,
    location: str | None = None,
) -> None:
    """Check that a chunk continues a session which holds `offset` bytes.

    For PATCH and for a closing PUT with a body. `content_range` is None when the client streams
    (docker, containerd): the bytes then go at the end. `content_length`, in bytes, is None for
    chunked transfer coding. Raises RangeInvalid (416, with the true offset) when the chunk does
    not start at the offset, or when its two headers disagree, before any byte is taken.
    """
    if content_range is None:
        return
    if content_range.start != offset:
        raise RangeInvalid(
            f"the chunk starts at byte {content_range.start}, but the upload holds {offset} bytes: "
            f"go on at {offset}",
            offset,
            location,
        )
    if content_length is not None and content_length != content_range.length:
        raise RangeInvalid(
            f"Content-Range announces {content_range.length} bytes, but Content-Length "
            f"{content_length}",
            offset,
            location,
        )
