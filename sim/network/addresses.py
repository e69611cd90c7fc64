"""Addresses: ranges, a /24 for each node, host-local allocation on it, and Calico's blocks with borrowing.

Pure rules without a clock. An address is an int, the number of the IPv4 address; `None` is "there is none left", a value
that callers turn into a failed sandbox, not an exception.

Sources: containernetworking/plugins host-local (round robin from the last one given, first and last address of a subnet
left out); flannel pkg/ip and pkg/subnet (one subnet of `SubnetLen` a host); Calico libcalico-go lib/ipam (blocks with
host affinity, at most `max_blocks_per_host`, borrowing from other hosts' blocks when `StrictAffinity` is off).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

RESERVED_IN_SUBNET = 3
"""Network address, gateway and broadcast address: host-local gives none of them to a pod."""


def overlapping(networks: Sequence[tuple[str, IPv4Network]]) -> list[tuple[str, str]]:
    """Pairs of names whose networks share addresses; each pair once, in the order given."""
    return [
        (first, second) for i, (first, a) in enumerate(networks) for second, b in networks[i + 1 :] if a.overlaps(b)
    ]


def subnets_in(network: IPv4Network, prefix: int) -> int:
    """How many subnets of length `prefix` a network holds; 0 when it is smaller than one."""
    return 1 << (prefix - network.prefixlen) if prefix >= network.prefixlen else 0


def subnet_of(network: IPv4Network, prefix: int, index: int) -> IPv4Network:
    """The subnet number `index` of length `prefix`. IndexError when there is none."""
    if not 0 <= index < subnets_in(network, prefix):
        raise IndexError(
            f"{network} has {subnets_in(network, prefix)} subnets of /{prefix}; there is no number {index}"
        )
    return IPv4Network((int(network.network_address) + (index << (32 - prefix)), prefix))


@dataclass(slots=True)
class HostLocal:
    """The CNI host-local allocator of one node: round robin over its ranges, so a freed address rests before it is reused.

    ranges: first and last address that may be given, both included, in order.
    """

    ranges: Sequence[tuple[int, int]]
    taken: set[int] = field(default_factory=set)
    _last: int = -1

    @classmethod
    def of_subnet(cls, subnet: IPv4Network) -> HostLocal:
        """All of a subnet but its network, gateway (the first) and broadcast addresses."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        return cls([(first + 2, last - 1)])

    @property
    def size(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def allocate(self) -> int | None:
        """The next free address after the last one given, or None when all are taken."""
        if len(self.taken) >= self.size:
            return None
        start = next((i for i, (first, last) in enumerate(self.ranges) if first <= self._last <= last), 0)
        for turn in range(len(self.ranges) + 1):
            first, last = self.ranges[(start + turn) % len(self.ranges)]
            begin = self._last + 1 if turn == 0 and first <= self._last <= last else first
            for address in range(begin, last + 1):
                if address not in self.taken:
                    self.taken.add(address)
                    self._last = address
                    return address
        return None

    def release(self, address: int) -> None:
        """Give an address back. KeyError when it was not taken: a pod gives back its own address only."""
        self.taken.remove(address)


@dataclass(slots=True)
class Block:
    """One block of a pool: the host it is affine to (-1 = none) and its free addresses, lowest first."""

    first: int
    host: int
    free: list[int]

    @property
    def used(self) -> bool:
        return self.host >= 0


@dataclass(frozen=True, slots=True)
class Assigned:
    """An address with what had to be done for it; the costs of the datastore and of routing follow from that."""

    address: int
    new_block: bool
    """The host claimed a block: one more route for everybody."""
    borrowed: bool
    """It lies in another host's block: a /32 route of its own."""


class CalicoBlocks:
    """Calico's IPAM for one pool: blocks are claimed by hosts, and borrowed from when the pool has no free block left.

    pool: the pool's network. prefix: length of a block, /26 by default. strict_affinity: never borrow.
    """

    def __init__(
        self, pool: IPv4Network, prefix: int = 26, max_blocks_per_host: int = 20, strict_affinity: bool = False
    ) -> None:
        self.pool = pool
        self.prefix = prefix
        self.max_blocks_per_host = max_blocks_per_host
        self.strict_affinity = strict_affinity
        self.blocks: list[Block] = []
        self.capacity = subnets_in(pool, prefix)
        self._of_host: dict[int, list[int]] = {}
        self._unclaimed: list[int] = []
        self._with_room: list[int] = []
        """Blocks that may have room to lend, lowest first; entries are checked when read."""

    def allocate(self, host: int) -> Assigned | None:
        """An address for a pod on `host`: from its own blocks, from a new one, else borrowed."""
        for index in self._of_host.get(host, ()):
            block = self.blocks[index]
            if block.free:
                return Assigned(heapq.heappop(block.free), new_block=False, borrowed=False)
        if (claimed := self._claim(host)) is not None:
            return Assigned(heapq.heappop(claimed.free), new_block=True, borrowed=False)
        if self.strict_affinity:
            return None
        while self._with_room:
            block = self.blocks[self._with_room[0]]
            if block.free:
                return Assigned(heapq.heappop(block.free), new_block=False, borrowed=True)
            heapq.heappop(self._with_room)
        return None

    def release(self, address: int) -> bool:
        """Give an address back; True when its block is empty now and loses its host (one route less)."""
        index = (address - int(self.pool.network_address)) >> (32 - self.prefix)
        block = self.blocks[index]
        if address in block.free:
            raise KeyError(address)
        heapq.heappush(block.free, address)
        if len(block.free) == 1:
            heapq.heappush(self._with_room, index)
        if len(block.free) < 1 << (32 - self.prefix):
            return False
        self._of_host[block.host].remove(index)
        block.host = -1
        heapq.heappush(self._unclaimed, index)
        return True

    def blocks_of(self, host: int) -> int:
        return len(self._of_host.get(host, ()))

    def _claim(self, host: int) -> Block | None:
        if self.blocks_of(host) >= self.max_blocks_per_host:
            return None
        if self._unclaimed:
            index = heapq.heappop(self._unclaimed)
        elif len(self.blocks) < self.capacity:
            index = len(self.blocks)
            size = 1 << (32 - self.prefix)
            first = int(self.pool.network_address) + index * size
            self.blocks.append(Block(first, -1, list(range(first, first + size))))
            heapq.heappush(self._with_room, index)
        else:
            return None
        self.blocks[index].host = host
        self._of_host.setdefault(host, []).append(index)
        return self.blocks[index]


def ranges_of(subnets: Iterable[tuple[IPv4Network, int | None, int | None]]) -> list[tuple[int, int]]:
    """Host-local ranges from (subnet, rangeStart, rangeEnd): without bounds, all but network, gateway and broadcast."""
    return [
        (
            start if start is not None else int(subnet.network_address) + 2,
            end if end is not None else int(subnet.broadcast_address) - 1,
        )
        for subnet, start, end in subnets
    ]
