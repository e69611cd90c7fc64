"""Max-min fair rates of flows over shared resources, kept up to date as flows come and go.

A flow uses `weight` units of a resource for each unit of its rate: 1 byte of a link a byte, or the processor seconds that a
byte costs on a core. Rates are max-min fair when every flow has a bottleneck: a full resource on which no flow has a higher
rate, or its own limit. Such rates are unique, so a local repair that ends with a valid bottleneck for every flow is exact.

`repair` starts from the flows that changed. It shares what the other flows leave among them, then takes in every flow whose
bottleneck that spoils (it could rise now, or has to give way), until no flow is left without one. Usually that is a handful.
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
def _fix(flow, level, why, used, weight, load, left, need, candidate, rate, bottleneck, bottled, in_set, dirty):
    """A member gets its rate: what it uses is no longer shared."""
    more = level - rate[flow]
    moved = abs(more) > 1e-13 * level
    for hop in range(used.shape[1]):
        resource = used[flow, hop]
        if resource < 0:
            break
        load[resource] += weight[flow, hop] * more
        if moved:
            dirty[resource] = 1
        if candidate[resource] != 0:
            left[resource] -= weight[flow, hop] * level
            need[resource] -= weight[flow, hop]
    if bottleneck[flow] != why:
        if bottleneck[flow] >= 0:
            bottled[bottleneck[flow]] -= 1
        if why >= 0:
            bottled[why] += 1
            dirty[why] = 1
        bottleneck[flow] = why
    rate[flow] = level
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
    bottled,
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
    bottled[:] = np.bincount(new_bottleneck[new_bottleneck >= 0], minlength=len(capacity))
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
    bottled,
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
    active uint8[F]; bottleneck int64[F], bottled int64[R] flows that have it as bottleneck. head int64[R], following
    int64[F * H, 2], before int64[F * H]: the flows of a resource as a linked list of entries `flow * H + hop`; following holds the
    next entry and the flow. seeds: flows to look at first. touched: resources that lost a flow. scratch_i int64[7, max(F, R)],
    scratch_f float64[2, max(F, R)]: zero between calls. changed int64[F].
    """
    hops = used.shape[1]
    in_set, in_touched, candidate, dirty = scratch_i[0], scratch_i[1], scratch_i[2], scratch_i[5]
    members, resources, candidates = scratch_i[3], scratch_i[4], scratch_i[6]
    left, need = scratch_f[0], scratch_f[1]
    count = 0
    resource_count = 0
    candidate_count = 0
    for i in range(seed_count):
        if active[seeds[i]] != 0 and in_set[seeds[i]] == 0:
            in_set[seeds[i]] = 1
            members[count] = seeds[i]
            count += 1
    for i in range(touched_count):
        # What left may let the flows that were held here rise.
        if bottled[touched[i]] > 0:
            entry = head[touched[i]]
            while entry >= 0:
                flow = following[entry, 1]
                if bottleneck[flow] == touched[i] and in_set[flow] == 0:
                    in_set[flow] = 1
                    members[count] = flow
                    count += 1
                entry = following[entry, 0]
    heap_level = np.empty(256, np.float64)
    heap_item = np.empty(256, np.int64)
    reached = 0
    again = count > 0
    while again:
        again = False
        for i in range(reached, count):
            flow = members[i]
            for hop in range(hops):
                resource = used[flow, hop]
                if resource < 0:
                    break
                if in_touched[resource] == 0:
                    in_touched[resource] = 1
                    resources[resource_count] = resource
                    resource_count += 1
                    # Far from full: left out until it proves to be overfull.
                    if bottled[resource] > 0 or load[resource] > 0.7 * capacity[resource]:
                        candidate[resource] = 1
                        candidates[candidate_count] = resource
                        candidate_count += 1
        # A flow that nothing holds: all that it uses may bind.
        for i in range(reached, count):
            flow = members[i]
            held_by_any = limit[flow] < np.inf
            for hop in range(hops):
                if used[flow, hop] < 0 or held_by_any:
                    break
                held_by_any = candidate[used[flow, hop]] != 0
            if not held_by_any:
                for hop in range(hops):
                    resource = used[flow, hop]
                    if resource < 0:
                        break
                    candidate[resource] = 1
                    candidates[candidate_count] = resource
                    candidate_count += 1
        reached = count
        # What the other flows leave of each resource that may bind.
        for i in range(candidate_count):
            resource = candidates[i]
            left[resource] = capacity[resource] - load[resource]
            need[resource] = 0.0
        size = 0
        if heap_level.shape[0] < 2 * (candidate_count + count):
            heap_level = np.empty(4 * (candidate_count + count), np.float64)
            heap_item = np.empty(4 * (candidate_count + count), np.int64)
        for i in range(count):
            flow = members[i]
            in_set[flow] = 1
            for hop in range(hops):
                resource = used[flow, hop]
                if resource < 0:
                    break
                if candidate[resource] != 0:
                    left[resource] += weight[flow, hop] * rate[flow]
                    need[resource] += weight[flow, hop]
            if limit[flow] < np.inf:
                size = _push(heap_level, heap_item, size, limit[flow], -1 - flow)
        # Progressive filling of the members: the lowest level first; levels only rise, so stale ones are put back.
        for i in range(candidate_count):
            resource = candidates[i]
            if need[resource] > 0:
                size = _push(heap_level, heap_item, size, max(left[resource], 0.0) / need[resource], resource)
        fixed = 0
        while size > 0 and fixed < count:
            level = heap_level[0]
            item = heap_item[0]
            size = _pop(heap_level, heap_item, size)
            if item < 0:
                flow = -1 - item
                if in_set[flow] == 1:
                    _fix(
                        flow,
                        level,
                        OWN_LIMIT,
                        used,
                        weight,
                        load,
                        left,
                        need,
                        candidate,
                        rate,
                        bottleneck,
                        bottled,
                        in_set,
                        dirty,
                    )
                    fixed += 1
                continue
            if need[item] <= 0.0:
                continue
            true_level = max(left[item], 0.0) / need[item]
            if true_level > level * (1 + 1e-12):
                size = _push(heap_level, heap_item, size, true_level, item)
                continue
            entry = head[item]
            while entry >= 0:
                flow = following[entry, 1]
                if in_set[flow] == 1:
                    _fix(
                        flow,
                        level,
                        item,
                        used,
                        weight,
                        load,
                        left,
                        need,
                        candidate,
                        rate,
                        bottleneck,
                        bottled,
                        in_set,
                        dirty,
                    )
                    fixed += 1
                entry = following[entry, 0]
            need[item] = 0.0
        # Whose bottleneck is spoilt? Only where a rate changed in this round.
        for i in range(resource_count):
            resource = resources[i]
            if dirty[resource] == 0:
                continue
            dirty[resource] = 0
            if candidate[resource] == 0 and load[resource] > capacity[resource] * (1 + 1e-12):
                candidate[resource] = 1
                candidates[candidate_count] = resource
                candidate_count += 1
                again = True
            if bottled[resource] == 0:
                continue
            full = load[resource] >= capacity[resource] * (1 - 1e-7)
            highest = 0.0
            held = np.inf
            entry = head[resource]
            while entry >= 0:
                flow = following[entry, 1]
                highest = max(highest, rate[flow])
                if bottleneck[flow] == resource:
                    held = min(held, rate[flow])
                entry = following[entry, 0]
            if full and highest <= held * (1 + TOLERANCE):
                continue
            entry = head[resource]
            while entry >= 0:
                flow = following[entry, 1]
                if in_set[flow] == 0 and (
                    (bottleneck[flow] == resource and (not full or rate[flow] < highest * (1 - TOLERANCE)))
                    or (full and rate[flow] > held * (1 + TOLERANCE))
                ):
                    in_set[flow] = 1
                    members[count] = flow
                    count += 1
                    again = True
                entry = following[entry, 0]
    for i in range(count):
        changed[i] = members[i]
        in_set[members[i]] = 0
    for i in range(resource_count):
        in_touched[resources[i]] = 0
        candidate[resources[i]] = 0
        dirty[resources[i]] = 0
    return count


__all__ = ["NO_BOTTLENECK", "OWN_LIMIT", "fill_all", "repair"]
