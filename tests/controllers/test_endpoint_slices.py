"""Endpoints: cutting them into slices, and what their changes cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.controllers.endpoint_slices import reconcile
from sim.simulate import simulate
from sim.state.applications import Change, Scale
from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000, "controllers__endpoints__services": True}


def pods(first: int, last: int) -> frozenset[int]:
    return frozenset(range(first, last))


@pytest.mark.parametrize(
    ("slices", "wanted", "changed", "gone", "added"),
    [
        ([], pods(0, 250), [], [], [100, 100, 50]),
        ([pods(0, 100), pods(100, 150)], pods(0, 151), [1], [], []),  # the slice with room takes it
        ([pods(0, 100)], pods(0, 101), [], [], [1]),
        ([pods(0, 100), pods(100, 200)], pods(1, 200), [0], [], []),  # one leaves: one slice anew
        ([pods(0, 100), pods(100, 101)], pods(0, 100), [], [1], []),  # the last of a slice: the slice goes
        ([pods(0, 100), pods(100, 200)], pods(1, 201), [0], [], []),  # one leaves, one comes: the same slice
        ([pods(0, 10)], pods(0, 10), [], [], []),
    ],
)
def test_slices(slices, wanted, changed, gone, added):
    after, found_changed, found_gone, found_added = reconcile(slices, wanted, 100)
    assert (found_changed, found_gone, [len(each) for each in found_added]) == (changed, gone, added)
    assert frozenset().union(*after) == wanted


@given(steps=st.lists(st.frozensets(st.integers(0, 40), max_size=40), min_size=1, max_size=8), most=st.integers(1, 7))
def test_slices_always_hold_what_is_wanted_once(steps, most):
    slices: list[frozenset[int]] = []
    for wanted in steps:
        before = slices
        slices, changed, gone, added = reconcile(slices, wanted, most)
        assert sorted(pod for held in slices for pod in held) == sorted(wanted)
        assert all(0 < len(held) <= most for held in slices)
        untouched = [held for place, held in enumerate(before) if place not in changed and place not in gone]
        assert all(held in slices for held in untouched)
        assert len(slices) == len(before) - len(gone) + len(added)


def test_a_change_is_told_to_every_node():
    """12 pods on 3 nodes become ready within a second: one slice created, one Endpoints object. Scaled to 13: one of each
    updated. Every write is an event for 3 kube-proxies and the controller manager's own informer."""
    scenario = exact(horizon_s=60, nodes__pools__general__count=3, **FAST)
    load = one_app(AppKind.SERVICE, 12, changes=[Change(30.0, 0, Scale(13))])
    cluster = run(scenario, load, 60.0)
    assert cluster.controllers.endpoints is not None
    assert len(cluster.controllers.endpoints.services[0].slices[0]) == 13
    result = simulate(scenario, load, seed=1)
    sent = result.requests.groupby(["verb", "resource"])["count"].sum()
    assert sent["POST", "endpointslices"] == 1
    assert sent["POST", "endpoints"] == 1
    assert sent["PUT", "endpointslices"] == sent["PUT", "endpoints"] == cluster.controllers.endpoints.writes - 1


def test_without_services_nothing_is_sent():
    scenario = exact(horizon_s=30, controllers__endpoints__services=False)
    result = simulate(scenario, one_app(AppKind.SERVICE, 3), seed=1)
    assert not result.requests["resource"].isin(["endpoints", "endpointslices"]).any()
