"""Max-min fair rates of flows over shared resources, kept up to date as flows come and go.

A flow uses `weight` units of a resource for each unit of its rate: 1 byte of a link a byte, or the processor seconds that a
byte costs on a core. Rates are max-min fair when every flow has a bottleneck: a full resource on which no flow has a higher
rate, or its own limit. Such rates are unique, so a local repair that ends with a valid bottleneck for every flow is exact.

`repair` fills anew from the lowest level up, but only the flows that the change reaches: it follows where a resource fills at another
level than before, or fills no more. Resources with room to spare are left out at first; one that turns out too full, or that should
have held somebody, is filled in a further pass.
`fill_all` is the slow twin: progressive filling of everything, one resource a round.
"""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel, rule

TOLERANCE = 1e-9
NO_BOTTLENECK, OWN_LIMIT = -1, -2
SMALLEST_ROOM = 4
"""Flows that a resource's list has room for at first; it doubles."""
_QUEUED, _OPEN, _FIXED, _SEEN = 1, 2, 3, 4
"""A flow in a pass: joined, sharing, has its new rate; and: was so in an earlier pass."""


def fill_all(
    capacity: np.ndarray,
    used: np.ndarray,
    weight: np.ndarray,
    limit: np.ndarray,
    active: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and bottlenecks by progressive filling. The slow twin: no order kept, everything looked at in every round.

    capacity float64[resources]; used int[flows, hops] resources of a flow, -1 = none; weight float64[flows, hops];
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


# --- who uses a resource: one list each, side by side in one pool


@rule
def _pack(members, first, room, count, end):
    """Lay the lists out anew, each with room to double."""
    old = members.copy()
    position = 0
    for resource in range(first.shape[0]):
        start, many = first[resource], count[resource]
        for i in range(many):
            members[position + i] = old[start + i]
        first[resource] = position
        room[resource] = max(SMALLEST_ROOM, 2 * many)
        position += room[resource]
    end[0] = position


@rule
def link(flow, used, members, first, room, count, place, end):
    """Enter a flow in the lists of its resources.

    members int32[P]: the lists; first, room, count int64[R]: where a resource's list begins, how long it may get and is; place
    int32[F, H]: a flow's position in the list of its resource; end int64[1]: what of the pool is given out. P is at least
    2 * `SMALLEST_ROOM` * R + 4 * F * H, so that packing always makes room.
    """
    for hop in range(used.shape[1]):
        resource = used[flow, hop]
        if resource < 0:
            break
        many = count[resource]
        if many == room[resource]:
            wanted = max(SMALLEST_ROOM, 2 * many)
            if end[0] + wanted > members.shape[0]:
                _pack(members, first, room, count, end)
            else:
                start = end[0]
                for i in range(many):
                    members[start + i] = members[first[resource] + i]
                first[resource] = start
                room[resource] = wanted
                end[0] = start + wanted
        members[first[resource] + many] = flow
        place[flow, hop] = many
        count[resource] = many + 1


@rule
def unlink(flow, used, weight, rate, load, members, first, count, place, touched):
    """Take a flow out of its resources' lists and loads, and its resources from it; returns how many `touched` names."""
    many = 0
    for hop in range(used.shape[1]):
        resource = used[flow, hop]
        if resource < 0:
            break
        last = count[resource] - 1
        moved = members[first[resource] + last]
        members[first[resource] + place[flow, hop]] = moved
        for other in range(used.shape[1]):
            if used[moved, other] == resource:
                place[moved, other] = place[flow, hop]
                break
        count[resource] = last
        load[resource] -= weight[flow, hop] * rate[flow]
        touched[many] = resource
        many += 1
        used[flow, hop] = -1
    return many


# --- a heap of levels


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
def _grown(values):
    """The same values with as much room again."""
    more = np.empty(2 * values.shape[0], values.dtype)
    more[: values.shape[0]] = values
    return more


# --- the repair


@rule
def _consider(resource, capacity, load, weight, used, rate, members, first, count, state, in_pass, left, need, open_):
    """Take a resource into the pass: what is left of it for the flows that share it now."""
    in_pass[resource] = 1
    left[resource] = capacity[resource] - load[resource]
    need[resource] = 0.0
    open_[resource] = 0
    for i in range(first[resource], first[resource] + count[resource]):
        flow = members[i]
        if state[flow] == _OPEN:
            for hop in range(used.shape[1]):
                if used[flow, hop] == resource:
                    left[resource] += weight[flow, hop] * rate[flow]
                    need[resource] += weight[flow, hop]
                    open_[resource] += 1
                    break


@rule
def _fix(
    flows, flow_count, now, why, used, weight, capacity, load, left, need, open_, rate, bottleneck, state, in_pass, suspects, many
):  # fmt: skip
    """Flows get their rate: what they use is no longer shared. Returns how many resources are suspected of being too full."""
    for i in range(flow_count):
        flow = flows[i]
        more = now - rate[flow]
        for hop in range(used.shape[1]):
            resource = used[flow, hop]
            if resource < 0:
                break
            load[resource] += weight[flow, hop] * more
            if in_pass[resource] == 1:
                left[resource] -= weight[flow, hop] * now
                need[resource] -= weight[flow, hop]
                open_[resource] -= 1
            elif more > 0 and in_pass[resource] == 0 and load[resource] > capacity[resource] * (1 + TOLERANCE):
                in_pass[resource] = 2
                suspects[many] = resource
                many += 1
        rate[flow] = now
        bottleneck[flow] = why
        state[flow] = _FIXED
    return many


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
    members,
    first,
    count,
    seeds,
    seed_count,
    touched,
    touched_count,
    scratch_b,
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
    members,
    first,
    count,
    seeds,
    seed_count,
    touched,
    touched_count,
    scratch_b,
    scratch_i,
    scratch_f,
    changed,
):
    """Make the rates max-min fair again after some flows came or went; returns how many flows `changed` names.

    capacity, load float64[R]; used int32[F, H] (filled from the left, -1 = none), weight float64[F, H]; limit, rate float64[F];
    active uint8[F]; bottleneck int64[F]; level float64[R] rate of the flows that have it as bottleneck (inf: it is none's). members,
    first, count: the flows of each resource, see `link`. seeds: new flows. touched: resources that lost a flow. scratch_b
    uint8[4, max(F, R)]: zero between calls; scratch_i int64[6, max(F, R)], scratch_f float64[3, max(F, R)]. changed int64[F].

    A pass is progressive filling over the flows whose rate may change, lowest level first. At a resource that fills, flows above
    its level join: they have to give way. At the old level of a resource that fills no more, the flows that it held join: they may
    rise. Who joins had a rate at or above the present level, so what is fixed already stays right.
    """
    state, in_pass, late, dirty = scratch_b[0], scratch_b[1], scratch_b[2], scratch_b[3]
    resources, open_, suspects, queue, holders = scratch_i[0], scratch_i[1], scratch_i[2], scratch_i[3], scratch_i[4]
    shared = scratch_i[5]
    left, need, pushed = scratch_f[0], scratch_f[1], scratch_f[2]
    total, hops = capacity.shape[0], used.shape[1]
    heap_level = np.empty(1024, np.float64)
    heap_item = np.empty(1024, np.int64)
    listed = 0
    tail = 0
    for i in range(seed_count):
        queue[tail] = seeds[i]
        tail += 1
    resource_count = 0
    for i in range(touched_count):
        resource = touched[i]
        if in_pass[resource] == 0:
            resources[resource_count] = resource
            resource_count += 1
            in_pass[resource] = 1
    while True:
        size = 0
        now = 0.0
        suspect_count = 0
        seen = 0
        sharing = 0
        shared_count = 0
        for i in range(tail):
            flow = queue[i]
            if state[flow] == 0:
                changed[listed] = flow
                listed += 1
            state[flow] = _QUEUED
        for i in range(resource_count):
            resource = resources[i]
            left[resource] = capacity[resource] - load[resource]
            need[resource] = 0.0
            open_[resource] = 0
            pushed[resource] = np.inf
            if level[resource] < np.inf:
                if size + 1 >= heap_level.shape[0]:
                    heap_level, heap_item = _grown(heap_level), _grown(heap_item)
                size = _push(heap_level, heap_item, size, level[resource], total + resource)
        while True:
            while seen < tail:  # who has joined shares from now on
                flow = queue[seen]
                seen += 1
                while size + 2 * hops + 2 >= heap_level.shape[0]:
                    heap_level, heap_item = _grown(heap_level), _grown(heap_item)
                if limit[flow] < np.inf:
                    size = _push(heap_level, heap_item, size, limit[flow], -1 - flow)
                is_new = bottleneck[flow] == NO_BOTTLENECK
                for hop in range(hops):
                    resource = used[flow, hop]
                    if resource < 0:
                        break
                    if in_pass[resource] != 1:
                        if level[resource] == np.inf and not is_new:
                            continue
                        _consider(
                            resource,
                            capacity,
                            load,
                            weight,
                            used,
                            rate,
                            members,
                            first,
                            count,
                            state,
                            in_pass,
                            left,
                            need,
                            open_,
                        )
                        resources[resource_count] = resource
                        resource_count += 1
                        pushed[resource] = np.inf
                        if level[resource] < np.inf:
                            size = _push(heap_level, heap_item, size, level[resource], total + resource)
                    left[resource] += weight[flow, hop] * rate[flow]
                    need[resource] += weight[flow, hop]
                    open_[resource] += 1
                    if dirty[resource] == 0:
                        dirty[resource] = 1
                        shared[shared_count] = resource
                        shared_count += 1
                state[flow] = _OPEN
                sharing += 1
            while size + shared_count + 1 >= heap_level.shape[0]:
                heap_level, heap_item = _grown(heap_level), _grown(heap_item)
            for i in range(shared_count):
                resource = shared[i]
                dirty[resource] = 0
                fills_at = max(left[resource], 0.0) / need[resource]
                if fills_at < pushed[resource]:
                    pushed[resource] = fills_at
                    size = _push(heap_level, heap_item, size, fills_at, resource)
            shared_count = 0
            if size == 0:
                if sharing == 0:
                    break
                # Nothing that was looked at holds these: look at all that they use.
                for i in range(tail):
                    flow = queue[i]
                    if state[flow] != _OPEN:
                        continue
                    for hop in range(hops):
                        resource = used[flow, hop]
                        if resource < 0:
                            break
                        if in_pass[resource] == 1:
                            continue
                        if in_pass[resource] == 0:
                            suspects[suspect_count] = resource
                            suspect_count += 1
                        _consider(
                            resource,
                            capacity,
                            load,
                            weight,
                            used,
                            rate,
                            members,
                            first,
                            count,
                            state,
                            in_pass,
                            left,
                            need,
                            open_,
                        )
                        resources[resource_count] = resource
                        resource_count += 1
                        fills_at = max(left[resource], 0.0) / need[resource]
                        late[resource] = fills_at < now * (1 - TOLERANCE)  # it should have held others, too
                        pushed[resource] = fills_at
                        if size + 1 >= heap_level.shape[0]:
                            heap_level, heap_item = _grown(heap_level), _grown(heap_item)
                        size = _push(heap_level, heap_item, size, fills_at, resource)
                continue
            now, item = heap_level[0], heap_item[0]
            size = _pop(heap_level, heap_item, size)
            if item < 0:
                flow = -1 - item
                if state[flow] == _OPEN:
                    holders[0] = flow
                    suspect_count = _fix(
                        holders, 1, now, OWN_LIMIT, used, weight, capacity, load, left, need, open_, rate, bottleneck, state, in_pass,
                        suspects, suspect_count,
                    )  # fmt: skip
                    sharing -= 1
                continue
            if item >= total:
                # The old level of a resource: do the flows that it held still fill it?
                resource = item - total
                if open_[resource] > 0:
                    loose = max(left[resource], 0.0) > need[resource] * now * (1 + TOLERANCE)
                else:
                    loose = load[resource] < capacity[resource] * (1 - 1e-8)
                if loose:
                    level[resource] = np.inf
                    for i in range(first[resource], first[resource] + count[resource]):
                        flow = members[i]
                        if bottleneck[flow] == resource and (state[flow] == 0 or state[flow] == _SEEN):
                            if state[flow] == 0:
                                changed[listed] = flow
                                listed += 1
                            state[flow] = _QUEUED
                            queue[tail] = flow
                            tail += 1
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
            held = 0
            before = tail
            for i in range(first[item], first[item] + count[item]):
                flow = members[i]
                if state[flow] == _OPEN:
                    holders[held] = flow
                    held += 1
                elif rate[flow] > now * (1 + TOLERANCE) and (state[flow] == 0 or state[flow] == _SEEN):
                    if state[flow] == 0:
                        changed[listed] = flow
                        listed += 1
                    state[flow] = _QUEUED
                    queue[tail] = flow
                    tail += 1
            pushed[item] = np.inf
            if tail > before:
                continue  # looked at again when they share it
            suspect_count = _fix(
                holders, held, fills_at, item, used, weight, capacity, load, left, need, open_, rate, bottleneck, state, in_pass,
                suspects, suspect_count,
            )  # fmt: skip
            sharing -= held
            level[item] = fills_at
        for i in range(tail):
            state[queue[i]] = _SEEN
        for i in range(resource_count):
            in_pass[resources[i]] = 0
        # What was left out and is too full now, or should have held others, is filled with all its flows in a further pass.
        resource_count = 0
        for i in range(suspect_count):
            resource = suspects[i]
            in_pass[resource] = 0
            if late[resource] == 1 or load[resource] > capacity[resource] * (1 + TOLERANCE):
                late[resource] = 0
                resources[resource_count] = resource
                resource_count += 1
        if resource_count == 0:
            break
        tail = 0
        for i in range(resource_count):
            resource = resources[i]
            in_pass[resource] = 1
            for j in range(first[resource], first[resource] + count[resource]):
                flow = members[j]
                if state[flow] != _QUEUED:
                    if state[flow] == 0:
                        changed[listed] = flow
                        listed += 1
                    state[flow] = _QUEUED
                    queue[tail] = flow
                    tail += 1
    for i in range(listed):
        state[changed[i]] = 0
    return listed


__all__ = ["NO_BOTTLENECK", "OWN_LIMIT", "fill_all", "link", "repair", "unlink"]
