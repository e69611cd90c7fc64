"""The three paths give the same answers: composed (plugins one by one), full (fused loops), incremental (index).

They are driven through random sequences of scheduling, assuming, forgetting, deleting, terminating and nominating pods
and of adding, changing and removing nodes, with the same draws.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scheduler import core as core_module
from sim.scheduler.core import Core
from sim.scheduler.preemption import Evaluator
from sim.scheduler.profiles import profile
from sim.state.objects import LabelSelector, pairs
from sim.state.placements import Placements
from tests.scheduler.worlds import random_node, random_pod

PATHS = ("composed", "full", "incremental")


@pytest.fixture(autouse=True)
def _index_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spec gets an index at once, however many nodes changed."""
    monkeypatch.setattr(core_module, "STREAK_FOR_INDEX", 0)
    monkeypatch.setattr(core_module, "MIN_NODES_FOR_INDEX", 1)
    monkeypatch.setattr(core_module, "MIN_CHANGES", 40)


class Trio:
    """Three cores that are told the same."""

    def __init__(self, version: str, tie_break: str, percentage: int) -> None:
        self.cores = []
        for path in PATHS:
            core = Core(profile(version), tie_break, percentage, np.random.default_rng(3))
            core.path = path
            core.set_controller("ReplicaSet", "default", "rs", LabelSelector(pairs({"app": "web"})))
            core.set_service("team", "svc", pairs({"app": "db"}))
            core.set_namespaces({"default": {"env": "prod"}, "team": {}})
            self.cores.append(core)

    def tell(self, method: str, *args: Any) -> Any:
        answers = [getattr(core, method)(*args) for core in self.cores]
        return answers[0]

    def schedule(self, spec: int, pod: int) -> int:
        nodes = [core.schedule(spec, pod) for core in self.cores]
        lasts = [repr(core.last) for core in self.cores]
        assert lasts[1] == lasts[0], "full path differs from the plugins"
        assert lasts[2] == lasts[0], "incremental path differs from the plugins"
        return nodes[0]


def drive(seed: int, version: str, tie_break: str, percentage: int, nodes: int, steps: int) -> Trio:
    """A random life of a cluster."""
    rng = np.random.default_rng(seed)
    trio = Trio(version, tie_break, percentage)
    for index in range(nodes):
        trio.tell("add_node", random_node(rng, index))
    alive, dead, placed, pod = list(range(nodes)), [], [], 0
    specs = [trio.tell("intern", random_pod(rng)) for _ in range(4)]
    for _ in range(steps):
        draw = rng.random()
        if draw < 0.03:
            specs[int(rng.integers(len(specs)))] = trio.tell("intern", random_pod(rng))
        elif draw < 0.12 and placed:
            trio.tell(str(rng.choice(["remove", "forget"])), placed.pop(int(rng.integers(len(placed)))))
        elif draw < 0.16 and placed:
            trio.tell("terminate", placed[int(rng.integers(len(placed)))])
        elif draw < 0.18:
            alive.append(trio.tell("add_node", random_node(rng, nodes)))
            nodes += 1
        elif draw < 0.20 and len(alive) > 2:
            dead.append(alive.pop(int(rng.integers(len(alive)))))
            trio.tell("remove_node", dead[-1])
        elif draw < 0.21 and dead:
            row = dead.pop()
            trio.tell("add_node", random_node(rng, row))
            alive.append(row)
        elif draw < 0.24:
            row = alive[int(rng.integers(len(alive)))]
            trio.tell("update_node", row, random_node(rng, row))
        elif draw < 0.26:
            trio.tell("nominate", 10_000, specs[0], alive[int(rng.integers(len(alive)))])
        elif draw < 0.30:
            trio.tell("clear_nomination", 10_000)
        else:
            spec = specs[int(rng.integers(len(specs)))]
            for _ in range(int(rng.integers(1, 6))):
                node = trio.schedule(spec, pod)
                if node >= 0:
                    trio.tell("assume", pod, spec, node)
                    placed.append(pod)
                    pod += 1
    return trio


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    version=st.sampled_from(["1.34", "1.34", "1.20", "1.19", "1.12"]),
    tie_break=st.sampled_from(["random", "lowest"]),
    nodes=st.integers(1, 40),
)
def test_all_nodes_evaluated(seed: int, version: str, tie_break: str, nodes: int) -> None:
    """Small clusters: every node is evaluated."""
    drive(seed, version, tie_break, 100, nodes, 60)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), tie_break=st.sampled_from(["random", "lowest"]), percentage=st.sampled_from([0, 5, 60]))
def test_sampled(seed: int, tie_break: str, percentage: int) -> None:
    """Larger clusters: the search stops early, rotates, and wraps."""
    drive(seed, "1.34", tie_break, percentage, 220, 60)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_state_equals_a_recount(seed: int) -> None:
    """Tallies, requested amounts and pod lists equal what a fresh core counts from the placed pods."""
    trio = drive(seed, "1.34", "random", 100, 20, 80)
    core = trio.cores[2]
    for key in core.tallies.known():
        assert np.array_equal(core.tallies.column(key), core.tallies.recount(key)), key
    fresh = np.zeros_like(core.nodes.amounts)
    places = core.placements
    for pod in places.placed():
        rows, amounts = core._takes[places.spec[pod]]
        fresh[rows, places.node[pod]] += amounts
    held = [0, 1, *range(3, core.nodes.amounts.shape[0], 2)]
    assert np.array_equal(core.nodes.amounts[held], fresh[held])
    listed = sorted(pod for row in range(core.nodes.count) for pod in places.on_node(row))
    assert listed == places.placed().tolist()
    assert places.count == len(listed)
    assert isinstance(places, Placements)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_preemption_by_room_equals_preemption_by_filters(seed: int) -> None:
    """Where only resources decide, counting room finds the victims that running the filters finds."""
    rng = np.random.default_rng(seed)
    core = drive(seed, "1.34", "lowest", 100, 12, 60).cores[0]
    core.clear_nomination(10_000)
    for _ in range(5):
        spec = core.intern(replace(random_pod(rng), priority=5))
        if core.schedule(spec) >= 0:
            continue
        composed = core.compose(spec)
        fast = Evaluator(core, 20_000, spec, composed).run()
        slow = Evaluator(core, 20_000, spec, composed, try_room=False).run()
        assert fast == slow
