"""The upload session's state machine: every cell of the table, and the rule for chunks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import upload
from registry.spec.errors import RangeInvalid, UploadInvalid, UploadUnknown
from registry.spec.ranges import ContentRange
from registry.spec.upload import TRANSITIONS, Event, State, advance, check_append

LEGAL = {
    (State.OPEN, Event.APPEND): State.OPEN,
    (State.OPEN, Event.FINISH): State.FINISHING,
    (State.OPEN, Event.CANCEL): State.ABORTED,
    (State.OPEN, Event.EXPIRE): State.ABORTED,
    (State.FINISHING, Event.FINISH): State.FINISHING,
    (State.FINISHING, Event.COMMIT): State.COMMITTED,
    (State.FINISHING, Event.MISMATCH): State.ABORTED,
    (State.COMMITTED, Event.FINISH): State.COMMITTED,
    (State.COMMITTED, Event.COMMIT): State.COMMITTED,
    (State.COMMITTED, Event.EXPIRE): State.COMMITTED,
    (State.ABORTED, Event.MISMATCH): State.ABORTED,
    (State.ABORTED, Event.CANCEL): State.ABORTED,
    (State.ABORTED, Event.EXPIRE): State.ABORTED,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_cell_of_the_table(state, event):
    """An illegal event raises, and nothing happens."""
    if (state, event) in LEGAL:
        assert advance(state, event) is LEGAL[state, event]
    else:
        over = state in (State.COMMITTED, State.ABORTED)
        with pytest.raises(UploadUnknown if over else UploadInvalid):
            advance(state, event, "session")


def test_the_table_has_a_row_for_every_state():
    assert set(TRANSITIONS) == set(State)


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_a_session_is_committed_only_through_finishing_and_never_leaves_its_end(events):
    state = State.OPEN
    for event in events:
        before = state
        try:
            state = advance(state, event)
        except (UploadInvalid, UploadUnknown):
            assert state is before
        if before in (State.COMMITTED, State.ABORTED):
            assert state is before
        if state is State.COMMITTED:
            assert before in (State.FINISHING, State.COMMITTED)


def test_the_drawing_names_every_state_and_event():
    for name in (*State, *Event):
        assert name.upper() in upload.__doc__


@pytest.mark.parametrize(
    ("offset", "content_range", "content_length"),
    [
        (0, None, None),
        (5, None, 100),
        (0, ContentRange(0, 9), 10),
        (10, ContentRange(10, 10), 1),
        (10, ContentRange(10, 19), None),
    ],
)
def test_a_chunk_that_continues_the_session_is_taken(offset, content_range, content_length):
    check_append(offset, content_range, content_length)


@pytest.mark.parametrize(
    ("offset", "content_range", "content_length"),
    [
        (0, ContentRange(1, 10), 10),
        (10, ContentRange(0, 9), 10),
        (10, ContentRange(9, 18), 10),
        (0, ContentRange(10**18, 10**18), 1),
        (0, ContentRange(0, 9), 9),
        (0, ContentRange(0, 9), 11),
        (0, ContentRange(0, 9), 0),
    ],
)
def test_a_chunk_out_of_order_or_of_another_length_gets_the_true_offset(
    offset, content_range, content_length
):
    with pytest.raises(RangeInvalid) as caught:
        check_append(offset, content_range, content_length, "/v2/a/blobs/uploads/x")
    assert caught.value.offset == offset
    assert caught.value.headers == {
        "Range": f"0-{max(offset - 1, 0)}",
        "Location": "/v2/a/blobs/uploads/x",
    }
