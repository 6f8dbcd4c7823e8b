"""The checker of histories finds what it is there to find."""

import random
import time

import pytest

from tests.oracle.histories import Operation, is_linearizable


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


def simulate(seed: int, clients: int = 6, count: int = 25) -> list[Operation]:
    """Give a history that a true register made: each step at a random moment of its span."""
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
        if choice < 2:
            history.append(op("read", begin, end, state))
            continue
        expected = chance.choice([None, "absent", "present", state, "other"])
        kind = "delete" if choice == 4 else "put"
        probe = Operation(kind, begin, None, name, expected=expected)
        _, after = probe.apply(state)
        for outcome in ("ok", "refused", "missing"):
            each = Operation(kind, begin, end, name, expected, outcome, seen=state)
            if each.apply(state)[0]:
                history.append(each)
                break
        state = after
    return history


@pytest.mark.parametrize("seed", range(15))
def test_what_a_register_did_is_accepted_and_one_changed_answer_is_not(seed):
    """The mutation: one read gives a value that was put and overwritten long before."""
    history = simulate(seed)
    began = time.monotonic()
    assert is_linearizable(history)
    chance = random.Random(seed)  # noqa: S311
    reads = [each for each in history if each.kind == "read" and each.value is not None]
    late = max(reads, key=lambda each: each.invoked)
    early = min(reads, key=lambda each: each.invoked)
    if late.value == early.value:
        pytest.skip("this history reads one value only")
    changed = [each for each in history if each is not late]
    changed.append(op("read", late.invoked, late.response, early.value))
    chance.shuffle(changed)
    assert not is_linearizable(changed)
    assert time.monotonic() - began < 10
