"""Flows: who sends to whom at which rate, as flows come and go; and whole traffic patterns in one compiled loop.

`FlowTable` is the live table that the fabric uses during a run. `run_flows` plays a list of transfers from start to end: it is the
same repair of max-min fair rates, without a Python step in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.kernels import kernel, warmer
from sim.network.max_min import NO_BOTTLENECK, SMALLEST_ROOM, _pop, _push, fill_all, link, repair, unlink

HOPS = 12
"""Most resources that one flow uses: links, cores, daemons, worker threads of both hosts."""
REFRESH_EVERY = 20_000
"""Changes after which the sums of rates are taken anew, so that rounding does not pile up."""

_repair = repair.fast


def pool_size(resources: int, slots: int, hops: int) -> int:
    """Entries of the pool of lists that `link` needs."""
    return 2 * SMALLEST_ROOM * resources + 4 * slots * hops


class FlowTable:
    """Flows over resources of given `capacity` (float64 a resource), with max-min fair rates at every moment."""

    def __init__(self, capacity: np.ndarray, slots: int = 256) -> None:
        self.capacity = np.array(capacity, np.float64)
        resources = len(self.capacity)
        self.load = np.zeros(resources)
        """Units of each resource in use."""
        self.level = np.full(resources, np.inf)
        self._first = np.zeros(resources, np.int64)
        self._room = np.zeros(resources, np.int64)
        self._count = np.zeros(resources, np.int64)
        self._end = np.zeros(1, np.int64)
        self._members = np.zeros(0, np.int32)
        self._free: list[int] = []
        self._changes = 0
        self._touched = np.zeros(HOPS, np.int64)
        self._seeds = np.zeros(1, np.int64)
        self._allocate(0)
        self._grow(slots)

    def __len__(self) -> int:
        return int(self.active.sum())

    def add(self, resources: Sequence[int], weights: Sequence[float], limit: float = np.inf) -> tuple[int, np.ndarray]:
        """A new flow; returns its slot and the slots whose rate may have changed, its own among them.

        weights: units of each resource for one unit of rate, above 0. limit: highest rate; finite when there is no resource.
        """
        if not self._free:
            self._grow(2 * len(self.limit))
        slot = self._free.pop()
        row = self.used[slot]
        row[:] = -1
        row[: len(resources)] = resources
        self.weight[slot, : len(resources)] = weights
        self.limit[slot] = limit
        self.rate[slot] = 0.0
        self.bottleneck[slot] = NO_BOTTLENECK
        self.active[slot] = 1
        link(slot, self.used, self._members, self._first, self._room, self._count, self._place, self._end)
        self._seeds[0] = slot
        return slot, self._repair(1, 0)

    def remove(self, slot: int) -> np.ndarray:
        """The flow ends; returns the slots whose rate may have changed."""
        touched = unlink(
            slot,
            self.used,
            self.weight,
            self.rate,
            self.load,
            self._members,
            self._first,
            self._count,
            self._place,
            self._touched,
        )
        self.active[slot] = 0
        self.rate[slot] = 0.0
        self.bottleneck[slot] = NO_BOTTLENECK
        self._free.append(slot)
        return self._repair(0, touched)

    def set_capacity(self, resources: np.ndarray, capacity: np.ndarray) -> np.ndarray:
        """Resources have another capacity from now on; returns the slots whose rate may have changed."""
        self.capacity[resources] = capacity
        seeds = [
            self._members[first : first + count]
            for first, count in zip(self._first[resources], self._count[resources], strict=True)
        ]
        flows = np.unique(np.concatenate([np.zeros(0, np.int32), *seeds])).astype(np.int64)
        if not len(flows):
            return self._changed[:0]
        self._seeds, self._touched = np.append(flows, 0), np.append(resources, np.zeros(HOPS, np.int64))
        return self._repair(len(flows), len(resources))

    def _repair(self, seeds: int, touched: int) -> np.ndarray:
        self._changes += 1
        if self._changes % REFRESH_EVERY == 0:
            self.refresh()
        count = _repair(
            self.capacity,
            self.load,
            self.used,
            self.weight,
            self.limit,
            self.active,
            self.rate,
            self.bottleneck,
            self.level,
            self._members,
            self._first,
            self._count,
            self._seeds,
            seeds,
            self._touched,
            touched,
            self._scratch_b,
            self._scratch_i,
            self._scratch_f,
            self._changed,
        )
        return self._changed[:count]

    def refresh(self) -> None:
        """Take the sums of rates on every resource anew."""
        self.load[:] = 0.0
        rows, hops = np.nonzero((self.active != 0)[:, None] & (self.used >= 0))
        np.add.at(self.load, self.used[rows, hops], self.weight[rows, hops] * self.rate[rows])

    def recomputed(self) -> np.ndarray:
        """Rates by the slow twin, float64 a slot."""
        return fill_all(self.capacity, self.used, self.weight, self.limit, self.active != 0)[0]

    def _allocate(self, slots: int) -> None:
        resources = len(self.capacity)
        self.used = np.full((slots, HOPS), -1, np.int32)
        self.weight = np.zeros((slots, HOPS))
        self.limit = np.full(slots, np.inf)
        self.rate = np.zeros(slots)
        self.active = np.zeros(slots, np.uint8)
        self.bottleneck = np.full(slots, NO_BOTTLENECK, np.int64)
        self._place = np.zeros((slots, HOPS), np.int32)
        self._changed = np.zeros(slots, np.int64)
        self._scratch_b = np.zeros((4, max(slots, resources)), np.uint8)
        self._scratch_i = np.zeros((6, max(slots, resources)), np.int64)
        self._scratch_f = np.zeros((3, max(slots, resources)))

    def _grow(self, slots: int) -> None:
        names = ("used", "weight", "limit", "rate", "active", "bottleneck", "_place")
        old = {name: getattr(self, name) for name in names}
        had = len(self.limit)
        self._allocate(slots)
        for name, values in old.items():
            getattr(self, name)[: len(values)] = values
        members = np.zeros(pool_size(len(self.capacity), slots, HOPS), np.int32)
        members[: len(self._members)] = self._members
        self._members = members
        self._free.extend(range(slots - 1, had - 1, -1))


def _run_flows_twin(
    capacity: np.ndarray,
    path_used: np.ndarray,
    path_weight: np.ndarray,
    path: np.ndarray,
    limit: np.ndarray,
    start_s: np.ndarray,
    size: np.ndarray,
    slots: int,
    finish_s: np.ndarray,
    resource_use: np.ndarray,
) -> int:
    """Event by event with rates recomputed from scratch; for some hundred flows."""
    flows = len(path)
    left = size.astype(float).copy()
    active = np.zeros(flows, bool)
    now, next_start, most = 0.0, 0, 0
    finish_s[:] = np.nan
    resource_use[:] = 0
    rate = np.zeros(flows)
    while next_start < flows or active.any():
        arrives = start_s[next_start] if next_start < flows else np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.where(active, now + left / rate, np.inf)
        moment = min(arrives, float(ends.min()))
        left[active] -= rate[active] * (moment - now)
        for flow in np.flatnonzero(active):
            for hop in range(path_used.shape[1]):
                if path_used[path[flow], hop] >= 0:
                    resource_use[path_used[path[flow], hop]] += (
                        path_weight[path[flow], hop] * rate[flow] * (moment - now)
                    )
        now = moment
        if arrives <= moment:
            active[next_start] = True
            next_start += 1
        else:
            done = int(ends.argmin())
            active[done] = False
            finish_s[done] = now
        most = max(most, int(active.sum()))
        rate, _ = fill_all(capacity, path_used[path], path_weight[path], limit, active)
    return most


@kernel(reference=_run_flows_twin)
def run_flows(capacity, path_used, path_weight, path, limit, start_s, size, slots, finish_s, resource_use):
    """Play transfers to their end; returns the most that were under way at once, or -1 when `slots` were too few.

    capacity float64[R]; path_used int64[P, H] and path_weight float64[P, H]: resources of each way, -1 = none; path int64[N] way of
    each transfer; limit float64[N]; start_s float64[N], rising; size float64[N]; finish_s float64[N] (out); resource_use float64[R]
    (out): units of each resource used in all.
    """
    resources = capacity.shape[0]
    hops = path_used.shape[1]
    total = path.shape[0]
    load = np.zeros(resources)
    used = np.full((slots, hops), -1, np.int32)
    weight = np.zeros((slots, hops))
    slot_limit = np.full(slots, np.inf)
    active = np.zeros(slots, np.uint8)
    rate = np.zeros(slots)
    bottleneck = np.full(slots, -1, np.int64)
    level = np.full(resources, np.inf)
    members = np.zeros(2 * SMALLEST_ROOM * resources + 4 * slots * hops, np.int32)
    first = np.zeros(resources, np.int64)
    room = np.zeros(resources, np.int64)
    count_of = np.zeros(resources, np.int64)
    place = np.zeros((slots, hops), np.int32)
    end = np.zeros(1, np.int64)
    seeds = np.zeros(1, np.int64)
    touched = np.zeros(hops, np.int64)
    scratch_b = np.zeros((4, max(slots, resources)), np.uint8)
    scratch_i = np.zeros((6, max(slots, resources)), np.int64)
    scratch_f = np.zeros((3, max(slots, resources)))
    changed = np.zeros(slots, np.int64)
    flow_of = np.full(slots, -1, np.int64)
    left = np.zeros(slots)
    known_rate = np.zeros(slots)
    since_s = np.zeros(slots)
    ends_s = np.full(slots, np.inf)
    free = np.empty(slots, np.int64)
    for i in range(slots):
        free[i] = slots - 1 - i
    free_count = slots
    heap_s = np.empty(4 * slots + 16, np.float64)
    heap_slot = np.empty(4 * slots + 16, np.int64)
    heap_size = 0
    next_start = 0
    under_way = 0
    most = 0
    changes = 0
    resource_use[:] = 0.0
    for i in range(total):
        for hop in range(hops):
            if path_used[path[i], hop] >= 0:
                resource_use[path_used[path[i], hop]] += path_weight[path[i], hop] * size[i]
    while next_start < total or under_way > 0:
        while heap_size > 0 and heap_s[0] != ends_s[heap_slot[0]]:
            heap_size = _pop(heap_s, heap_slot, heap_size)
        next_end = heap_s[0] if heap_size > 0 else np.inf
        seed_count = 0
        touched_count = 0
        if next_start < total and start_s[next_start] <= next_end:
            now = start_s[next_start]
            if free_count == 0:
                return -1
            free_count -= 1
            slot = free[free_count]
            way = path[next_start]
            slot_limit[slot] = limit[next_start]
            for hop in range(hops):
                used[slot, hop] = path_used[way, hop]
                weight[slot, hop] = path_weight[way, hop]
            link(slot, used, members, first, room, count_of, place, end)
            active[slot] = 1
            rate[slot] = 0.0
            bottleneck[slot] = -1
            flow_of[slot] = next_start
            left[slot] = size[next_start]
            known_rate[slot] = 0.0
            since_s[slot] = now
            ends_s[slot] = np.inf
            seeds[0] = slot
            seed_count = 1
            next_start += 1
            under_way += 1
            most = max(most, under_way)
        else:
            if next_end == np.inf:
                return -2
            now = next_end
            slot = heap_slot[0]
            heap_size = _pop(heap_s, heap_slot, heap_size)
            finish_s[flow_of[slot]] = now
            touched_count = unlink(slot, used, weight, rate, load, members, first, count_of, place, touched)
            active[slot] = 0
            rate[slot] = 0.0
            bottleneck[slot] = -1
            ends_s[slot] = np.inf
            free[free_count] = slot
            free_count += 1
            under_way -= 1
        changes += 1
        if changes % 20000 == 0:
            load[:] = 0.0
            for other in range(slots):
                if active[other] != 0:
                    for hop in range(hops):
                        if used[other, hop] >= 0:
                            load[used[other, hop]] += weight[other, hop] * rate[other]
        count = _repair(
            capacity,
            load,
            used,
            weight,
            slot_limit,
            active,
            rate,
            bottleneck,
            level,
            members,
            first,
            count_of,
            seeds,
            seed_count,
            touched,
            touched_count,
            scratch_b,
            scratch_i,
            scratch_f,
            changed,
        )
        if heap_size + count >= heap_s.shape[0]:
            heap_size = 0
            for other in range(slots):
                if active[other] != 0 and ends_s[other] < np.inf:
                    heap_size = _push(heap_s, heap_slot, heap_size, ends_s[other], other)
        for i in range(count):
            slot = changed[i]
            if rate[slot] == known_rate[slot]:
                continue
            left[slot] = max(0.0, left[slot] - known_rate[slot] * (now - since_s[slot]))
            since_s[slot] = now
            known_rate[slot] = rate[slot]
            ends_s[slot] = now + left[slot] / rate[slot] if rate[slot] > 0 else np.inf
            if rate[slot] > 0:
                heap_size = _push(heap_s, heap_slot, heap_size, ends_s[slot], slot)
    return most


@warmer
def _warm() -> None:
    table = FlowTable(np.array([1.0, 2.0]))
    slot, _ = table.add([0, 1], [1.0, 0.5], 3.0)
    table.remove(slot)
