"""The compiled piece exchange equals its slow twin, and behaves as theory says where theory says something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.images.piece_exchange import MOST_PIECES, PieceExchange, Rules
from sim.images.piece_exchange_twin import PlainExchange

MB = 1e6


def rules(**changes: object) -> Rules:
    given: dict = {
        "piece_bytes": 1 * MB,
        "open_connections": 3,
        "most_connections": 4,
        "pipeline": 2,
        "endgame": 2,
        "handout": 6,
        "announce_every_s": 1.0,
        "announce_s": 1e-3,
        "latency_s": 1e-3,
        "burst_s": 0.3,
        "trackers": 2,
    }
    return Rules(**{**given, **changes})


def play(kind: type, seed: int, hosts: int, informed: bool, leaves: bool) -> tuple[list[tuple[int, float]], float]:
    rng = np.random.default_rng(seed)
    egress, ingress, nic = (rng.uniform(5 * MB, 100 * MB, hosts + 2) for _ in range(3))
    exchange = kind(rules(informed=informed, refused_for_s=5.0), egress, ingress, nic, seed)
    swarms = [exchange.add_swarm(size, [hosts + n], n) for n, size in enumerate((23 * MB, 11 * MB))]
    members = [exchange.join(swarm, host, float(rng.random())) for host in range(hosts) for swarm in swarms]
    ended, now_s = [], 0.0
    while exchange.active and now_s < 100:
        now_s += 0.5
        ended += exchange.advance(now_s)
        if leaves and now_s == 1.5:
            exchange.leave(members[0])
            exchange.leave(members[-1])
    return ended, exchange.sent_bytes


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 7, 25]), st.booleans(), st.booleans())
def test_the_compiled_loop_equals_its_twin(seed: int, hosts: int, informed: bool, leaves: bool) -> None:
    assert play(PieceExchange, seed, hosts, informed, leaves) == play(PlainExchange, seed, hosts, informed, leaves)


def network(hosts: int, **changes: object) -> PieceExchange:
    rate = np.full(hosts + 1, 10 * MB)
    return PieceExchange(
        rules(**{"burst_s": 0.0, "latency_s": 0.0, "announce_s": 0.0, **changes}), rate, rate, 100 * rate, 7
    )


def finish(exchange: PieceExchange) -> list[float]:
    ended = []
    now_s = 0.0
    while exchange.active:
        now_s += 1.0
        assert now_s < 1000
        ended += exchange.advance(now_s)
    return sorted(at_s for _, at_s in ended)


def test_one_peer_gets_a_blob_at_the_slowest_limit() -> None:
    """One agent of 10 MB/s asks one origin of 10 MB/s for 20 MB in pieces of 1 MB: the origin sends the k-th piece until 0.1 k s
    (its interface is 100 times as fast); the agent's limit then holds each back by its own 0.1 s: the last is there at 2.1 s.
    """
    exchange = network(1)
    exchange.join(exchange.add_swarm(20 * MB, [1], 0), 0, 0.0)
    assert finish(exchange) == pytest.approx([2.1])
    assert exchange.sent_bytes == exchange.from_origins_bytes == 20 * MB
    assert exchange.wasted_bytes == 0


def test_many_peers_take_about_as_long_as_one() -> None:
    """60 peers want 60 MB: one origin of 10 MB/s would need 360 s alone; together they need a few times
    the 6 s of one (who finds no peer with room waits for its next announcement)."""
    exchange = network(60, open_connections=10, most_connections=20, pipeline=3, handout=50)
    swarm = exchange.add_swarm(60 * MB, [60], 0)
    for host in range(60):
        exchange.join(swarm, host, 0.01 * host)
    ends = finish(exchange)
    assert len(ends) == 60
    assert ends[0] >= 6.0
    assert ends[-1] < 30
    assert exchange.sent_bytes == pytest.approx(60 * 60 * MB + exchange.wasted_bytes)
    assert exchange.from_origins_bytes < 0.1 * exchange.sent_bytes


def test_pieces_beyond_the_limit_are_made_larger_and_change_little() -> None:
    """A blob is cut into at most so many pieces. Pieces of twice the size take about a tenth longer."""
    ends: dict[float, list[float]] = {1 * MB: [], 2 * MB: []}
    for size, medians in ends.items():
        for seed in range(8):
            rate = np.full(21, 10 * MB)
            few = rules(piece_bytes=size, open_connections=5, most_connections=10, pipeline=3, burst_s=0.0)
            exchange = PieceExchange(few, rate, rate, 100 * rate, seed)
            swarm = exchange.add_swarm(0.9 * MOST_PIECES * MB, [20], 0)
            for host in range(20):
                exchange.join(swarm, host, 0.0)
            medians.append(float(np.median(finish(exchange))))
    small, large = ends.values()
    assert 0.95 * np.mean(small) < np.mean(large) < 1.15 * np.mean(small)


def test_what_a_peer_that_left_was_asked_for_comes_from_others() -> None:
    exchange = network(3)
    swarm = exchange.add_swarm(30 * MB, [3], 0)
    members = [exchange.join(swarm, host, 0.0) for host in range(3)]
    exchange.advance(1.0)
    exchange.leave(members[1])
    assert exchange.active == 2
    assert len(finish(exchange)) == 2
