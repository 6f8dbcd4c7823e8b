"""The checker of histories finds what it is there to find."""

import itertools
import random
import time

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.oracle.histories import (
    Operation,
    is_linearizable,
    unexplained,
    with_shared_deletions,
)


def op(kind, begin, end, value=None, **more) -> Operation:
    return Operation(kind, begin, end, value, **more)


def test_what_happens_one_after_the_other_is_right():
    assert is_linearizable(
        [
            op("read", 0, 1),
            op("put", 2, 3, "a"),
            op("read", 4, 5, "a"),
            op("put", 6, 7, "b", expected="a"),
            op("put", 8, 9, "c", expected="a", outcome="refused", seen="b"),
            op("delete", 10, 11),
            op("delete", 12, 13, outcome="missing"),
            op("read", 14, 15),
        ]
    )


def test_what_overlaps_may_take_effect_in_either_order():
    puts = [op("put", 0, 10, "a"), op("put", 1, 9, "b")]
    assert is_linearizable([*puts, op("read", 11, 12, "a")])
    assert is_linearizable([*puts, op("read", 11, 12, "b")])
    assert is_linearizable([*puts, op("read", 2, 3), op("read", 4, 5, "b"), op("read", 6, 7, "a")])


BROKEN = {
    "a stale read": [op("put", 0, 1, "a"), op("put", 2, 3, "b"), op("read", 4, 5, "a")],
    "a read of what was never put": [op("put", 0, 1, "a"), op("read", 2, 3, "x")],
    "a read that goes back": [
        op("put", 0, 9, "a"),
        op("put", 0, 9, "b"),
        op("read", 1, 2, "a"),
        op("read", 3, 4, "b"),
        op("read", 5, 6, "a"),
    ],
    "a lost update": [op("put", 0, 1, "a"), op("read", 2, 3)],
    "a deleted tag that comes back": [
        op("put", 0, 1, "a"),
        op("delete", 2, 3),
        op("read", 4, 5, "a"),
    ],
    "two winners of one swap": [
        op("put", 0, 1, "a"),
        op("put", 2, 5, "b", expected="a"),
        op("put", 2, 5, "c", expected="a"),
    ],
    "two creators": [
        op("put", 0, 5, "a", expected="absent"),
        op("put", 0, 5, "b", expected="absent"),
    ],
    "a refusal without a reason": [
        op("put", 0, 1, "a"),
        op("put", 2, 3, "b", expected="a", outcome="refused", seen="a"),
    ],
    "a refusal that saw what never was": [
        op("put", 0, 1, "a"),
        op("put", 2, 3, "b", expected="x", outcome="refused", seen="y"),
    ],
    "two deletions of one tag": [op("put", 0, 1, "a"), op("delete", 2, 5), op("delete", 2, 5)],
    "a deletion that missed what is there": [
        op("put", 0, 1, "a"),
        op("delete", 2, 3, outcome="missing"),
    ],
    "a read before the put": [op("read", 0, 1, "a"), op("put", 2, 3, "a")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_history_is_refused(name):
    assert not is_linearizable(BROKEN[name])


def test_a_put_without_an_answer_may_have_happened_or_not_but_not_both():
    lost = op("put", 0, None, "a")
    assert is_linearizable([lost, op("read", 5, 6)])
    assert is_linearizable([lost, op("read", 5, 6, "a")])
    assert is_linearizable([lost, op("read", 5, 6), op("read", 7, 8, "a")])
    assert not is_linearizable([lost, op("read", 5, 6, "a"), op("read", 7, 8)])


def test_what_a_put_without_an_answer_explains():
    lost = op("put", 0, None, "a")
    refused = op("put", 2, 3, "b", expected="absent", outcome="refused", seen="a")
    assert is_linearizable([lost, refused])
    assert is_linearizable([lost, op("delete", 2, 3)]), "though nobody saw it"
    assert not is_linearizable([lost, op("delete", 2, 3), op("delete", 4, 5)])
    assert not is_linearizable([op("read", 0, 1, "a"), op("put", 2, None, "a")])
    assert is_linearizable([lost, op("put", 2, 3, "b", expected="a"), op("read", 4, 5, "b")])
    again = [lost, op("put", 2, 3, "b"), op("read", 4, 5, "a"), op("read", 6, 7, "b")]
    assert not is_linearizable(again), "it happened at most once, and b was not put twice"


def test_a_retried_put_may_have_happened_twice():
    """A client that sends it again makes two operations of one value."""
    puts = [op("put", 0, None, "a"), op("put", 2, 3, "b"), op("put", 4, 5, "a")]
    assert is_linearizable([*puts, op("read", 3.1, 3.2, "a")])
    assert is_linearizable([*puts, op("read", 6, 7, "a")])
    assert is_linearizable([*puts[:2], op("read", 6, 7, "b"), op("read", 8, 9, "a")])
    assert not is_linearizable([*puts, op("read", 6, 7, "a"), op("read", 8, 9, "b")])


def test_what_changes_nothing_at_first_may_change_something_later():
    history = [
        op("put", 0, None, "a"),
        op("put", 1, 20, "a"),
        op("read", 2, 3, "a"),
        op("put", 4, 5, "b"),
        op("read", 6, 7, "b"),
        op("read", 8, 9, "a"),
    ]
    assert is_linearizable(history)


def test_two_deletions_at_once_may_share_what_they_deleted():
    history = [op("put", 0, 1, "a"), op("delete", 2, 5), op("delete", 3, 6), op("read", 7, 8)]
    assert not is_linearizable(history)
    assert is_linearizable(with_shared_deletions(history))
    # The second one is no mere witness: it may be the one that did it.
    late = [*history[:2], op("read", 2, 3), op("put", 5.1, 5.2, "b"), op("delete", 4, 9)]
    assert is_linearizable(with_shared_deletions([*late, op("read", 10, 11)]))
    assert not is_linearizable(with_shared_deletions([*late[:4], op("read", 10, 11)]))


def test_a_delete_without_an_answer_explains_absence_once():
    history = [op("put", 0, 1, "a"), op("delete", 2, None), op("read", 3, 4)]
    assert is_linearizable(history)
    assert not is_linearizable([*history, op("put", 5, 6, "b"), op("read", 7, 8)])


def test_what_could_not_be_explained_is_named():
    stale = op("read", 4, 5, "a")
    left = unexplained([op("put", 0, 1, "a"), op("put", 2, 3, "b"), stale, op("read", 6, 7, "b")])
    assert left == [stale]
    assert unexplained([op("put", 0, 1, "a")]) == []


def by_permutations(history: list[Operation]) -> bool:
    """The definition, word for word: try every order of every choice of what happened."""
    told = [each for each in history if each.response is not None]
    lost = [each for each in history if each.response is None]
    for count in range(len(lost) + 1):
        for happened in itertools.combinations(lost, count):
            for order in itertools.permutations([*told, *happened]):
                if _in_time(order) and _explains(order):
                    return True
    return False


def _in_time(order) -> bool:
    for at, later in enumerate(order):
        for earlier in order[:at]:
            if later.response is not None and later.response < earlier.invoked:
                return False
    return True


def _explains(order) -> bool:
    state = None
    for each in order:
        possible, state = each.apply(state)
        if not possible:
            return False
    return True


@st.composite
def small_histories(draw) -> list[Operation]:
    """Any few operations with any answers, right or wrong, over few values."""
    value = st.sampled_from(["a", "b"])
    history = []
    for _ in range(draw(st.integers(1, 6))):
        begin = draw(st.integers(0, 12))
        end = draw(st.none() | st.integers(begin, begin + 6))
        kind = draw(st.sampled_from(["read", "put", "put", "delete"]))
        if kind == "read":
            history.append(op(kind, begin, end, draw(st.none() | value)))
            continue
        expected = draw(st.sampled_from([None, None, "absent", "present", "a", "b"]))
        outcomes = ["ok", "ok", "refused", "missing"] + ["gone"] * (kind == "delete")
        outcome = draw(st.sampled_from(outcomes))
        seen = draw(st.none() | value) if outcome == "refused" else None
        name = draw(value) if kind == "put" else None
        history.append(op(kind, begin, end, name, expected=expected, outcome=outcome, seen=seen))
    return history


@settings(max_examples=600, deadline=None)
@given(small_histories())
def test_it_says_what_the_definition_says(history):
    event(f"linearizable: {is_linearizable(history)}")
    assert is_linearizable(history) == by_permutations(history)


def simulate(seed: int, clients: int = 6, count: int = 25, lost: float = 0.0) -> list[Operation]:
    """Give a history that a true register made: each step at a random moment of its span.

    A share of the operations has no answer; half of these took effect.
    """
    chance = random.Random(seed)  # noqa: S311
    spans = []
    for client in range(clients):
        now = chance.random()
        for number in range(count):
            begin = now
            effect = begin + chance.random()
            now = effect + chance.random()
            spans.append((effect, begin, now, f"{client}-{number}"))
            now += chance.random() * 0.1
    state: str | None = None
    history = []
    for _, begin, end, name in sorted(spans):
        choice = chance.randrange(5)
        unanswered = chance.random() < lost
        if choice < 2:
            history.append(op("read", begin, None if unanswered else end, state))
            continue
        expected = chance.choice([None, "absent", "present", state, "other"])
        kind = "delete" if choice == 4 else "put"
        probe = Operation(kind, begin, None, name, expected=expected)
        _, after = probe.apply(state)
        if unanswered:
            history.append(probe)
            state = chance.choice([state, after])
            continue
        for outcome in ("ok", "refused", "missing"):
            each = Operation(kind, begin, end, name, expected, outcome, seen=state)
            if each.apply(state)[0]:
                history.append(each)
                break
        state = after
    return history


def with_a_stale_read(history: list[Operation], seed: int) -> list[Operation]:
    """Let one late read give a value that was overwritten long before."""
    told = [each for each in history if each.response is not None]
    reads = [each for each in told if each.kind == "read" and each.value is not None]
    late = max(reads, key=lambda each: each.invoked)
    early = min(reads, key=lambda each: each.invoked)
    assert late.value != early.value
    changed = [each for each in history if each is not late]
    changed.append(op("read", late.invoked, late.response, early.value))
    random.Random(seed).shuffle(changed)  # noqa: S311
    return changed


@pytest.mark.parametrize("lost", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(15))
def test_what_a_register_did_is_accepted_and_one_changed_answer_is_not(seed, lost):
    history = simulate(seed, lost=lost)
    assert is_linearizable(history)
    assert not is_linearizable(with_a_stale_read(history, seed))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lost", [0.0, 0.02, 0.1])
def test_thousands_of_operations_are_judged_in_seconds(lost):
    history = simulate(1, clients=10, count=300, lost=lost)
    began = time.process_time()
    assert is_linearizable(history)
    accepted = time.process_time()
    assert not is_linearizable(with_a_stale_read(history, 1))
    refused = time.process_time()
    print(f"\n{len(history)}: {accepted - began:.2f} s, {refused - accepted:.2f} s")
    assert refused - began < 100
