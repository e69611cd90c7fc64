"""Every kernel equals its slow twin: zero capacity, full nodes, one node, more than 65,536 nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim.scheduler.core  # noqa: F401  (registers the kernels of the core)
from sim.kernels import KERNELS
from sim.scheduler import fused
from sim.scheduler.framework import PLUGINS
from sim.scheduler.placing import LOG_SIZE
from sim.scheduler.plugins import pod_topology_spread

list(PLUGINS)  # imports every plugin, and with it every kernel
SIZES = st.sampled_from([1, 2, 7, 64, 300])
Arguments = tuple[Any, ...]


def amounts(rng: np.random.Generator, count: int) -> np.ndarray:
    """A table of amounts with nodes that have no CPU, no memory, no room for pods, or are overcommitted."""
    table = np.zeros((12, count), np.int64)
    table[2] = rng.choice([0, 1000, 4000, 32_000, 31_999], count)
    table[4] = rng.choice([0, 2**30, 2**33, 2**37 - 12_345], count)
    table[6] = rng.choice([0, 10**10], count)
    table[8] = rng.choice([0, 3, 110], count)
    table[10] = rng.choice([0, 4], count)
    for row in (2, 4, 6, 8, 10):
        table[row + 1] = (table[row] * rng.choice([0.0, 0.3, 0.999, 1.0, 1.2], count)).astype(np.int64)
    table[0] = table[3] + rng.integers(0, 300, count)
    table[1] = table[5] + rng.integers(0, 10**9, count)
    return table


def rows_of(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.sort(rng.choice(count, rng.integers(1, count + 1), replace=False)).astype(np.int64)


def codes(rng: np.random.Generator, count: int, domains: int) -> np.ndarray:
    return rng.integers(-1, domains, count).astype(np.int32)


def resource_table(rng: np.random.Generator, legacy: bool) -> np.ndarray:
    table = np.zeros(fused.RESOURCE_TABLE_SIZE, np.int64)
    table[:6] = (500, 2**29, 500, 2**29, 400, 2**28)
    if rng.random() < 0.3:
        table[[fused.FIT_CPU, fused.FIT_MEMORY]] = fused.ALWAYS_FITS
    table[fused.FIT_WEIGHT], table[fused.BALANCE_WEIGHT], table[fused.CONSTANT] = 1, rng.integers(0, 2), 300
    table[fused.LEGACY], table[fused.TOP] = int(legacy), rng.choice([10, 100]) if legacy else 100
    return table


def topology(rng: np.random.Generator, count: int) -> Arguments:
    """labels (one key whose values are all different, one of four zones), counts, masks."""
    labels = np.stack([np.arange(count), codes(rng, count, 4)]).astype(np.int32)
    labels[0][rng.random(count) < 0.1] = -1
    counts = rng.integers(0, 3, (3, count)).astype(np.int32)
    masks = np.ones((3, count), np.uint8)
    masks[1:] = rng.random((2, count)) < 0.7
    return labels, counts, masks


def topology_rules(rng: np.random.Generator, count: int) -> np.ndarray:
    rules = []
    for _ in range(int(rng.integers(1, 5))):
        key = int(rng.integers(0, 2))
        domains = count if key == 0 else 4
        kind = int(rng.integers(0, 4))
        masks = (int(rng.integers(0, 3)),) * 2 if kind == fused.HARD_SPREAD else (0, 0)
        rules.append(
            [kind, key, int(rng.integers(0, 3)), int(key == 0), domains, *masks, 1, int(rng.integers(1, 3)),
             int(rng.integers(1, 5)), 2 * count * len(rules) + 16 * len(rules)]
        )  # fmt: skip
    return np.array(rules, np.int64)


def finish_arguments(rng: np.random.Generator, count: int) -> Arguments:
    labels, counts, masks = topology(rng, count)
    statics = rng.integers(0, 4, (3, count)).astype(np.int32)
    soft = np.array([[1, 0, 0, 4, 1, 2, 0], [0, 1, 1, count, 0, 0, 8]], np.int64)[: int(rng.integers(0, 3))]
    points = np.array([[1, 2, 0, 4, 16], [0, 1, 1, count, 24]], np.int64)[: int(rng.integers(0, 3))]
    table = np.array([3, 2, 2, 2, int(rng.integers(0, 3)), int(rng.integers(0, 2)), int(rng.integers(0, 2)), 100], np.int64)
    dense = bool(rng.random() < 0.5)
    rows = np.zeros(0, np.int64) if dense else rng.permutation(count)
    found = count if dense else int(rng.integers(1, count + 1))
    totals = np.where(rng.random(count) < 0.2, -1, rng.integers(0, 300, count)).astype(np.int32)
    sums = np.zeros(64 + 4 * count, np.int64)
    scratch = (np.zeros(count, np.float64), np.zeros(count, np.int64))
    draw, lowest = float(rng.random()), bool(rng.random() < 0.5)
    return (
        labels, counts, masks, statics, soft.reshape(-1, 7), points.reshape(-1, 5), table, count, rows, found, totals,
        sums, *scratch, draw, lowest, np.zeros(4, np.int64),
    )  # fmt: skip


def place_arguments(rng: np.random.Generator, count: int) -> Arguments:
    pods = np.full((5, 8), -1, np.int32)
    heads = np.full((2, count), -1, np.int32)
    node = int(rng.integers(count))
    if rng.random() < 0.5:
        pods[:, 2] = (0, node, 0, -1, -1)
        heads[:, node] = 2
    takes = np.array([[0, 1, 3, 9], [100, 2**20, 50, 1]], np.int64)
    effects = np.array([[0, 2], [1, -5]], np.int32)
    counts = rng.integers(0, 5, (3, count)).astype(np.int32)
    return amounts(rng, count), counts, pods, heads, takes, effects, np.zeros(1 + LOG_SIZE, np.int64), 5, 1, node


def unplace_arguments(rng: np.random.Generator, count: int) -> Arguments:
    given = list(place_arguments(rng, count))
    KERNELS["placing.place"].reference(*given)
    return (*given[:7], 5)


def scored(rng: np.random.Generator) -> np.ndarray:
    table = np.array([[2, 0, 100, 1], [4, 1, 2**20, 3], [10, 11, 1, 5]], np.int64)
    return table[: int(rng.integers(1, 4))].copy()


SHAPE = np.array([[0, 20], [40, 100], [90, 30]], np.int64)

ARGUMENTS: dict[str, Callable[[np.random.Generator, int], Arguments]] = {
    "columns.domain_sums": lambda rng, n: (
        codes(rng, n, 5), rng.integers(0, 4, n).astype(np.int32), (rng.random(n) < 0.7).astype(np.uint8), rows_of(rng, n),
        np.zeros(5, np.int64),
    ),
    "columns.default_normalize": lambda rng, n: (
        rng.integers(0, 1 + int(rng.choice([0, 5, 10**6])), n), 100, bool(rng.random() < 0.5)
    ),
    "node_unschedulable.cordon_filter": lambda rng, n: (rng.integers(0, 2, n).astype(np.uint8), rows_of(rng, n), 2),
    "node_name.only_row": lambda rng, n: (int(rng.integers(-1, n)), rows_of(rng, n), 2),
    "taint_toleration.class_values": lambda rng, n: (
        rng.integers(0, 3, n).astype(np.int32), rng.integers(0, 9, 3), rows_of(rng, n)
    ),
    "node_affinity.narrow": lambda rng, n: (
        codes(rng, n, 4), rng.integers(0, 2, 5).astype(np.uint8), rng.integers(0, 2, n).astype(np.uint8)
    ),
    "node_ports.occupied": lambda rng, n: (rng.integers(0, 2, n).astype(np.int32), rows_of(rng, n), 1),
    "node_resources_fit.fit_filter": lambda rng, n: (
        amounts(rng, n), np.array([[0, 500, 0], [1, 2**29, 1], [4, int(rng.integers(0, 3)), int(rng.integers(0, 2))]]),
        rows_of(rng, n), bool(rng.random() < 0.5),
    ),
    "node_resources_fit.allocation_score": lambda rng, n: (
        amounts(rng, n), scored(rng), int(rng.integers(0, 3)), SHAPE, rows_of(rng, n)
    ),
    "node_resources_fit.legacy_allocation_score": lambda rng, n: (
        amounts(rng, n), scored(rng), int(rng.integers(0, 3)), SHAPE, int(rng.choice([10, 100])), rows_of(rng, n)
    ),
    "node_resources_balanced_allocation.balanced_score": lambda rng, n: (amounts(rng, n), scored(rng), rows_of(rng, n)),
    "node_resources_balanced_allocation.balance_1_20": lambda rng, n: (
        amounts(rng, n), 250, 2**28, rows_of(rng, n), int(rng.choice([10, 100]))
    ),
    "image_locality.image_score": lambda rng, n: (rng.integers(0, 4 * 10**9, n), int(rng.integers(1, 4)), 100),
    "pod_topology_spread.spread_filter": lambda rng, n: (
        codes(rng, n, 4), rng.integers(0, 6, 4), int(rng.integers(0, 2)), int(rng.integers(0, 3)), 1, rows := rows_of(rng, n),
        rng.integers(0, 2, len(rows)).astype(np.int8),
    ),
    "pod_topology_spread.spread_points": lambda rng, n: (
        codes(rng, n, 4), rng.integers(0, 9, 4), 1.0986, 2.0, rows := rows_of(rng, n), rng.random(len(rows))
    ),
    "pod_topology_spread.spread_normalize": lambda rng, n: (
        rng.integers(0, 1 + int(rng.choice([0, 50])), n), rng.random(n) < 0.2, 100
    ),
    "inter_pod_affinity.in_domains": lambda rng, n: (codes(rng, n, 4), rng.integers(0, 2, 4), rows_of(rng, n)),
    "inter_pod_affinity.domain_points": lambda rng, n: (
        codes(rng, n, 4), rng.integers(-9, 9, 4), rows := rows_of(rng, n), rng.integers(0, 5, len(rows))
    ),
    "inter_pod_affinity.spanned_normalize": lambda rng, n: (
        rng.integers(-50, 51, n) * int(rng.integers(0, 2)), 100, bool(rng.random() < 0.5)
    ),
    "selector_spread.selector_spread_normalize": lambda rng, n: (
        rng.integers(0, 1 + int(rng.choice([0, 7])), n), codes(rng, n, 3), 3, int(rng.choice([10, 100]))
    ),
    "node_prefer_avoid_pods.all_but": lambda rng, n: (rng.integers(0, n, 2), rows_of(rng, n), 100),
    "fused.dense_base": lambda rng, n: (
        amounts(rng, n), rng.integers(0, 2, n).astype(np.uint8), np.array([[4, 1]], np.int64)[: int(rng.integers(0, 2))],
        resource_table(rng, bool(rng.random() < 0.5)), n, np.zeros(n, np.uint8), np.zeros(n, np.int32),
    ),
    "fused.scan": lambda rng, n: (
        amounts(rng, n), rng.integers(0, 2, n).astype(np.uint8), np.array([[4, 1]], np.int64)[: int(rng.integers(0, 2))],
        resource_table(rng, bool(rng.random() < 0.5)), rng.permutation(n), int(rng.integers(0, n)),
        int(rng.integers(1, n + 2)), np.zeros(n, np.int64), np.zeros(n, np.int32),
    ),
    "fused.choose": lambda rng, n: (
        rng.integers(-1, 4, n).astype(np.int32), n, float(rng.random()), bool(rng.random() < 0.5),
        rng.permutation(n) if rng.random() < 0.5 else np.zeros(0, np.int64), np.zeros(4, np.int64),
    ),
    "fused.judge_topology": lambda rng, n: (
        *topology(rng, n), topology_rules(rng, n), bool(rng.random() < 0.5), n, np.zeros(16 * (n + 16), np.int64),
        rng.integers(0, 2, n).astype(np.uint8),
    ),
    "fused.finish": finish_arguments,
    "placing.place": place_arguments,
    "placing.unplace": unplace_arguments,
}  # fmt: skip
"""Arguments for every kernel, drawn from a generator for a number of nodes."""

ELSEWHERE = {"max_min.repair", "flows.run_flows"}
"""Floating-point kernels, held to their twins within rounding by tests/network/test_flows.py."""

SCRATCH = {"fused.judge_topology": {6}, "fused.finish": {11, 12, 13}}
"""Arguments that are working space: their contents afterwards mean nothing."""


def same(mine: Any, theirs: Any) -> bool:
    return np.array_equal(np.asarray(mine), np.asarray(theirs))


def check(name: str, arguments: Arguments) -> None:
    """Same result, and the same effect on every array."""
    mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
    entry = KERNELS[name]
    answer, expected = entry(*mine), entry.reference(*theirs)
    if expected is not None:
        assert same(answer, expected), name
    for position, (left, right) in enumerate(zip(mine, theirs, strict=True)):
        if position not in SCRATCH.get(name, ()):
            if name == "fused.scan" and position >= 7:
                left, right = left[: answer[0]], right[: answer[0]]
            assert same(left, right), f"{name}: argument {position}"


def test_every_kernel_is_tested() -> None:
    assert set(ARGUMENTS) == set(KERNELS) - ELSEWHERE


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_kernel_equals_its_twin(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), count=SIZES)
    def equal(seed: int, count: int) -> None:
        check(name, ARGUMENTS[name](np.random.default_rng(seed), count))

    equal()


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_more_nodes_than_sixteen_bits(name: str) -> None:
    check(name, ARGUMENTS[name](np.random.default_rng(11), 70_001))


def test_natural_log_in_kernels_is_the_plugin_s() -> None:
    for x in [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 102.0, 5_002.0, 100_002.0, *np.linspace(2, 900, 500)]:
        assert fused.natural_log.py_func(float(x)) == pod_topology_spread.natural_log(float(x))


def test_natural_log_is_close_to_the_platform_s() -> None:
    for x in np.linspace(1, 10**5, 999):
        assert pod_topology_spread.natural_log(float(x)) == pytest.approx(np.log(x), rel=1e-15)
