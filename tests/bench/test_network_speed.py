"""The network's own speed: a change among 10,000 flows, a million short flows, routes of a large cluster."""

from __future__ import annotations

import cProfile
import pstats
import time

import numpy as np
import pytest

from sim.network.flows import HOPS, FlowTable, run_flows
from sim.network.topology import UnderlaySpec, build_underlay

HOSTS = 1000

pytestmark = pytest.mark.bench


def ways(pairs: np.ndarray, topology: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Capacity, resources and weights of flows between hosts: interfaces, rack uplinks, and a core on both hosts."""
    underlay = build_underlay(UnderlaySpec(topology=topology), HOSTS, 1.25e9)
    first_core, cores = len(underlay.capacity), 8
    used = np.full((len(pairs), HOPS), -1, np.int64)
    weight = np.zeros((len(pairs), HOPS))
    for row, (a, b) in enumerate(pairs):
        links = underlay.links(int(a), int(b), row)
        hops = [*links, first_core + a * cores + row % cores, first_core + b * cores + row % cores]
        used[row, : len(hops)] = hops
        weight[row, : len(hops)] = [1.05] * len(links) + [2e-9, 2.2e-9]
    return np.concatenate([underlay.capacity, np.ones(HOSTS * cores)]), used, weight


def random_pairs(rng: np.random.Generator, count: int) -> np.ndarray:
    a = rng.integers(0, HOSTS, count)
    return np.stack([a, (a + rng.integers(1, HOSTS, count)) % HOSTS], axis=1)


def change_us(topology: str, changes: int) -> np.ndarray:
    """Processor time of each arrival and departure among 10,000 flows, microseconds."""
    rng = np.random.default_rng(1)
    capacity, used, weight = ways(random_pairs(rng, 10_000 + changes), topology)
    table = FlowTable(capacity, 16_384)
    hops = np.count_nonzero(used >= 0, axis=1)
    live = [table.add(used[row, : hops[row]], weight[row, : hops[row]])[0] for row in range(10_000)]
    took = []
    for row in range(10_000, 10_000 + changes):
        start = time.thread_time()
        live.append(table.add(used[row, : hops[row]], weight[row, : hops[row]])[0])
        took.append(time.thread_time() - start)
        gone = live.pop(int(rng.integers(len(live))))
        start = time.thread_time()
        table.remove(gone)
        took.append(time.thread_time() - start)
    assert table.rate == pytest.approx(table.recomputed(), rel=1e-6)
    return np.array(took) * 1e6


@pytest.mark.parametrize("topology", ["flat", "leaf-spine", "fat-tree"])
def test_one_change_among_10_000_flows(topology):
    """Random pairs over 1,000 hosts: at most 300 us in the median. Of 3 rounds the best counts: others use this machine too.

    Under leaf-spine racks' uplinks (3:1) hold nearly all, and a change truly moves about 1,200 of the rates.
    """
    rounds = [change_us(topology, 150) for _ in range(3)]
    took = min(rounds, key=lambda one: float(np.median(one)))
    median, p90 = np.quantile(took, [0.5, 0.9])
    print(
        f"\n{topology}, 10,000 flows, {HOSTS} hosts: median {median:.0f} us, p90 {p90:.0f} us, mean {took.mean():.0f} us a change"
    )
    assert median <= 300


def test_a_million_short_flows():
    """A million transfers to their end, a thousand and more under way at once: at most 60 s."""
    rng = np.random.default_rng(2)
    flows = 1_000_000
    capacity, used, weight = ways(random_pairs(rng, 20_000), "leaf-spine")
    size = rng.exponential(330_000, flows)
    start = np.sort(rng.uniform(0, 1.0, flows))  # over 1,000 hosts whose racks' uplinks carry about 400 GB/s in all
    finish, use = np.zeros(flows), np.zeros(len(capacity))
    path, limit = rng.integers(0, 20_000, flows), np.full(flows, np.inf)
    run_flows(capacity, used, weight, path[:10], limit[:10], start[:10], size[:10], 64, finish[:10], use)
    begun = time.thread_time()
    most = run_flows(capacity, used, weight, path, limit, start, size, 65_536, finish, use)
    took = time.thread_time() - begun
    under_way = np.searchsorted(start, start, side="right") - np.searchsorted(np.sort(finish), start, side="right")
    middle = float(np.median(under_way))
    print(f"\n{flows:,} short flows: {took:.1f} s, {middle:,.0f} at once in the middle, at most {most:,}")
    assert most >= 1000
    assert middle >= 1000
    assert np.all(finish > start)
    assert took <= 60


def test_routes_of_5000_nodes_add_little_to_a_run():
    """The density scenario with a tenth of its pods, a reflector pair and Felix against a plain bridge: at most a fifth more.

    Events and calls of functions are counted, which no other work on the machine moves.
    """
    from sim.scenario import Scenario
    from sim.simulate import simulate

    def run(**network: object) -> tuple[int, int]:
        sets = {"workload.pods_per_node": 3, **{f"network.{key}": value for key, value in network.items()}}
        scenario = Scenario.load("density", sets)
        profile = cProfile.Profile()
        result = profile.runcall(simulate, scenario)
        return pstats.Stats(profile).total_calls, result.record.counters["events"]  # type: ignore[attr-defined]

    simulate(Scenario.load("quick"))
    plain_calls, plain_events = run(cni="bridge")
    calico = {"cni": {"type": "calico-bgp", "datastore_requests": False}, "bgp.topology": "reflectors"}
    calls, events = run(**calico)
    print(f"\nroutes of 5,000 nodes: {calls / plain_calls:.3f} of the calls, {events / plain_events:.3f} of the events")
    assert events <= 1.2 * plain_events
    assert calls <= 1.2 * plain_calls
