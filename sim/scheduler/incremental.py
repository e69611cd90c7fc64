"""The incremental path: what was found for a spec is kept, and only nodes that changed since are looked at again.

Every score that is normalised, and every verdict that looks at a whole topology domain, is the same for all nodes that
agree in a few small values: raw taint and affinity scores, domain codes, own counts. Such nodes form a class. The index
of a spec holds a tree over the nodes, in walking order; a block of 16 knows, class by class, how many nodes are feasible
on their own, the best base score and how many share it. A decision brings the changed leaves up to date, judges the
classes, and reads the tree: the cost depends on the number of classes and the depth of the tree, not on the nodes.

The full path (`sim.scheduler.fused`) is the slow twin: same answers for the same draws.
"""

# In compiled code int is int64 and float float64; mypy sees numpy scalars.
# mypy: disable-error-code="return-value, assignment, arg-type"

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.kernels import compiled, rule
from sim.scheduler import fused
from sim.scheduler.fused import (
    ATTRACT,
    COUNTING,
    DOMAINS,
    HARD_SPREAD,
    KIND,
    LABEL,
    MAX_SKEW,
    MIN_DOMAINS,
    OCCUPIED,
    OFFSET,
    REPEL,
    SELF_MATCH,
    SLOT,
    UNIQUE,
    base_row,
    fits_row,
    natural_log,
)
from sim.scheduler.placing import LOG_SIZE
from sim.scheduler.plan import Plan

FAN_BITS = 4
FAN = 1 << FAN_BITS
"""Children of a block."""
MAX_CLASSES = 64
"""Beyond this many classes a spec is left to the full path."""
MAX_DOMAINS = 256
"""A topology key with more domains, and values shared between nodes, is left to the full path."""

# Entries of the head, int64.
SEEN, CLASSES, LEVELS, LEAVES, ITSELF, LOWEST, SAMPLED, LIMIT, OFFSETS = 0, 1, 2, 3, 4, 5, 6, 7, 8
MAX_LEVELS = 8
HEAD_SIZE = OFFSETS + MAX_LEVELS
# The index's tables of rules, soft constraints and points are the plan's with one column more: the class key column
# that holds the domain (-1: the rule is about the node alone).
RULE_KEY, SOFT_KEY, POINT_KEY = fused.RULE_COLUMNS, fused.SOFT_COLUMNS, fused.POINT_COLUMNS
# Columns of the work table, int64[classes, 6]: count, best and ties found, then these.
FITS, GOAL, GRADE = 3, 4, 5
# Rows of the table of places, int64[2, n]: leaf to row, row to leaf (-1 for none).
ROW_OF, LEAF_OF = 0, 1
# Rows of the leaves, int32[2 + entries, leaves]: base score (-1 infeasible), class, then the tallies last seen.
BASE, CLASS, TALLIES = 0, 1, 2
# A block's numbers for a class.
COUNT, BEST, TIES = 0, 1, 2
# Kinds of class key columns and the columns of their table, int64[keys, 3].
KEY_TAINT, KEY_AFFINITY, KEY_ALL_KEYS, KEY_COUNT, KEY_CODE, KEY_COMPANY, KEY_POINTS = range(7)
# Columns of the table of sums by domain, int64[entries, 5].
SUM_SLOT, SUM_LABEL, SUM_MASK, SUM_OFFSET, SUM_WHOLE = range(5)

STALE, OVERFLOW = -2, -3
"""What `decide_indexed` answers when too many nodes changed, or when there are too many classes."""

# Entries of the report, int64[7], shared with the full path's first four.
PROCESSED, EVALUATED, START = 4, 5, 6
REPORT_SIZE = 7


@rule
def _leaf_base(
    row: int, amounts: np.ndarray, labels: np.ndarray, counts: np.ndarray, ok: np.ndarray, statics: np.ndarray,
    resources: np.ndarray, extra: np.ndarray, rules: np.ndarray,
) -> int:  # fmt: skip
    """Base score of a row, -1 when its own fields, resources or own pods rule it out."""
    if ok[row] == 0 or not fits_row(amounts, row, extra, resources):
        return np.int64(-1)
    for r in range(rules.shape[0]):
        kind = rules[r, KIND]
        if kind == OCCUPIED:
            if counts[rules[r, SLOT], row] > 0:
                return np.int64(-1)
        elif (
            kind == REPEL
            and rules[r, UNIQUE] != 0
            and labels[rules[r, LABEL], row] >= 0
            and counts[rules[r, SLOT], row] > 0
        ):
            return np.int64(-1)
    return base_row(amounts, row, resources) + statics[fused.FLAT, row]


@rule
def _key_value(
    row: int, kind: int, slot: int, label: int, labels: np.ndarray, counts: np.ndarray, statics: np.ndarray,
    all_keys: np.ndarray,
) -> int:  # fmt: skip
    """One column of a row's class key."""
    if kind == KEY_TAINT:
        return np.int64(statics[fused.TAINT_RAW, row])
    if kind == KEY_AFFINITY:
        return np.int64(statics[fused.AFFINITY_RAW, row])
    if kind == KEY_ALL_KEYS:
        return np.int64(all_keys[row])
    code = np.int64(labels[label, row])
    if kind == KEY_POINTS:
        # a sum of weights, which may be negative
        return np.int64(counts[slot, row]) if code >= 0 else np.int64(0)
    if kind == KEY_CODE or code < 0:
        return code
    pods = np.int64(counts[slot, row])
    if kind == KEY_COUNT:
        return pods
    return np.int64(1) if pods > 0 else np.int64(0)


@rule
def _class_of(
    row: int, head: np.ndarray, keys: np.ndarray, columns: np.ndarray, labels: np.ndarray, counts: np.ndarray,
    statics: np.ndarray, all_keys: np.ndarray,
) -> int:  # fmt: skip
    """The class of a row, a new one if need be; -1 when there is no room for it."""
    width = columns.shape[0]
    known = head[CLASSES]
    room = keys.shape[0] - 1
    # the last row of the table is for the key looked up
    for k in range(width):
        keys[room, k] = _key_value(
            row, columns[k, 0], columns[k, 1], columns[k, 2], labels, counts, statics, all_keys
        )
    for c in range(known):
        same = True
        for k in range(width):
            if keys[c, k] != keys[room, k]:
                same = False
                break
        if same:
            return np.int64(c)
    if known == room:
        return np.int64(-1)
    for k in range(width):
        keys[known, k] = keys[room, k]
    head[CLASSES] = known + 1
    return known


@rule
def _count_sums(
    row: int, leaf: int, leaves: np.ndarray, entries: np.ndarray, labels: np.ndarray, counts: np.ndarray,
    masks: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Carry what changed in a row's tallies over to the sums of its domains."""
    for d in range(entries.shape[0]):
        pods = counts[entries[d, SUM_SLOT], row]
        change = pods - leaves[TALLIES + d, leaf]
        if change == 0:
            continue
        leaves[TALLIES + d, leaf] = pods
        code = np.int64(labels[entries[d, SUM_LABEL], row])
        if code >= 0 and masks[entries[d, SUM_MASK], row] != 0:
            if entries[d, SUM_WHOLE] != 0:
                code = np.int64(0)
            sums[entries[d, SUM_OFFSET] + code] += change


@rule
def _mend_class(leaf: int, which: int, head: np.ndarray, leaves: np.ndarray, tree: np.ndarray) -> None:
    """Work out a class's numbers again in all blocks above a leaf."""
    block = leaf >> FAN_BITS
    first = block << FAN_BITS
    count = np.int32(0)
    best = np.int32(-1)
    ties = np.int32(0)
    for i in range(first, min(first + FAN, head[LEAVES])):
        base = leaves[BASE, i]
        if leaves[CLASS, i] == which and base >= 0:
            count += np.int32(1)
            if base > best:
                best = base
                ties = np.int32(1)
            elif base == best:
                ties += np.int32(1)
    tree[block, which, COUNT] = count
    tree[block, which, BEST] = best
    tree[block, which, TIES] = ties
    for level in range(1, head[LEVELS]):
        below = head[OFFSETS + level - 1]
        end = head[OFFSETS + level] - below
        block >>= FAN_BITS
        first = block << FAN_BITS
        count = np.int32(0)
        best = np.int32(-1)
        ties = np.int32(0)
        for i in range(below + first, below + min(first + FAN, end)):
            count += tree[i, which, COUNT]
            if tree[i, which, BEST] > best:
                best = tree[i, which, BEST]
                ties = tree[i, which, TIES]
            elif tree[i, which, BEST] == best:
                ties += tree[i, which, TIES]
        at = head[OFFSETS + level] + block
        tree[at, which, COUNT] = count
        tree[at, which, BEST] = best
        tree[at, which, TIES] = ties


@rule
def _judge_classes(
    head: np.ndarray, keys: np.ndarray, rules: np.ndarray, itself: bool, sums: np.ndarray,
    fits: np.ndarray,
) -> None:  # fmt: skip
    """Which classes pass the rules about whole domains. fits int64[classes] is written."""
    classes = head[CLASSES]
    for c in range(classes):
        fits[c] = 1
    nobody = True
    for r in range(rules.shape[0]):
        if rules[r, KIND] == ATTRACT:
            width = np.int64(1) if rules[r, UNIQUE] != 0 else rules[r, DOMAINS]
            for d in range(width):
                nobody = nobody and sums[rules[r, OFFSET] + d] <= 0
    for r in range(rules.shape[0]):
        column = rules[r, RULE_KEY]
        if column < 0:
            continue
        kind, offset, domains = rules[r, KIND], rules[r, OFFSET], rules[r, DOMAINS]
        least = np.int64(2**31 - 1)
        if kind == HARD_SPREAD:
            present = np.int64(0)
            for d in range(domains):
                if sums[offset + domains + d] != 0:
                    present += 1
                    least = min(least, sums[offset + d])
            if present < rules[r, MIN_DOMAINS]:
                least = np.int64(0)
        for c in range(classes):
            value = keys[c, column]
            if kind == REPEL:
                if value >= 0 and sums[offset + value] > 0:
                    fits[c] = 0
            elif kind == ATTRACT:
                if value < 0:
                    fits[c] = 0
                elif not (nobody and itself):
                    if rules[r, UNIQUE] != 0:
                        if value == 0:
                            fits[c] = 0
                    elif sums[offset + value] <= 0:
                        fits[c] = 0
            elif value < 0:
                fits[c] = 0
            else:
                here = sums[offset + value] if sums[offset + domains + value] != 0 else np.int64(0)
                if here + rules[r, SELF_MATCH] - least > rules[r, MAX_SKEW]:
                    fits[c] = 0


@rule
def _gather(
    start: int, first_end: int, second_end: int, head: np.ndarray, leaves: np.ndarray, tree: np.ndarray,
    seen: np.ndarray,
) -> None:  # fmt: skip
    """Count, best and ties by class, into seen int64[classes, 3 or more], of the leaves from start to first_end and from
    0 to second_end (both exclusive)."""
    classes = head[CLASSES]
    for c in range(classes):
        seen[c, COUNT] = 0
        seen[c, BEST] = -1
        seen[c, TIES] = 0
    for segment in range(2):
        at = start if segment == 0 else np.int64(0)
        high = first_end if segment == 0 else second_end
        while at < high:
            if (at & (FAN - 1)) != 0 or at + FAN > high:
                base = leaves[BASE, at]
                if base >= 0:
                    c = leaves[CLASS, at]
                    seen[c, COUNT] += 1
                    if base > seen[c, BEST]:
                        seen[c, BEST] = base
                        seen[c, TIES] = 1
                    elif base == seen[c, BEST]:
                        seen[c, TIES] += 1
                at += 1
                continue
            level = np.int64(0)
            size = np.int64(FAN)
            while level + 1 < head[LEVELS] and (at & (size * FAN - 1)) == 0 and at + size * FAN <= high:
                level += 1
                size *= FAN
            block = head[OFFSETS + level] + at // size
            for c in range(classes):
                seen[c, COUNT] += tree[block, c, COUNT]
                best = np.int64(tree[block, c, BEST])
                if best > seen[c, BEST]:
                    seen[c, BEST] = best
                    seen[c, TIES] = tree[block, c, TIES]
                elif best == seen[c, BEST]:
                    seen[c, TIES] += tree[block, c, TIES]
            at += size


@rule
def _block_weight(block: int, head: np.ndarray, tree: np.ndarray, goal: np.ndarray) -> int:
    """Leaves of a block that count: goal -1: feasible ones of the class; goal >= 0: those with that base; -2: none."""
    weight = np.int64(0)
    for c in range(head[CLASSES]):
        if goal[c] == -1:
            weight += tree[block, c, COUNT]
        elif goal[c] >= 0 and tree[block, c, BEST] == goal[c]:
            weight += tree[block, c, TIES]
    return weight


@rule
def _leaf_counts(leaf: int, leaves: np.ndarray, goal: np.ndarray) -> bool:
    base = leaves[BASE, leaf]
    wanted = goal[leaves[CLASS, leaf]]
    return base >= 0 and (wanted == -1 or wanted == base)


@rule
def _nth(
    start: int, first_end: int, second_end: int, nth: int, head: np.ndarray, leaves: np.ndarray, tree: np.ndarray,
    goal: np.ndarray,
) -> int:  # fmt: skip
    """The leaf that counts after `nth` others, from start to first_end and then from 0 to second_end."""
    left = nth
    for segment in range(2):
        at = start if segment == 0 else np.int64(0)
        high = first_end if segment == 0 else second_end
        while at < high:
            level = np.int64(-1)
            size = np.int64(1)
            weight = np.int64(0)
            if (at & (FAN - 1)) == 0 and at + FAN <= high:
                # pass over the largest whole block that does not hold the leaf
                while level + 1 < head[LEVELS] and (at & (size * FAN - 1)) == 0 and at + size * FAN <= high:
                    above = _block_weight(head[OFFSETS + level + 1] + at // (size * FAN), head, tree, goal)
                    if above > left:
                        break
                    level += 1
                    size *= FAN
                    weight = above
            if level < 0:
                if _leaf_counts(at, leaves, goal):
                    if left == 0:
                        return at
                    left -= 1
                at += 1
                continue
            left -= weight
            at += size
    return np.int64(-1)


@rule
def _lowest_row(
    start: int, first_end: int, second_end: int, leaves: np.ndarray, goal: np.ndarray, places: np.ndarray
) -> int:
    """The smallest row among the leaves that count."""
    lowest = np.int64(2**62)
    for segment in range(2):
        for leaf in range(start if segment == 0 else np.int64(0), first_end if segment == 0 else second_end):
            if _leaf_counts(leaf, leaves, goal):
                lowest = min(lowest, places[ROW_OF, leaf])
    return lowest


@rule
def _one_of(
    start: int, first_end: int, second_end: int, ties: int, draw: float, head: np.ndarray, leaves: np.ndarray,
    tree: np.ndarray, goal: np.ndarray, places: np.ndarray,
) -> int:  # fmt: skip
    """The row chosen among the ties."""
    if head[LOWEST] != 0 and head[SAMPLED] != 0:
        return _lowest_row(start, first_end, second_end, leaves, goal, places)
    nth = np.int64(0)
    if head[LOWEST] == 0:
        nth = min(np.int64(draw * np.float64(ties)), ties - 1)
    return places[ROW_OF, _nth(start, first_end, second_end, nth, head, leaves, tree, goal)]


@rule
def _grade_classes(
    head: np.ndarray, keys: np.ndarray, seen: np.ndarray, soft: np.ndarray, points: np.ndarray, table: np.ndarray,
    sums: np.ndarray, grade: np.ndarray, spread: np.ndarray,
) -> None:  # fmt: skip
    """What normalised scores add to every class with feasible nodes found: grade int64[classes]; spread is scratch.

    The same steps, in the same order of additions, as `fused.finish`, once a class instead of once a node."""
    classes = head[CLASSES]
    top = table[fused.SCORE_TOP]
    most_taint = np.int64(0)
    most_affinity = np.int64(0)
    scored = np.int64(0)
    for c in range(classes):
        grade[c] = 0
        if seen[c, COUNT] > 0:
            most_taint = max(most_taint, keys[c, 0])
            most_affinity = max(most_affinity, keys[c, 1])
            if keys[c, 2] != 0:
                scored += seen[c, COUNT]
    most_spread = np.int64(0)
    least_spread = np.int64(2**62)
    if soft.shape[0] > 0:
        for c in range(classes):
            spread[c] = 0.0
        for s in range(soft.shape[0]):
            column = soft[s, SOFT_KEY]
            shift = np.float64(soft[s, fused.SOFT_SHIFT])
            if soft[s, fused.SOFT_HOST] != 0:
                weight = natural_log(np.float64(scored + 2))
                for c in range(classes):
                    if keys[c, column] >= 0:
                        spread[c] += np.float64(keys[c, column]) * weight + shift
                continue
            offset, domains = soft[s, fused.SOFT_OFFSET], soft[s, fused.SOFT_DOMAINS]
            for d in range(domains):
                sums[offset + domains + d] = 0
            present = np.int64(0)
            unlabelled = np.int64(0)
            for c in range(classes):
                if seen[c, COUNT] > 0 and keys[c, 2] != 0:
                    value = keys[c, column]
                    if value < 0:
                        unlabelled = np.int64(1)
                    elif sums[offset + domains + value] == 0:
                        sums[offset + domains + value] = 1
                        present += 1
            weight = natural_log(np.float64(present + unlabelled + 2))
            for c in range(classes):
                value = keys[c, column]
                if value >= 0:
                    spread[c] += np.float64(sums[offset + value]) * weight + shift
        rounded = table[fused.ROUNDED] != 0
        for c in range(classes):
            if seen[c, COUNT] > 0 and keys[c, 2] != 0:
                whole = np.int64(np.floor(spread[c] + 0.5)) if rounded else np.int64(spread[c])
                spread[c] = np.float64(whole)
                most_spread = max(most_spread, whole)
                least_spread = min(least_spread, whole)
    low = np.int64(0)
    high = np.int64(0)
    if points.shape[0] > 0:
        for c in range(classes):
            for p in range(points.shape[0]):
                value = keys[c, points[p, POINT_KEY]]
                if points[p, fused.POINT_UNIQUE] != 0:
                    grade[c] += value
                elif value >= 0:
                    grade[c] += sums[points[p, fused.POINT_OFFSET] + value]
        if table[fused.FROM_ZERO] == 0:
            low = np.int64(2**62)
            high = np.int64(-(2**62))
        for c in range(classes):
            if seen[c, COUNT] > 0:
                low = min(low, grade[c])
                high = max(high, grade[c])
    for c in range(classes):
        if seen[c, COUNT] == 0:
            continue
        extra = np.int64(0)
        if most_taint > 0:
            extra += table[fused.TAINT_WEIGHT] * (top - top * keys[c, 0] // most_taint)
        else:
            extra += table[fused.TAINT_WEIGHT] * top
        if most_affinity > 0:
            extra += table[fused.AFFINITY_WEIGHT] * (top * keys[c, 1] // most_affinity)
        if soft.shape[0] > 0 and keys[c, 2] != 0:
            share = top
            if most_spread > 0:
                share = top * (most_spread + least_spread - np.int64(spread[c])) // most_spread
            extra += table[fused.SPREAD_WEIGHT] * share
        if high > low:
            of_span = np.float64(grade[c] - low) / np.float64(high - low)
            extra += table[fused.POINTS_WEIGHT] * np.int64(np.float64(top) * of_span)
        grade[c] = extra


@rule
def refresh_leaf(
    leaf: int, amounts: np.ndarray, labels: np.ndarray, counts: np.ndarray, head: np.ndarray, leaves: np.ndarray,
    tree: np.ndarray, keys: np.ndarray, columns: np.ndarray, entries: np.ndarray, ok: np.ndarray, statics: np.ndarray,
    resources: np.ndarray, extra: np.ndarray, masks: np.ndarray, rules: np.ndarray, table: np.ndarray, sums: np.ndarray,
    places: np.ndarray,
) -> bool:  # fmt: skip
    """Bring one leaf, its domains' sums and the blocks above it up to date; False when its class finds no room."""
    row = places[ROW_OF, leaf]
    _count_sums(row, leaf, leaves, entries, labels, counts, masks, sums)
    base = np.int32(_leaf_base(row, amounts, labels, counts, ok, statics, resources, extra, rules))
    which = _class_of(row, head, keys, columns, labels, counts, statics, masks[table[fused.ALL_KEYS]])
    if which < 0:
        return False
    old_base, old_class = leaves[BASE, leaf], leaves[CLASS, leaf]
    if base == old_base and which == old_class:
        return True
    leaves[BASE, leaf] = base
    leaves[CLASS, leaf] = np.int32(which)
    if old_class != which:
        _mend_class(leaf, np.int64(old_class), head, leaves, tree)
    _mend_class(leaf, which, head, leaves, tree)
    return True


@compiled
def fill_tree(head: np.ndarray, leaves: np.ndarray, tree: np.ndarray) -> None:
    """Work out all blocks of an empty tree from the leaves, level by level."""
    for leaf in range(head[LEAVES]):
        which, base = leaves[CLASS, leaf], leaves[BASE, leaf]
        if base >= 0:
            block = leaf >> FAN_BITS
            tree[block, which, COUNT] += np.int32(1)
            if base > tree[block, which, BEST]:
                tree[block, which, BEST] = base
                tree[block, which, TIES] = np.int32(1)
            elif base == tree[block, which, BEST]:
                tree[block, which, TIES] += np.int32(1)
    for level in range(1, head[LEVELS]):
        below = head[OFFSETS + level - 1]
        for child in range(below, head[OFFSETS + level]):
            at = head[OFFSETS + level] + ((child - below) >> FAN_BITS)
            for c in range(head[CLASSES]):
                best = tree[child, c, BEST]
                tree[at, c, COUNT] += tree[child, c, COUNT]
                if best > tree[at, c, BEST]:
                    tree[at, c, BEST] = best
                    tree[at, c, TIES] = tree[child, c, TIES]
                elif best == tree[at, c, BEST]:
                    tree[at, c, TIES] += tree[child, c, TIES]


@compiled
def decide_indexed(
    amounts: np.ndarray, labels: np.ndarray, counts: np.ndarray, log: np.ndarray, draw: float, report: np.ndarray,
    wanted: int, head: np.ndarray, leaves: np.ndarray, tree: np.ndarray, keys: np.ndarray, columns: np.ndarray,
    entries: np.ndarray, ok: np.ndarray, statics: np.ndarray, resources: np.ndarray, extra: np.ndarray,
    masks: np.ndarray, rules: np.ndarray, soft: np.ndarray, points: np.ndarray, table: np.ndarray, sums: np.ndarray,
    places: np.ndarray, work: np.ndarray, spread: np.ndarray,
) -> int:  # fmt: skip
    """Bring an index up to date and decide: the row chosen, -1 for none, STALE or OVERFLOW when the full path must.

    wanted: feasible nodes that end the search; draw in [0, 1): which of the ties. report int64[7] is written."""
    if log[0] - head[SEEN] > head[LIMIT]:
        return np.int64(STALE)
    for change in range(head[SEEN], log[0]):
        leaf = places[LEAF_OF, log[1 + (change & (LOG_SIZE - 1))]]
        if leaf >= 0 and not refresh_leaf(
            leaf, amounts, labels, counts, head, leaves, tree, keys, columns, entries, ok, statics, resources, extra,
            masks, rules, table, sums, places,
        ):  # fmt: skip
            return np.int64(OVERFLOW)
    head[SEEN] = log[0]
    total = head[LEAVES]
    classes = head[CLASSES]
    root = head[OFFSETS + head[LEVELS] - 1]
    _judge_classes(head, keys, rules, head[ITSELF] != 0, sums, work[:, FITS])
    feasible = np.int64(0)
    for c in range(classes):
        work[c, GOAL] = -2
        if work[c, FITS] != 0:
            work[c, GOAL] = -1
            feasible += tree[root, c, COUNT]
    start = report[START] % total if head[SAMPLED] != 0 else np.int64(0)
    # the nodes found lie from start to first_end and from 0 to second_end
    first_end, second_end = total, start
    processed = total
    if feasible > wanted:
        stop = _nth(start, total, start, wanted, head, leaves, tree, work[:, GOAL])
        processed = stop - start if stop >= start else stop - start + total
        first_end = stop if stop >= start else total
        second_end = stop if stop < start else np.int64(0)
    evaluated = min(processed + 1, total)
    if processed == total:
        for c in range(classes):
            work[c, COUNT] = tree[root, c, COUNT]
            work[c, BEST] = tree[root, c, BEST]
            work[c, TIES] = tree[root, c, TIES]
    else:
        _gather(start, first_end, second_end, head, leaves, tree, work)
    feasible = np.int64(0)
    for c in range(classes):
        if work[c, FITS] == 0:
            work[c, COUNT] = 0
        feasible += work[c, COUNT]
    _grade_classes(head, keys, work, soft, points, table, sums, work[:, GRADE], spread)
    best = np.int64(-1)
    for c in range(classes):
        if work[c, COUNT] > 0:
            best = max(best, work[c, BEST] + work[c, GRADE])
    ties = np.int64(0)
    for c in range(classes):
        work[c, GOAL] = -2
        if work[c, COUNT] > 0 and work[c, BEST] + work[c, GRADE] == best:
            work[c, GOAL] = work[c, BEST]
            ties += work[c, TIES]
    report[fused.FEASIBLE] = feasible
    report[fused.BEST] = best
    report[fused.TIES] = ties
    report[PROCESSED] = processed
    report[EVALUATED] = evaluated
    report[START] = (report[START] + processed) % total
    chosen = np.int64(-1)
    if ties > 0:
        chosen = _one_of(start, first_end, second_end, ties, draw, head, leaves, tree, work[:, GOAL], places)
    report[fused.CHOSEN] = chosen
    return chosen


@compiled
def decide_indexed_plain(
    amounts: np.ndarray, log: np.ndarray, draw: float, report: np.ndarray, wanted: int, head: np.ndarray,
    leaves: np.ndarray, tree: np.ndarray, ok: np.ndarray, resources: np.ndarray, extra: np.ndarray, places: np.ndarray,
    work: np.ndarray,
) -> int:  # fmt: skip
    """`decide_indexed` for a plan without rules about other pods or normalised scores: all nodes are one class."""
    if log[0] - head[SEEN] > head[LIMIT]:
        return np.int64(STALE)
    for change in range(head[SEEN], log[0]):
        leaf = places[LEAF_OF, log[1 + (change & (LOG_SIZE - 1))]]
        if leaf < 0:
            continue
        row = places[ROW_OF, leaf]
        base = np.int32(-1)
        if ok[row] != 0 and fits_row(amounts, row, extra, resources):
            base = np.int32(base_row(amounts, row, resources))
        if base != leaves[BASE, leaf]:
            leaves[BASE, leaf] = base
            _mend_class(leaf, np.int64(0), head, leaves, tree)
    head[SEEN] = log[0]
    total = head[LEAVES]
    root = head[OFFSETS + head[LEVELS] - 1]
    feasible = np.int64(tree[root, 0, COUNT])
    best = np.int64(tree[root, 0, BEST])
    ties = np.int64(tree[root, 0, TIES])
    start = report[START] % total if head[SAMPLED] != 0 else np.int64(0)
    first_end, second_end = total, start
    processed = total
    goal = work[:, GOAL]
    if feasible > wanted:
        goal[0] = -1
        stop = _nth(start, total, start, wanted, head, leaves, tree, goal)
        processed = stop - start if stop >= start else stop - start + total
        first_end = stop if stop >= start else total
        second_end = stop if stop < start else np.int64(0)
        _gather(start, first_end, second_end, head, leaves, tree, work)
        feasible, best, ties = work[0, COUNT], work[0, BEST], work[0, TIES]
    report[fused.FEASIBLE] = feasible
    report[fused.BEST] = best
    report[fused.TIES] = ties
    report[PROCESSED] = processed
    report[EVALUATED] = min(processed + 1, total)
    report[START] = (report[START] + processed) % total
    chosen = np.int64(-1)
    if best >= 0:
        goal[0] = best
        chosen = _one_of(start, first_end, second_end, ties, draw, head, leaves, tree, goal, places)
    report[fused.CHOSEN] = chosen
    return chosen


def shaped_for_index(plan: Plan) -> bool:
    """Can the plan's rules be judged class by class? Not with a key of many shared domains, nor with hard spreading over
    a key that is different on every node."""
    for each in plan.rules.tolist():
        if each[KIND] == HARD_SPREAD and each[UNIQUE]:
            return False
        if each[KIND] != OCCUPIED and not each[UNIQUE] and each[DOMAINS] > MAX_DOMAINS:
            return False
    if any(not each[fused.SOFT_HOST] and each[fused.SOFT_DOMAINS] > MAX_DOMAINS for each in plan.soft.tolist()):
        return False
    return not any(
        not each[fused.POINT_UNIQUE] and each[fused.POINT_DOMAINS] > MAX_DOMAINS for each in plan.points.tolist()
    )


@dataclass(slots=True)
class _Keys:
    """Class key columns and sums by domain, as they are collected from a plan."""

    columns: list[tuple[int, int, int]]
    entries: list[tuple[int, int, int, int, int]]

    def key(self, kind: int, slot: int, label: int) -> int:
        """The position of a class key column, new if need be."""
        if (kind, slot, label) not in self.columns:
            self.columns.append((kind, slot, label))
        return self.columns.index((kind, slot, label))


class Index:
    """What is kept for one spec."""

    def __init__(
        self, plan: Plan, places: np.ndarray, leaves: int, wanted: int, classes: int, sampled: bool, lowest: bool
    ) -> None:
        self.plan = plan
        self.classes = classes
        keys = _Keys([(KEY_TAINT, 0, 0), (KEY_AFFINITY, 0, 0), (KEY_ALL_KEYS, 0, 0)], [])
        rule_keys = [self._rule(keys, each) for each in plan.rules.tolist()]
        soft_keys = [self._soft(keys, each) for each in plan.soft.tolist()]
        point_keys = [self._point(keys, each) for each in plan.points.tolist()]
        self.columns = np.array(keys.columns, np.int64).reshape(-1, 3)
        self.entries = np.array(keys.entries, np.int64).reshape(-1, 5)
        self.rules = _with_column(plan.rules, rule_keys)
        self.soft = _with_column(plan.soft, soft_keys)
        self.points = _with_column(plan.points, point_keys)
        self.sums = np.zeros(plan.room, np.int64)
        self.places = places
        self.head = np.zeros(HEAD_SIZE, np.int64)
        self.head[LEAVES], self.head[ITSELF] = leaves, int(plan.itself)
        self.head[SAMPLED], self.head[LOWEST] = int(sampled), int(lowest)
        blocks, width, level = 0, leaves, 0
        while True:
            width = -(-width // FAN)
            self.head[OFFSETS + level] = blocks
            blocks += width
            level += 1
            if width == 1:
                break
        self.head[LEVELS] = level
        self.leaves = np.zeros((TALLIES + len(keys.entries), leaves), np.int32)
        self.tree = np.zeros((blocks, classes, 3), np.int32)
        self.tree[:, :, BEST] = -1
        self.keys = np.zeros((classes + 1, len(keys.columns)), np.int64)
        self.work = np.zeros((classes, 6), np.int64)
        self.spread = np.zeros(classes, np.float64)
        self.plain = plan.plain and not len(plan.rules)
        if self.plain:
            self.fixed: tuple[object, ...] = (
                wanted, self.head, self.leaves, self.tree, plan.ok, plan.resources, plan.extra, places, self.work,
            )  # fmt: skip
        else:
            self.fixed = (
                wanted, self.head, self.leaves, self.tree, self.keys, self.columns, self.entries, plan.ok, plan.statics,
                plan.resources, plan.extra, plan.masks, self.rules, self.soft, self.points, plan.scores, self.sums,
                places, self.work, self.spread,
            )  # fmt: skip
        self.bytes = self.leaves.nbytes + self.tree.nbytes + self.sums.nbytes

    def fill(self, amounts: np.ndarray, labels: np.ndarray, counts: np.ndarray, log: np.ndarray) -> int:
        """Look at every node; returns the number of classes, and fills nothing when there is no room for them."""
        plan, rows, count = self.plan, self.places[ROW_OF, : self.head[LEAVES]], len(self.plan.ok)
        columns = [
            self._column(kind, slot, label, rows, labels, counts) for kind, slot, label in self.columns.tolist()
        ]
        classes, number = _classify(columns)
        if number > self.classes:
            return number
        totals, fits = np.empty(count, np.int32), np.empty(count, np.uint8)
        fused.dense_base.fast(amounts, plan.ok, plan.extra, plan.resources, count, fits, totals)
        base = totals[rows]
        base[base >= 0] += plan.statics[fused.FLAT, rows][base >= 0]
        for each in self.rules.tolist():
            if each[KIND] == OCCUPIED:
                base[counts[each[SLOT], rows] > 0] = -1
            elif each[KIND] == REPEL and each[UNIQUE]:
                base[(labels[each[LABEL], rows] >= 0) & (counts[each[SLOT], rows] > 0)] = -1
            elif each[KIND] == HARD_SPREAD:
                # the second half of the segment marks the domains that count
                codes = labels[each[LABEL], :count]
                founding = codes[(plan.masks[each[fused.FOUNDING]] != 0) & (codes >= 0)]
                self.sums[each[OFFSET] + each[DOMAINS] + founding] = 1
        for position, (slot, label, mask, offset, whole) in enumerate(self.entries.tolist()):
            pods = counts[slot, rows]
            self.leaves[TALLIES + position] = pods
            codes = labels[label, rows]
            taken = (codes >= 0) & (plan.masks[mask, rows] != 0)
            domains = np.zeros(int(taken.sum()), np.int32) if whole else codes[taken]
            # sums of small integers are exact in float64
            found = np.bincount(domains, weights=pods[taken]).astype(np.int64)
            self.sums[offset : offset + len(found)] = found
        self.leaves[BASE], self.leaves[CLASS] = base, classes
        example = np.zeros(number, np.int64)
        example[classes] = np.arange(len(classes))
        for position, column in enumerate(columns):
            self.keys[:number, position] = column[example]
        self.head[SEEN], self.head[CLASSES] = log[0], number
        fill_tree(self.head, self.leaves, self.tree)
        return number

    def _column(
        self, kind: int, slot: int, label: int, rows: np.ndarray, labels: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """One column of the class keys, int64 a leaf; the twin of `_key_value`."""
        plan = self.plan
        if kind == KEY_TAINT:
            return plan.statics[fused.TAINT_RAW, rows].astype(np.int64)
        if kind == KEY_AFFINITY:
            return plan.statics[fused.AFFINITY_RAW, rows].astype(np.int64)
        if kind == KEY_ALL_KEYS:
            return plan.masks[plan.scores[fused.ALL_KEYS], rows].astype(np.int64)
        codes = labels[label, rows].astype(np.int64)
        if kind == KEY_CODE:
            return codes
        pods = counts[slot, rows].astype(np.int64)
        if kind == KEY_POINTS:
            return np.where(codes >= 0, pods, 0)
        return np.where(codes >= 0, pods if kind == KEY_COUNT else pods > 0, codes)

    def limit(self, changes: int) -> None:
        """Above this many changed rows a decision is left to the full path."""
        self.head[LIMIT] = min(changes, LOG_SIZE)

    @staticmethod
    def _sum(keys: _Keys, slot: int, label: int, mask: int, offset: int, whole: bool = False) -> None:
        keys.entries.append((slot, label, mask, offset, int(whole)))

    def _rule(self, keys: _Keys, given: list[int]) -> int:
        kind, slot, label = given[KIND], given[SLOT], given[LABEL]
        if kind == OCCUPIED or (kind == REPEL and given[UNIQUE]):
            return -1
        self._sum(keys, slot, label, given[COUNTING], given[OFFSET], whole=bool(given[UNIQUE]))
        return keys.key(KEY_COMPANY, slot, label) if given[UNIQUE] else keys.key(KEY_CODE, 0, label)

    def _soft(self, keys: _Keys, given: list[int]) -> int:
        slot, label = given[fused.SOFT_SLOT], given[fused.SOFT_LABEL]
        if given[fused.SOFT_HOST]:
            return keys.key(KEY_COUNT, slot, label)
        self._sum(keys, slot, label, given[fused.SOFT_MASK], given[fused.SOFT_OFFSET])
        return keys.key(KEY_CODE, 0, label)

    def _point(self, keys: _Keys, given: list[int]) -> int:
        slot, label = given[fused.POINT_SLOT], given[fused.POINT_LABEL]
        if given[fused.POINT_UNIQUE]:
            return keys.key(KEY_POINTS, slot, label)
        self._sum(keys, slot, label, 0, given[fused.POINT_OFFSET])
        return keys.key(KEY_CODE, 0, label)


_DENSE_KEYS = 2**20
"""Class keys are told apart by a table of this many entries, beyond that by sorting."""


def _classify(columns: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """(class of every leaf, number of classes): leaves agree in all columns exactly when their classes do."""
    combined = np.zeros(len(columns[0]), np.int64)
    size = 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if high == low:
            continue
        combined = combined * (high - low + 1) + (column - low)
        size *= high - low + 1
        if size > _DENSE_KEYS:
            known, combined = np.unique(combined, return_inverse=True)
            size = len(known)
    present = np.zeros(size, bool)
    present[combined] = True
    numbers = np.cumsum(present) - 1
    return numbers[combined].astype(np.int32), int(present.sum())


def _with_column(table: np.ndarray, column: list[int]) -> np.ndarray:
    return np.ascontiguousarray(np.hstack([table, np.array(column, np.int64).reshape(-1, 1)]))
