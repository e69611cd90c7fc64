"""Addresses are really allocated: no address twice, exhaustion when it would be, borrowing when the pool has no block left."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network.addresses import CalicoBlocks, HostLocal, overlapping, subnet_of, subnets_in


def test_a_24_holds_253_pods_and_no_more():
    node = HostLocal.of_subnet(IPv4Network("10.244.7.0/24"))
    given_out = [node.allocate() for _ in range(253)]
    assert len(set(given_out)) == 253
    assert None not in given_out
    assert node.allocate() is None
    node.release(given_out[100])
    assert node.allocate() == given_out[100]


def test_host_local_goes_round_before_it_reuses():
    node = HostLocal([(10, 12)])
    assert [node.allocate(), node.allocate()] == [10, 11]
    node.release(10)
    assert node.allocate() == 12
    assert node.allocate() == 10


def test_host_local_uses_every_range():
    node = HostLocal([(10, 11), (40, 41)])
    assert sorted(node.allocate() for _ in range(4)) == [10, 11, 40, 41]
    assert node.allocate() is None


def test_releasing_a_free_address_is_an_error():
    node = HostLocal([(10, 12)])
    with pytest.raises(KeyError):
        node.release(10)


def test_calico_claims_blocks_then_borrows():
    ipam = CalicoBlocks(IPv4Network("10.0.0.0/25"))  # two blocks of 64
    first = [ipam.allocate(0) for _ in range(64)]
    assert [a.new_block for a in first] == [True] + [False] * 63
    assert ipam.allocate(1).new_block
    lent = ipam.allocate(2)
    assert lent.borrowed
    assert not lent.new_block
    for _ in range(62):
        assert ipam.allocate(2).borrowed
    assert ipam.allocate(2) is None
    assert ipam.allocate(0) is None


def test_calico_strict_affinity_does_not_borrow():
    ipam = CalicoBlocks(IPv4Network("10.0.0.0/25"), strict_affinity=True)
    ipam.allocate(0), ipam.allocate(1)
    assert ipam.allocate(2) is None


def test_calico_limits_blocks_a_host():
    ipam = CalicoBlocks(IPv4Network("10.0.0.0/16"), max_blocks_per_host=2)
    for _ in range(128):
        assert not ipam.allocate(0).borrowed
    assert ipam.blocks_of(0) == 2
    assert ipam.allocate(0) is None  # nobody else has a block to lend from


def test_an_empty_block_loses_its_host():
    ipam = CalicoBlocks(IPv4Network("10.0.0.0/26"))
    only = ipam.allocate(3)
    assert ipam.release(only.address)
    assert ipam.allocate(4).new_block


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=400))
@settings(max_examples=60, deadline=None)
def test_calico_never_gives_an_address_twice(steps):
    ipam = CalicoBlocks(IPv4Network("10.0.0.0/24"), prefix=28, max_blocks_per_host=4)
    held: list[int] = []
    for host, take in steps:
        if take or not held:
            got = ipam.allocate(host)
            if got is not None:
                assert got.address not in held
                assert got.address in range(int(ipam.pool.network_address), int(ipam.pool.broadcast_address) + 1)
                held.append(got.address)
        else:
            ipam.release(held.pop(len(held) // 2))
    free = sum(len(block.free) for block in ipam.blocks)
    assert free + len(held) == 16 * len(ipam.blocks)


def test_subnets():
    cluster = IPv4Network("10.244.0.0/16")
    assert subnets_in(cluster, 24) == 256
    assert subnet_of(cluster, 24, 255) == IPv4Network("10.244.255.0/24")
    with pytest.raises(IndexError, match="256 subnets"):
        subnet_of(cluster, 24, 256)
    names = [
        ("pods", IPv4Network("10.0.0.0/8")),
        ("services", IPv4Network("10.96.0.0/12")),
        ("hosts", IPv4Network("192.168.0.0/16")),
    ]
    assert overlapping(names) == [("pods", "services")]
