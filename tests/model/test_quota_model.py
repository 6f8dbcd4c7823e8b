"""The accounting of quotas, over every interleaving of pushes, removals, counts and time.

Taking a rule away must lead to a counterexample, or the model would prove nothing.
"""

import pytest

from tests.model.quotas import (
    RULES,
    BrokenError,
    Model,
    begin,
    breaker,
    counter,
    explore,
    finisher,
    payer,
    pusher,
    remover,
    uploader,
)

SCENARIOS = {
    "two pushes for one place": lambda: begin(1, pusher("p", "a"), pusher("q", "b")),
    "two pushes of one blob": lambda: begin(2, pusher("p", "a"), pusher("q", "a")),
    "a push and a count": lambda: begin(1, pusher("p", "a"), counter("c")),
    "two pushes and a count": lambda: begin(2, pusher("p", "a"), pusher("q", "b"), counter("c")),
    "a removal and a count": lambda: begin(1, remover("r", "a"), counter("c"), blobs="a"),
    "a removal and two counts": lambda: begin(
        2, remover("r", "a"), counter("c"), counter("d"), blobs="ab"
    ),
    "two removals": lambda: begin(2, remover("r", "a"), remover("s", "a"), blobs="ab"),
    "a removal, a push and a count": lambda: begin(
        1, remover("r", "a"), pusher("p", "b"), counter("c"), blobs="a"
    ),
    "a removal, the same again, a count": lambda: begin(
        1, remover("r", "a"), pusher("p", "a"), counter("c"), blobs="a"
    ),
    "an upload and its end": lambda: begin(1, uploader("u"), finisher("f"), counter("c")),
    "an end and a cancellation": lambda: begin(
        1, finisher("f"), remover("r", "s"), counter("c"), session="open"
    ),
    "two ends of one upload": lambda: begin(
        2, finisher("f"), finisher("g"), counter("c"), session="open"
    ),
    "an end, and a repeated one that breaks off": lambda: begin(
        2, finisher("f"), breaker("b"), finisher("g"), counter("c"), session="open"
    ),
    "an end, one that breaks off, a cancellation": lambda: begin(
        2, finisher("f"), breaker("b"), remover("r", "s"), counter("c"), session="open"
    ),
    "an end, and a push of the same": lambda: begin(
        2, finisher("f"), pusher("p", "a"), counter("c"), session="open"
    ),
    "an end that pays anew": lambda: begin(2, payer("f"), counter("c"), session="open"),
    "one that pays anew, and a cancellation": lambda: begin(
        3, payer("f"), remover("r", "s"), counter("c"), session="open"
    ),
    "two ends that pay anew": lambda: begin(3, payer("f"), payer("g"), session="open"),
    "one that pays anew, and one that marks": lambda: begin(
        3, payer("f"), finisher("g"), counter("c"), session="open"
    ),
    "one that pays anew, one that marks, a removal": lambda: begin(
        3, payer("f"), finisher("g"), remover("r", "a"), session="open"
    ),
    "two ends and a removal": lambda: begin(
        2, finisher("f"), finisher("g"), remover("r", "a"), session="open"
    ),
}

TICKS = 3

BROKEN = {
    "take first": "two pushes for one place",
    "created": "two removals",
    "round": "a removal and a count",
    "since": "a push and a count",
    "sessions first": "an end and a cancellation",
    "margin": "a push and a count",
    "began over": "a push and a count",
    "claim": "an end and a cancellation",
    "own mark": "two ends of one upload",
    "stays marked": "an end, and a repeated one that breaks off",
    "pay again": "two ends and a removal",
    "still own": "two ends of one upload",
    "look again": "a push and a count",
    "as loaded": "one that pays anew, and one that marks",
    "one removes": "two ends that pay anew",
}
"""Where each rule is missed."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_stored_is_paid_for_and_fits_whatever_the_order(name):
    assert explore(Model(), SCENARIOS[name](), TICKS) > 20


@pytest.mark.parametrize("rule", RULES)
def test_without_the_rule_it_is_not(rule):
    world = SCENARIOS[BROKEN[rule]]()
    with pytest.raises(BrokenError):
        explore(Model(without=rule), world, TICKS)
