"""The life of what can be collected: every cell of the table, and when its time has come."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.life import (
    MOST_PATIENCE,
    NOTHING,
    TRANSITIONS,
    Event,
    Gone,
    Life,
    Verdict,
    advance,
    judge,
    patience,
)

LEGAL = {
    (Life.LIVE, Event.PROMISE): Life.LIVE,
    (Life.LIVE, Event.WRITE): Life.LIVE,
    (Life.LIVE, Event.CONDEMN): Life.CONDEMNED,
    (Life.LIVE, Event.HIDE): Life.HIDDEN,
    (Life.CONDEMNED, Event.PROMISE): Life.LIVE,
    (Life.CONDEMNED, Event.WRITE): Life.LIVE,
    (Life.CONDEMNED, Event.KEEP): Life.LIVE,
    (Life.CONDEMNED, Event.HIDE): Life.HIDDEN,
    (Life.CONDEMNED, Event.EXPIRE): Life.DELETING,
    (Life.HIDDEN, Event.WRITE): Life.LIVE,
    (Life.HIDDEN, Event.EXPIRE): Life.DELETING,
    (Life.DELETING, Event.WRITE): Life.LIVE,
    (Life.DELETING, Event.EXPIRE): Life.DELETING,
}

ages = st.floats(0, 1e6)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(Life, Event)))
def test_every_cell_of_the_table(state, event):
    if (state, event) in LEGAL:
        assert advance(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(Gone) as caught:
            advance(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)


def test_the_table_has_a_row_for_every_state():
    assert set(TRANSITIONS) == set(Life)


@pytest.mark.parametrize("state", Life)
def test_what_is_promised_is_visible_and_what_is_not_visible_is_not_promised(state):
    if state.visible:
        assert advance(state, Event.PROMISE) is Life.LIVE
    else:
        with pytest.raises(Gone):
            advance(state, Event.PROMISE)
    assert advance(state, Event.WRITE) is Life.LIVE


@given(st.sampled_from(Life), ages, ages, ages, st.booleans())
def test_a_verdict_can_be_carried_out_and_never_comes_early(state, age, grace, settle, needed):
    verdict = judge(state, age, grace=grace, settle=settle, needed=needed)
    if verdict.event is not None:
        advance(state, verdict.event)
    if verdict.event is Event.EXPIRE:
        assert age >= (settle if state is Life.DELETING else grace)
        assert state is Life.DELETING or not needed
    if verdict.event is None and verdict != NOTHING:
        later = judge(state, age + verdict.wait + 1, grace=grace, settle=settle, needed=needed)
        assert later.event is not None


@pytest.mark.parametrize(
    ("state", "age", "needed", "verdict"),
    [
        (Life.LIVE, 1, True, NOTHING),
        (Life.LIVE, 1, False, Verdict(None, 9)),
        (Life.LIVE, 10, False, Verdict(Event.CONDEMN, 10)),
        (Life.CONDEMNED, 1, True, Verdict(Event.KEEP, -1)),
        (Life.CONDEMNED, 1, False, Verdict(None, 9)),
        (Life.CONDEMNED, 10, False, Verdict(Event.EXPIRE, -1)),
        (Life.HIDDEN, 99, True, NOTHING),
        (Life.HIDDEN, 1, False, Verdict(None, 9)),
        (Life.HIDDEN, 10, False, Verdict(Event.EXPIRE, -1)),
        (Life.DELETING, 1, True, Verdict(None, 2)),
        (Life.DELETING, 3, True, Verdict(Event.EXPIRE, -1)),
    ],
)
def test_verdicts(state, age, needed, verdict):
    assert judge(state, age, grace=10, settle=3, needed=needed) == verdict


def test_a_writer_is_patient_for_a_quarter_of_the_grace_but_never_for_long():
    assert patience(8) == 2
    assert patience(86_400) == MOST_PATIENCE
