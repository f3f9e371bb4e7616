"""How ready sets travel: flat groups, and chords of one level for slow steps that share a join."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.plan import Plan
from orchestrator.core.waves import CHORD_MEMBERS, Grouping, group
from tests.support import graphs
from tests.support.definitions import compiled, workflow


def plan_of(kinds: str, edges: list[str], **joins: Any) -> Plan:
    """Nodes a, b, … of the kinds given by letter: s slow, q quick."""
    types = {"s": "slow_probe", "q": "probe"}
    nodes = [
        {"id": name, "type": types[kind]} | ({"join": joins[name]} if name in joins else {})
        for name, kind in zip("abcdefgh", kinds, strict=False)
    ]
    return compiled(workflow(*nodes, edges=edges)).plan


def test_slow_steps_into_one_join_are_one_chord() -> None:
    plan = plan_of("sssq", ["[a, b, c] >> d"])
    assert group(plan, [0, 1, 2], chords=True) == [Grouping(members=(0, 1, 2), join=3)]


def test_without_a_common_join_it_is_one_group() -> None:
    plan = plan_of("qsssss", ["a >> [b, c, d, e, f]"])
    assert group(plan, [1, 2, 3, 4, 5], chords=True) == [Grouping(members=(1, 2, 3, 4, 5))]


def test_where_results_do_not_join_it_is_one_group() -> None:
    plan = plan_of("sssq", ["[a, b, c] >> d"])
    assert group(plan, [0, 1, 2], chords=False) == [Grouping(members=(0, 1, 2))]


def test_quick_steps_are_no_members() -> None:
    plan = plan_of("ssqq", ["[a, b, c] >> d"])
    assert group(plan, [0, 1, 2], chords=True) == [Grouping(members=(0, 1, 2))]


def test_a_join_that_waits_for_others_too_has_no_chord() -> None:
    plan = plan_of("ssss", ["[a, b, c] >> d"])
    assert group(plan, [0, 1], chords=True) == [Grouping(members=(0, 1))]


def test_a_join_that_need_not_wait_for_all_has_no_chord() -> None:
    for join in ("any", {"at_least": 2}):
        plan = plan_of("sssq", ["[a, b, c] >> d"], d=join)
        assert group(plan, [0, 1, 2], chords=True) == [Grouping(members=(0, 1, 2))]


def test_one_step_is_no_chord() -> None:
    plan = plan_of("sq", ["a >> b"])
    assert group(plan, [0], chords=True) == [Grouping(members=(0,))]


def test_two_joins_make_two_chords_and_the_rest_a_group() -> None:
    plan = plan_of("sssssqq", ["[a, b] >> f", "[c, d] >> g"])
    assert group(plan, [0, 1, 2, 3, 4], chords=True) == [
        Grouping(members=(0, 1), join=5),
        Grouping(members=(2, 3), join=6),
        Grouping(members=(4,)),
    ]


def test_a_step_counts_in_one_chord_only() -> None:
    plan = plan_of("sssqq", ["[a, b] >> d", "[b, c] >> e"])
    assert group(plan, [0, 1, 2], chords=True) == [Grouping(members=(0, 1), join=3), Grouping(members=(2,))]


def test_chords_are_bounded() -> None:
    for count, join in ((CHORD_MEMBERS, CHORD_MEMBERS), (CHORD_MEMBERS + 1, None)):
        nodes = [{"id": f"n{no}", "type": "slow_probe"} for no in range(count)]
        names = ", ".join(node["id"] for node in nodes)
        plan = compiled(workflow(*nodes, {"id": "j", "type": "noop"}, edges=[f"[{names}] >> j"])).plan
        assert group(plan, list(range(count)), chords=True) == [
            Grouping(members=tuple(range(count)), join=join)
        ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.booleans())
def test_every_ready_step_travels_once(random: Random, chords: bool) -> None:
    plan = compiled(graphs.draw(random)).plan
    ready = random.sample(range(len(plan.nodes)), random.randint(1, len(plan.nodes)))
    groups = group(plan, ready, chords=chords)
    assert sorted(no for found in groups for no in found.members) == sorted(ready)
    for found in groups:
        if found.join is not None:
            sources = {edge.source for edge in plan.nodes[found.join].ins}
            assert chords
            assert sources == set(found.members)
            assert all(plan.nodes[no].slow for no in found.members)
