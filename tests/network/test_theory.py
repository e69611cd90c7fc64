"""Theory: queueing at a port, fair shares packet by packet, slow start, BGP reaches exactly what the graph reaches."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.network.flows import FlowTable
from sim.network.latency import Station
from sim.network.packet_twin import Port, TcpFlow, waits_of_poisson
from sim.network.routes.bgp import JITTER_LOW, BgpSpec, estimate, silent_death_s, withdrawal_s
from sim.network.routes.bgp_twin import BgpTwin
from sim.network.transport import INITIAL_WINDOW, loss_of_rate, rate_of_loss, slow_start_rounds, slow_start_s


@pytest.mark.parametrize(("load", "scv"), [(0.3, 1.0), (0.7, 1.0), (0.7, 0.0), (0.8, 0.5)])
def test_mean_wait_at_a_port_is_pollaczek_khinchine(load, scv):
    rng = np.random.default_rng(4)
    draw = {1.0: lambda r: r.exponential(1.0), 0.0: lambda r: 1.0, 0.5: lambda r: r.gamma(2.0, 0.5)}[scv]
    waits = waits_of_poisson(load, draw, 60_000, rng)[5_000:]
    station = Station(load, 1.0, scv)
    assert waits.mean() == pytest.approx(station.mean_wait_s, rel=0.12)
    assert np.mean(waits > 1e-6) == pytest.approx(load, abs=0.03)
    assert station.waits(rng, 200_000).mean() == pytest.approx(station.mean_wait_s, rel=0.03)


def test_wait_distribution_is_exact_for_exponential_service():
    rng = np.random.default_rng(5)
    waits = waits_of_poisson(0.6, lambda r: r.exponential(1.0), 80_000, rng)[5_000:]
    model = Station(0.6, 1.0).waits(rng, 200_000)
    assert np.quantile(waits, [0.5, 0.9, 0.99]) == pytest.approx(np.quantile(model, [0.5, 0.9, 0.99]), rel=0.1)


def packet_rates(cores_s: list[list[float]], link_s: float, duration_s: float) -> list[float]:
    """Segments a second of TCP flows that share one link; each has cores of its own (seconds a segment on sender and receiver)."""
    clock = Clock()
    link = Port(clock, 60)
    flows = [
        TcpFlow(clock, [Port(clock, 10**6), link, Port(clock, 200)], [send, link_s, receive], delay_s=40 * link_s)
        for send, receive in cores_s
    ]
    for flow in flows:
        flow.start()
    clock.run_until(duration_s / 4)
    before = [flow.delivered for flow in flows]
    clock.run_until(duration_s)
    return [(flow.delivered - b) / (duration_s * 3 / 4) for flow, b in zip(flows, before, strict=True)]


@pytest.mark.parametrize(
    "cores",
    [
        [[0.1, 0.1], [0.1, 0.1]],
        [[0.1, 0.1], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]],
        [[0.1, 8.0], [0.1, 0.1]],  # one flow is held by its receiver's core
        [[5.0, 0.1], [0.1, 0.1], [0.1, 6.0]],
    ],
)
def test_flow_rates_are_those_of_packets(cores):
    link_s = 1.0
    table = FlowTable(np.array([1.0, *([1.0] * 2 * len(cores))]))
    slots = [
        table.add([0, 1 + 2 * i, 2 + 2 * i], [link_s, send, receive])[0] for i, (send, receive) in enumerate(cores)
    ]
    expected = [table.rate[slot] for slot in slots]
    assert packet_rates(cores, link_s, 40_000.0) == pytest.approx(expected, rel=0.13)


def test_slow_start():
    assert slow_start_rounds(INITIAL_WINDOW * 1448, 1448) == 0
    assert slow_start_rounds(INITIAL_WINDOW * 1448 + 1, 1448) == 1  # 10, then the rest
    assert slow_start_rounds(30 * 1448, 1448) == 1
    assert slow_start_rounds(31 * 1448, 1448) == 2
    assert slow_start_s(1000, 1448, 0.01, 1e9) == pytest.approx(0.01)  # the handshake alone
    assert slow_start_s(1e9, 1448, 1e-4, 1e6, handshake=False) == 0.0  # a slow link is full at once
    assert slow_start_s(1e6, 1448, 0.1, 1e9, handshake=False) == pytest.approx(6 * 0.1, rel=0.02)


def test_square_root_law_is_its_own_inverse():
    loss = loss_of_rate(1e6, 1448, 0.05)
    assert rate_of_loss(loss, 1448, 0.05) == pytest.approx(1e6)
    assert rate_of_loss(0, 1448, 0.05) == np.inf


@pytest.mark.parametrize("topology", ["mesh", "reflectors"])
@pytest.mark.parametrize("nodes", [2, 7, 20])
def test_bgp_reaches_what_the_graph_reaches(topology, nodes):
    twin = BgpTwin(BgpSpec(topology=topology), nodes, np.random.default_rng(1))
    result = twin.cold_start()
    assert len(result.done_s) == nodes  # a mesh and a star with reflectors are connected: all know all
    assert all(known == set(range(nodes)) for known in twin.known)


def test_an_isolated_node_learns_nothing():
    twin = BgpTwin(BgpSpec(), 4, np.random.default_rng(1))
    pairs = [pair for pair in twin.pairs() if 3 not in pair]
    twin.pairs = lambda: pairs  # type: ignore[method-assign]
    twin.cold_start()
    assert [sorted(known) for known in twin.known] == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3]]


@pytest.mark.parametrize("topology", ["mesh", "reflectors"])
def test_closed_form_agrees_with_the_twin_at_50(topology):
    spec = BgpSpec(topology=topology)
    close = estimate(spec, 50)
    cold = BgpTwin(spec, 50, np.random.default_rng(2)).cold_start()
    assert cold.sessions == close.sessions
    assert cold.done_s.max() == pytest.approx(close.cold_start_s, rel=0.05)
    announce = BgpTwin(spec, 50, np.random.default_rng(2)).announce(49)
    assert announce.done_s.max() == pytest.approx(close.announce_s, rel=0.1)


def test_full_mesh_of_5000_is_answered_at_once():
    mesh = estimate(BgpSpec(), 5000)
    assert mesh.sessions == 12_497_500
    assert mesh.neighbour_overflow
    assert estimate(BgpSpec(), 1000).neighbour_overflow is False
    pair = estimate(BgpSpec(topology="reflectors", reflectors=2), 5000)
    assert pair.sessions == 2 * 4998 + 1
    assert mesh.cold_start_s < 60 < 1e4


def test_silent_death_lies_between_the_timers():
    spec = BgpSpec(hold_s=9)
    seen = silent_death_s(spec, 20_000, np.random.default_rng(0))
    assert seen.min() >= JITTER_LOW * 9 - 3
    assert seen.max() <= 9
    assert withdrawal_s(spec, 10, "daemon-killed", np.random.default_rng(0)).min() > 120
    assert (
        withdrawal_s(
            spec.model_copy(update={"graceful_restart_s": 0}), 10, "daemon-killed", np.random.default_rng(0)
        ).max()
        < 0.01
    )


def test_the_running_spread_is_the_twin_s():
    """One new block in a cluster of 50 with a reflector: batches and closed form against the session-by-session twin."""
    from sim.network.cni import CNI
    from sim.network.routes.felix import FelixSpec
    from sim.network.routes.spread import RouteSpread
    from sim.state.pods import PodTable

    spec = BgpSpec(topology="reflectors", reflectors=1)
    clock, pods = Clock(), PodTable()
    pods.add(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), np.full(1, np.inf))
    instant = FelixSpec(watch_s=0, update_s=0, restore_s=0, restore_rule_s=0)
    spread = RouteSpread(clock, CNI["calico-bgp"](), spec, instant, 50, 0, pods)
    spread.pod_attached(0, 49, 1, new_route=True)
    clock.run_until(10)
    exact = BgpTwin(spec, 50, np.random.default_rng(0)).announce(49).done_s
    assert pods.times["reachable_all_s"][0] == pytest.approx(exact.max(), rel=0.05)
    assert pods.times["reachable_50_s"][0] == pytest.approx(np.median(exact), rel=0.1)
