"""The collection protocol, over every interleaving of who pushes, deletes and collects.

``registry/spec/life.py`` says what the protocol is. Here all of it is tried out on a small world:
one blob, two repositories, a tick of the clock at any moment. A rule that is taken away must lead
to a counterexample, or the model would prove nothing. ``python -m tests.model`` goes deeper.
"""

import pytest

from tests.model.explorer import CounterexampleError, explore
from tests.model.protocol import RULES, Model
from tests.model.scenarios import SCENARIOS

DEPTHS = {True: [(1, 2), (2, 1)], False: [(2, 1)]}
"""Things that the collector takes up, and ticks: where the store is exact, and where it is not."""

BROKEN = {
    "revive": ("a push of what is condemned", 1, 1, True),
    "revive pointer": ("a push onto a condemned pointer", 1, 1, True),
    "grace": ("a deletion of the blob and a push", 1, 1, True),
    "look again": ("a push", 1, 1, True),
    "look at members": ("a push", 1, 1, True),
    "patient answers": ("a deletion of the blob and a push", 1, 1, True),
    "patient uploads": ("a push", 2, 1, True),
    "patient manifests": ("a push", 1, 1, True),
    "fresh bytes": ("a push onto a condemned pointer", 1, 1, True),
    "own bytes": ("a push", 2, 1, True),
    "pushed first": ("a push that somebody asks for", 1, 1, True),
    "entered first": ("a push", 1, 1, True),
    "new entries": ("a push while a deletion ends", 1, 1, True),
    "old entries": ("a push", 1, 1, True),
    "look twice": ("a push while a deletion ends", 1, 1, True),
    "copies": ("a deletion", 2, 1, True),
    "as of the list": ("a push", 2, 1, True),
    "mounts first": ("a derivation", 1, 1, True),
    "as of the mounts": ("a derivation that two collectors know nothing of", 0, 1, True),
    "members first": ("a derivation", 1, 1, True),
    "at the version": ("a push", 1, 1, True),
    "settle": ("a push onto a condemned pointer", 1, 1, False),
}
"""Where each rule is missed: scenario, things taken up, ticks, whether the store is exact."""


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "late"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_interleaving_breaks_what_was_promised(name, exact):
    for visits, ticks in DEPTHS[exact]:
        found = explore(Model(exact=exact), SCENARIOS[name](visits), ticks=ticks)
        assert found.worlds > 100
        assert found.stores > 10


@pytest.mark.parametrize("rule", RULES)
def test_without_the_rule_something_breaks(rule):
    name, visits, ticks, exact = BROKEN[rule]
    world = SCENARIOS[name](visits)
    explore(Model(exact=exact, tries=2), world, ticks=ticks)
    with pytest.raises(CounterexampleError) as caught:
        explore(Model(exact=exact, tries=2, without=rule), world, ticks=ticks)
    assert caught.value.path
