"""Max-min fair rates of flows over shared resources, kept up to date as flows come and go.

A flow uses `weight` units of a resource for each unit of its rate: 1 byte of a link a byte, or the processor seconds that a
byte costs on a core. Rates are max-min fair when every flow has a bottleneck: a full resource on which no flow has a higher
rate, or its own limit. Such rates are unique, so a local repair that ends with a valid bottleneck for every flow is exact.

`repair` fills anew from the lowest level up, but only the flows that the change reaches: it follows where a resource fills at another
level than before, or fills no more.
`fill_all` is the slow twin: progressive filling of everything, one resource a round.
"""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel, rule

TOLERANCE = 1e-9
NO_BOTTLENECK, OWN_LIMIT = -1, -2


def fill_all(
    capacity: np.ndarray,
    used: np.ndarray,
    weight: np.ndarray,
    limit: np.ndarray,
    active: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and bottlenecks by progressive filling. The slow twin: no order kept, everything looked at in every round.

    capacity float64[resources]; used int64[flows, hops] resources of a flow, -1 = none; weight float64[flows, hops];
    limit float64[flows]; active bool[flows]. Returns rate float64[flows] and bottleneck int64[flows].
    """
    flows = len(limit)
    rate = np.zeros(flows)
    bottleneck = np.full(flows, NO_BOTTLENECK, np.int64)
    open_ = active.copy()
    left = capacity.astype(float).copy()
    while open_.any():
        need = np.zeros(len(capacity))
        rows, hops = np.nonzero(open_[:, None] & (used >= 0))
        np.add.at(need, used[rows, hops], weight[rows, hops])
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where(need > 0, np.maximum(left, 0) / need, np.inf)
        lowest, own = (float(level.min()) if len(level) else np.inf), float(limit[open_].min())
        if own <= lowest:
            chosen = np.flatnonzero(open_ & (limit == own))
            rate[chosen], bottleneck[chosen] = own, OWN_LIMIT
        else:
            resource = int(level.argmin())
            chosen = np.flatnonzero(open_ & ((used == resource) & (weight > 0)).any(axis=1))
            rate[chosen], bottleneck[chosen] = lowest, resource
        for flow in chosen:
            for hop in range(used.shape[1]):
                if used[flow, hop] >= 0:
                    left[used[flow, hop]] -= weight[flow, hop] * rate[flow]
        open_[chosen] = False
    return rate, bottleneck


@rule
def _push(level, item, size, new_level, new_item):
    """Add to a binary heap, lowest level first; returns its size."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if level[parent] <= new_level:
            break
        level[child] = level[parent]
        item[child] = item[parent]
        child = parent
    level[child] = new_level
    item[child] = new_item
    return size + 1


@rule
def _pop(level, item, size):
    """Take the lowest off the heap; returns its size."""
    size -= 1
    last_level, last_item = level[size], item[size]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and level[child + 1] < level[child]:
            child += 1
        if level[child] >= last_level:
            break
        level[parent] = level[child]
        item[parent] = item[child]
        parent = child
    level[parent] = last_level
    item[parent] = last_item
    return size


@rule
def _fix(flow, now, why, used, weight, load, left, need, open_, rate, bottleneck, in_set):
    """A flow gets its rate: what it uses is no longer shared."""
    more = now - rate[flow]
    for hop in range(used.shape[1]):
        resource = used[flow, hop]
        if resource < 0:
            break
        load[resource] += weight[flow, hop] * more
        left[resource] -= weight[flow, hop] * now
        need[resource] -= weight[flow, hop]
        open_[resource] -= 1
    rate[flow] = now
    bottleneck[flow] = why
    in_set[flow] = 2


def _repair_twin(
    capacity,
    load,
    used,
    weight,
    limit,
    active,
    rate,
    bottleneck,
    level,
    head,
    following,
    before,
    seeds,
    seed_count,
    touched,
    touched_count,
    scratch_i,
    scratch_f,
    changed,
):
    """Recompute everything; the flows that changed are those with another rate."""
    new_rate, new_bottleneck = fill_all(capacity, used, weight, limit, active.astype(bool))
    moved = np.flatnonzero(np.abs(new_rate - rate) > TOLERANCE * np.maximum(new_rate, rate))
    rate[:], bottleneck[:] = new_rate, new_bottleneck
    level[:] = np.inf
    held = new_bottleneck >= 0
    level[new_bottleneck[held]] = new_rate[held]
    load[:] = 0
    rows, hops = np.nonzero(active.astype(bool)[:, None] & (used >= 0))
    np.add.at(load, used[rows, hops], weight[rows, hops] * rate[rows])
    changed[: len(moved)] = moved
    return len(moved)


@kernel(reference=_repair_twin)
def repair(
    capacity,
    load,
    used,
    weight,
    limit,
    active,
    rate,
    bottleneck,
    level,
    head,
    following,
    before,
    seeds,
    seed_count,
    touched,
    touched_count,
    scratch_i,
    scratch_f,
    changed,
):
    """Make the rates max-min fair again after some flows came or went; returns how many flows `changed` names.

    capacity, load float64[R]; used int64[F, H] (filled from the left, -1 = none), weight float64[F, H]; limit, rate float64[F];
    active uint8[F]; bottleneck int64[F]; level float64[R] rate of the flows that have it as bottleneck (inf: it never was one). head
    int64[R], following int64[F * H, 2], before int64[F * H]: the flows of a resource as a linked list of entries `flow * H + hop`;
    following holds the next entry and the flow. seeds: new flows. touched: resources that lost a flow. scratch_i
    int64[4, max(F, R)], scratch_f float64[3, max(F, R)]: zero between calls. changed int64[F].

    One pass of progressive filling over the flows whose rate may change, lowest level first. At a resource that fills, flows above
    its level join: they have to give way. At the old level of a resource that fills no more, the flows that it held join: they may
    rise. Who joins had a rate at or above the present level, so what is fixed already stays right.
    """
    in_set, resources, open_, in_touched = scratch_i[0], scratch_i[1], scratch_i[2], scratch_i[3]
    left, need, pushed = scratch_f[0], scratch_f[1], scratch_f[2]
    total = capacity.shape[0]
    heap_level = np.empty(1024, np.float64)
    heap_item = np.empty(1024, np.int64)
    size = 0
    count = 0
    resource_count = 0
    hops = used.shape[1]
    for i in range(touched_count):
        resource = touched[i]
        if in_touched[resource] == 0:
            in_touched[resource] = 1
            resources[resource_count] = resource
            resource_count += 1
            left[resource] = capacity[resource] - load[resource]
            need[resource] = 0.0
            pushed[resource] = np.inf
            if level[resource] < np.inf:
                size = _push(heap_level, heap_item, size, level[resource], total + resource)
    queue_next = 0
    for i in range(seed_count):
        if active[seeds[i]] != 0 and in_set[seeds[i]] == 0:
            in_set[seeds[i]] = 1
            changed[count] = seeds[i]
            count += 1
    while True:
        # Flows that have joined: they share their resources with what the others leave.
        while queue_next < count:
            flow = changed[queue_next]
            queue_next += 1
            if size + 3 * hops + 4 > heap_level.shape[0]:
                larger_level = np.empty(2 * heap_level.shape[0], np.float64)
                larger_item = np.empty(2 * heap_level.shape[0], np.int64)
                larger_level[:size] = heap_level[:size]
                larger_item[:size] = heap_item[:size]
                heap_level, heap_item = larger_level, larger_item
            if limit[flow] < np.inf:
                size = _push(heap_level, heap_item, size, limit[flow], -1 - flow)
            for hop in range(hops):
                resource = used[flow, hop]
                if resource < 0:
                    break
                if in_touched[resource] == 0:
                    in_touched[resource] = 1
                    resources[resource_count] = resource
                    resource_count += 1
                    left[resource] = capacity[resource] - load[resource]
                    need[resource] = 0.0
                    pushed[resource] = np.inf
                    if level[resource] < np.inf:
                        size = _push(heap_level, heap_item, size, level[resource], total + resource)
                left[resource] += weight[flow, hop] * rate[flow]
                need[resource] += weight[flow, hop]
                open_[resource] += 1
                fills_at = max(left[resource], 0.0) / need[resource]
                if fills_at < pushed[resource]:
                    pushed[resource] = fills_at
                    size = _push(heap_level, heap_item, size, fills_at, resource)
        if size == 0:
            break
        now, item = heap_level[0], heap_item[0]
        size = _pop(heap_level, heap_item, size)
        if item < 0:
            flow = -1 - item
            if in_set[flow] == 1:
                _fix(flow, now, OWN_LIMIT, used, weight, load, left, need, open_, rate, bottleneck, in_set)
            continue
        if item >= total:
            # The old level of a resource: do the flows that it held still fill it?
            resource = item - total
            if open_[resource] > 0:
                loose = max(left[resource], 0.0) > need[resource] * now * (1 + TOLERANCE)
            else:
                loose = load[resource] < capacity[resource] * (1 - 1e-8)
            if loose:
                entry = head[resource]
                while entry >= 0:
                    flow = following[entry, 1]
                    if in_set[flow] == 0 and bottleneck[flow] == resource:
                        in_set[flow] = 1
                        changed[count] = flow
                        count += 1
                    entry = following[entry, 0]
            continue
        if open_[item] == 0:
            pushed[item] = np.inf
            continue
        fills_at = max(left[item], 0.0) / need[item]
        if fills_at > now * (1 + 1e-12):
            if now >= pushed[item]:
                pushed[item] = fills_at
                size = _push(heap_level, heap_item, size, fills_at, item)
            continue
        joined = count
        entry = head[item]
        while entry >= 0:
            flow = following[entry, 1]
            if in_set[flow] == 0 and rate[flow] > now * (1 + TOLERANCE):
                in_set[flow] = 1
                changed[count] = flow
                count += 1
            entry = following[entry, 0]
        if count > joined:
            pushed[item] = np.inf  # looked at again when they share it
            continue
        entry = head[item]
        while entry >= 0:
            flow = following[entry, 1]
            if in_set[flow] == 1:
                _fix(flow, fills_at, item, used, weight, load, left, need, open_, rate, bottleneck, in_set)
            entry = following[entry, 0]
        level[item] = fills_at
        pushed[item] = np.inf
    for i in range(count):
        in_set[changed[i]] = 0
    for i in range(resource_count):
        in_touched[resources[i]] = 0
        open_[resources[i]] = 0
    return count


__all__ = ["NO_BOTTLENECK", "OWN_LIMIT", "fill_all", "repair"]
