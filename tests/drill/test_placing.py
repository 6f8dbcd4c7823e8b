"""What the drill's cluster decides as Kubernetes does: placing, evictions, rollouts."""

import pytest

from cluster.kubernetes.placing import (
    HOST,
    ZONE,
    Node,
    Placed,
    disruptions_allowed,
    place,
    rollout,
)

LABELS = {"app": "registry", "revision": "1"}


def spread(key, how, *names):
    return {
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": how,
        "labelSelector": {"matchLabels": {"app": "registry"}},
        "matchLabelKeys": list(names),
    }


SPREAD = [spread(ZONE, "ScheduleAnyway", "revision"), spread(HOST, "DoNotSchedule", "revision")]


def nodes(zones="abca"):
    return [Node(f"node-{number}", zone) for number, zone in enumerate(zones)]


def placed(where, count, placed_before=(), labels=LABELS):
    found = list(placed_before)
    for _ in range(count):
        node = place(labels, SPREAD, where, found)
        if node is None:
            break
        found.append(Placed(labels, node))
    return found


def test_pods_are_spread_over_zones_and_nodes():
    found = placed(nodes(), 4)
    assert [each.node.name for each in found] == ["node-0", "node-1", "node-2", "node-3"]


def test_a_second_one_on_a_node_waits_until_all_have_one():
    where = nodes("ab")
    assert len(placed(where, 4)) == 4
    where[0].cordoned = True
    assert len(placed(where, 2)) == 1, "the cordoned node counts, and has none"


def test_a_new_revision_is_spread_by_itself():
    where = nodes("abc")
    old = placed(where, 3)
    new = placed(where, 1, old, LABELS | {"revision": "2"})
    assert len(new) == 4


def test_nothing_is_placed_where_nothing_runs():
    where = nodes("abc")
    where[0].down = True
    assert {each.node.name for each in placed(where, 2)} == {"node-1", "node-2"}


@pytest.mark.parametrize(("healthy", "allowed"), [(3, 1), (2, 0), (1, 0)])
def test_a_budget_counts_what_is_healthy(healthy, allowed):
    assert disruptions_allowed(3, healthy, 1) == allowed


def test_a_rollout_goes_on_by_one_and_never_below():
    """As the chart has it: one more, none less."""
    steps = []
    old, new = [True] * 3, []
    for _ in range(20):
        making, ending = rollout(old, new, wanted=3, surge=1, unavailable=0)
        steps.append((making, ending))
        old = old[ending:]
        new = [True] * len(new) + [False] * making
        assert sum(old) + sum(new) >= 3
        assert len(old) + len(new) <= 4
        if not old and all(new) and len(new) == 3:
            break
    assert (len(old), len(new)) == (0, 3)
    assert all(making <= 1 and ending <= 1 for making, ending in steps)


def test_an_old_pod_that_is_broken_goes_at_once():
    assert rollout([True, False, True], [], wanted=3, surge=1, unavailable=0) == (1, 1)
