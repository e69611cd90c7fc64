"""The full path, fused: all filters and scores of a known profile in a few passes over the node columns.

The plugins stay the truth (`Core.compose`); these loops say the same faster, and tests hold the two equal. A pod's plan
(`sim.scheduler.plan`) turns its spec into the small tables they read.
"""

# In compiled code int is int64 and float float64; mypy sees numpy scalars.
# mypy: disable-error-code="return-value, assignment, arg-type"

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel, rule
from sim.state.nodes import CPU, MEMORY, NONZERO_CPU, NONZERO_MEMORY, PODS, allocatable_row, requested_row

# Columns of `amounts` that the default scores read.
_ALLOCATABLE_CPU, _REQUESTED_CPU = allocatable_row(CPU), requested_row(CPU)
_ALLOCATABLE_MEMORY, _REQUESTED_MEMORY = allocatable_row(MEMORY), requested_row(MEMORY)
_ALLOCATABLE_PODS, _REQUESTED_PODS = allocatable_row(PODS), requested_row(PODS)

# Entries of the resource table, int64[11].
FIT_CPU, FIT_MEMORY, SCORE_CPU, SCORE_MEMORY, BALANCE_CPU, BALANCE_MEMORY = 0, 1, 2, 3, 4, 5
FIT_WEIGHT, BALANCE_WEIGHT, CONSTANT, LEGACY, TOP = 6, 7, 8, 9, 10
RESOURCE_TABLE_SIZE = 11
ALWAYS_FITS = -(2**62)
"""Threshold for a resource the filter does not check."""
EXACT_BELOW = 2**46
"""Allocatable amounts below this divide exactly in float64: a quotient up to 100 cannot round up to an integer."""

# Kinds of topology rules and the columns of their table, int64[rules, 11].
HARD_SPREAD, REPEL, ATTRACT, OCCUPIED = 0, 1, 2, 3
KIND, LABEL, SLOT, UNIQUE, DOMAINS, FOUNDING, COUNTING, SELF_MATCH, MAX_SKEW, MIN_DOMAINS, OFFSET = range(11)
RULE_COLUMNS = 11
_NO_DOMAIN_MINIMUM = 2**31 - 1

# Entries of the score table, int64[10].
TAINT_WEIGHT, AFFINITY_WEIGHT, SPREAD_WEIGHT, POINTS_WEIGHT, ALL_KEYS, ROUNDED, FROM_ZERO, SCORE_TOP = range(8)
SCORE_TABLE_SIZE = 8
# Rows of the static columns, int32[3, n].
TAINT_RAW, AFFINITY_RAW, FLAT = 0, 1, 2
# Columns of the soft spreading table, int64[soft, 7].
SOFT_LABEL, SOFT_SLOT, SOFT_HOST, SOFT_DOMAINS, SOFT_MASK, SOFT_SHIFT, SOFT_OFFSET = range(7)
SOFT_COLUMNS = 7
# Columns of the affinity points table, int64[keys, 5].
POINT_LABEL, POINT_SLOT, POINT_UNIQUE, POINT_DOMAINS, POINT_OFFSET = range(5)
POINT_COLUMNS = 5

# What `finish` and `choose` report, int64[4 or more].
FEASIBLE, BEST, TIES, CHOSEN = 0, 1, 2, 3


@rule
def default_base(
    allocatable_cpu: int, allocatable_memory: int, requested_cpu: int, requested_memory: int, nonzero_cpu: int,
    nonzero_memory: int, score_cpu: int, score_memory: int, balance_cpu: int, balance_memory: int, fit_weight: int,
    balance_weight: int,
) -> int:  # fmt: skip
    """Weighted LeastAllocated and balanced scores of 1.34 over CPU and memory; written so that loops vectorise."""
    has_cpu = allocatable_cpu != 0
    has_memory = allocatable_memory != 0
    both = has_cpu & has_memory
    cpu = np.float64(allocatable_cpu if has_cpu else np.int64(1))
    memory = np.float64(allocatable_memory if has_memory else np.int64(1))
    wanted_cpu = nonzero_cpu + score_cpu
    wanted_memory = nonzero_memory + score_memory
    free_cpu = np.int64(np.float64((allocatable_cpu - wanted_cpu) * 100) / cpu)
    free_memory = np.int64(np.float64((allocatable_memory - wanted_memory) * 100) / memory)
    free_cpu = free_cpu if (wanted_cpu <= allocatable_cpu) & has_cpu else np.int64(0)
    free_memory = free_memory if (wanted_memory <= allocatable_memory) & has_memory else np.int64(0)
    free = free_cpu + free_memory
    free = free >> 1 if both else free
    first = np.float64(requested_cpu + balance_cpu) / cpu
    second = np.float64(requested_memory + balance_memory) / memory
    first = first if first < 1.0 else 1.0
    second = second if second < 1.0 else 1.0
    balance = np.int64((1.0 - abs((first - second) / 2.0)) * 100.0)
    balance = balance if both else np.int64(100)
    return fit_weight * free + balance_weight * balance


@rule
def legacy_base(
    allocatable_cpu: int, allocatable_memory: int, requested_cpu: int, requested_memory: int, nonzero_cpu: int,
    nonzero_memory: int, score_cpu: int, score_memory: int, fit_weight: int, balance_weight: int, top: int,
) -> int:  # fmt: skip
    """The same with the arithmetic of 1.20 and 1.12: defaults count in both scores, a full resource balances to 0."""
    has_cpu = allocatable_cpu != 0
    has_memory = allocatable_memory != 0
    cpu = np.float64(allocatable_cpu if has_cpu else np.int64(1))
    memory = np.float64(allocatable_memory if has_memory else np.int64(1))
    wanted_cpu = nonzero_cpu + score_cpu
    wanted_memory = nonzero_memory + score_memory
    free_cpu = np.int64(np.float64((allocatable_cpu - wanted_cpu) * top) / cpu)
    free_memory = np.int64(np.float64((allocatable_memory - wanted_memory) * top) / memory)
    free_cpu = free_cpu if (wanted_cpu <= allocatable_cpu) & has_cpu else np.int64(0)
    free_memory = free_memory if (wanted_memory <= allocatable_memory) & has_memory else np.int64(0)
    first = np.float64(wanted_cpu) / cpu
    second = np.float64(wanted_memory) / memory
    room = (first < 1.0) & (second < 1.0) & has_cpu & has_memory
    first = first if room else 0.0
    second = second if room else 0.0
    balance = np.int64((1.0 - abs(first - second)) * np.float64(top))
    balance = balance if room else np.int64(0)
    return fit_weight * ((free_cpu + free_memory) >> 1) + balance_weight * balance


@rule
def natural_log(x: float) -> float:
    """ln x, bit for bit as Go computes it; the twin of `pod_topology_spread.natural_log`."""
    fraction, exponent = math.frexp(x)
    if fraction < 0.7071067811865476:
        fraction *= 2.0
        exponent -= 1
    f = fraction - 1.0
    k = np.float64(exponent)
    s = f / (2.0 + f)
    s2 = s * s
    s4 = s2 * s2
    odd = s2 * (
        6.666666666666735130e-01
        + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01))
    )
    even = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01))
    half = 0.5 * f * f
    return k * 6.93147180369123816490e-01 - (
        (half - (s * (half + (odd + even)) + k * 1.90821492927058770002e-10)) - f
    )


@rule
def pick(totals: np.ndarray, count: int, draw: float, lowest: bool, rows: np.ndarray, report: np.ndarray) -> None:
    """Choose among the best of int32 totals (negative: infeasible). draw in [0, 1): which of the ties; lowest: the
    smallest row instead. rows int64 (empty: position is row). Writes `report`."""
    best = np.int32(-1)
    for i in range(count):
        best = max(best, totals[i])
    report[BEST] = best
    report[TIES] = 0
    report[CHOSEN] = -1
    if best < 0:
        return
    ties = np.int64(0)
    for i in range(count):
        ties += totals[i] == best
    report[TIES] = ties
    dense = rows.shape[0] == 0
    if lowest:
        chosen = np.int64(2**62)
        for i in range(count):
            if totals[i] == best:
                chosen = min(chosen, np.int64(i) if dense else rows[i])
                if dense:
                    break
        report[CHOSEN] = chosen
        return
    left = min(np.int64(draw * np.float64(ties)), ties - 1)
    for i in range(count):
        if totals[i] == best:
            if left == 0:
                report[CHOSEN] = np.int64(i) if dense else rows[i]
                return
            left -= 1


def _fits_twin(amounts: np.ndarray, rows: np.ndarray, extra: np.ndarray, table: np.ndarray) -> np.ndarray:
    fits = amounts[_REQUESTED_PODS, rows] < amounts[_ALLOCATABLE_PODS, rows]
    wanted = [(CPU, int(table[FIT_CPU])), (MEMORY, int(table[FIT_MEMORY])), *extra.tolist()]
    for resource, amount in wanted:
        fits &= amount <= amounts[allocatable_row(resource), rows] - amounts[requested_row(resource), rows]
    return fits


def _base_twin(amounts: np.ndarray, row: int, table: np.ndarray) -> int:
    top, legacy = int(table[TOP]), bool(table[LEGACY])
    shares: list[int] = []
    fractions: list[float] = []
    for resource, nonzero, score, balance in (
        (CPU, NONZERO_CPU, SCORE_CPU, BALANCE_CPU),
        (MEMORY, NONZERO_MEMORY, SCORE_MEMORY, BALANCE_MEMORY),
    ):
        capacity = int(amounts[allocatable_row(resource), row])
        wanted = int(amounts[nonzero, row]) + int(table[score])
        if capacity or legacy:
            shares.append((capacity - wanted) * top // capacity if capacity > 0 and wanted <= capacity else 0)
        if legacy:
            fractions.append(wanted / capacity if capacity else 1.0)
        elif capacity:
            fractions.append(min((int(amounts[requested_row(resource), row]) + int(table[balance])) / capacity, 1.0))
    free = sum(shares) // len(shares) if shares else 0
    if legacy:
        balanced = 0 if max(fractions) >= 1 else int((1.0 - abs(fractions[0] - fractions[1])) * float(top))
    else:
        apart = abs((fractions[0] - fractions[1]) / 2.0) if len(fractions) == 2 else 0.0
        balanced = int((1.0 - apart) * 100.0)
    return int(table[FIT_WEIGHT]) * free + int(table[BALANCE_WEIGHT]) * balanced + int(table[CONSTANT])


def _dense_base_twin(
    amounts: np.ndarray, ok: np.ndarray, extra: np.ndarray, table: np.ndarray, count: int, fits: np.ndarray,
    totals: np.ndarray,
) -> int:  # fmt: skip
    rows = np.arange(count)
    fits[:count] = _fits_twin(amounts, rows, extra, table) & (ok[:count] != 0)
    for row in rows:
        totals[row] = _base_twin(amounts, row, table) if fits[row] else -1
    return int(fits[:count].sum())


@kernel(reference=_dense_base_twin)
def dense_base(
    amounts: np.ndarray, ok: np.ndarray, extra: np.ndarray, table: np.ndarray, count: int, fits: np.ndarray,
    totals: np.ndarray,
) -> int:  # fmt: skip
    """Filter by resources and score by the default strategy, all rows: int32 totals, -1 where infeasible.

    ok uint8[n]: what all other filters say; extra int64[k, 2]: further resources and amounts; table: see the constants;
    fits uint8[n] is written too. Allocatable amounts must be below EXACT_BELOW. Returns the number of feasible rows.
    Two loops, because LLVM vectorises loops over at most eight columns."""
    allocatable_cpu, allocatable_memory = amounts[_ALLOCATABLE_CPU], amounts[_ALLOCATABLE_MEMORY]
    requested_cpu, requested_memory = amounts[_REQUESTED_CPU], amounts[_REQUESTED_MEMORY]
    nonzero_cpu, nonzero_memory = amounts[NONZERO_CPU], amounts[NONZERO_MEMORY]
    allocatable_pods, requested_pods = amounts[_ALLOCATABLE_PODS], amounts[_REQUESTED_PODS]
    fit_cpu, fit_memory = table[FIT_CPU], table[FIT_MEMORY]
    for i in range(count):
        fits[i] = (
            (ok[i] != 0)
            & (requested_pods[i] < allocatable_pods[i])
            & (fit_cpu <= allocatable_cpu[i] - requested_cpu[i])
            & (fit_memory <= allocatable_memory[i] - requested_memory[i])
        )
    for k in range(extra.shape[0]):
        allocatable = amounts[2 + 2 * extra[k, 0]]
        requested = amounts[3 + 2 * extra[k, 0]]
        amount = extra[k, 1]
        for i in range(count):
            fits[i] &= amount <= allocatable[i] - requested[i]
    score_cpu, score_memory = table[SCORE_CPU], table[SCORE_MEMORY]
    balance_cpu, balance_memory = table[BALANCE_CPU], table[BALANCE_MEMORY]
    fit_weight, balance_weight, constant, top = table[FIT_WEIGHT], table[BALANCE_WEIGHT], table[CONSTANT], table[TOP]
    if table[LEGACY] != 0:
        for i in range(count):
            base = constant + legacy_base(
                allocatable_cpu[i], allocatable_memory[i], requested_cpu[i], requested_memory[i], nonzero_cpu[i],
                nonzero_memory[i], score_cpu, score_memory, fit_weight, balance_weight, top,
            )  # fmt: skip
            totals[i] = np.int32(base) if fits[i] != 0 else np.int32(-1)
    else:
        for i in range(count):
            base = constant + default_base(
                allocatable_cpu[i], allocatable_memory[i], requested_cpu[i], requested_memory[i], nonzero_cpu[i],
                nonzero_memory[i], score_cpu, score_memory, balance_cpu, balance_memory, fit_weight, balance_weight,
            )  # fmt: skip
            totals[i] = np.int32(base) if fits[i] != 0 else np.int32(-1)
    feasible = np.int64(0)
    for i in range(count):
        feasible += fits[i]
    return feasible


@rule
def fits_row(amounts: np.ndarray, row: int, extra: np.ndarray, table: np.ndarray) -> bool:
    """Does one row pass the resource filter?"""
    if amounts[_REQUESTED_PODS, row] >= amounts[_ALLOCATABLE_PODS, row]:
        return False
    if table[FIT_CPU] > amounts[_ALLOCATABLE_CPU, row] - amounts[_REQUESTED_CPU, row]:
        return False
    if table[FIT_MEMORY] > amounts[_ALLOCATABLE_MEMORY, row] - amounts[_REQUESTED_MEMORY, row]:
        return False
    fits = True
    for k in range(extra.shape[0]):
        fits &= extra[k, 1] <= amounts[2 + 2 * extra[k, 0], row] - amounts[3 + 2 * extra[k, 0], row]
    return fits


@rule
def base_row(amounts: np.ndarray, row: int, table: np.ndarray) -> int:
    """The default strategy's score of one row, and the constant."""
    if table[LEGACY] != 0:
        return table[CONSTANT] + legacy_base(
            amounts[_ALLOCATABLE_CPU, row], amounts[_ALLOCATABLE_MEMORY, row], amounts[_REQUESTED_CPU, row],
            amounts[_REQUESTED_MEMORY, row], amounts[NONZERO_CPU, row], amounts[NONZERO_MEMORY, row],
            table[SCORE_CPU], table[SCORE_MEMORY], table[FIT_WEIGHT], table[BALANCE_WEIGHT], table[TOP],
        )  # fmt: skip
    return table[CONSTANT] + default_base(
        amounts[_ALLOCATABLE_CPU, row], amounts[_ALLOCATABLE_MEMORY, row], amounts[_REQUESTED_CPU, row],
        amounts[_REQUESTED_MEMORY, row], amounts[NONZERO_CPU, row], amounts[NONZERO_MEMORY, row], table[SCORE_CPU],
        table[SCORE_MEMORY], table[BALANCE_CPU], table[BALANCE_MEMORY], table[FIT_WEIGHT], table[BALANCE_WEIGHT],
    )  # fmt: skip


def _scan_twin(
    amounts: np.ndarray, ok: np.ndarray, extra: np.ndarray, table: np.ndarray, walk: np.ndarray, start: int,
    wanted: int, rows: np.ndarray, totals: np.ndarray,
) -> tuple[int, int, int]:  # fmt: skip
    turned = np.roll(walk, -start)
    feasible = _fits_twin(amounts, turned, extra, table) & (ok[turned] != 0)
    positions = np.flatnonzero(feasible)
    stop = int(positions[wanted]) if len(positions) > wanted else len(walk)
    found = turned[positions[:wanted]]
    rows[: len(found)] = found
    for i, row in enumerate(found):
        totals[i] = _base_twin(amounts, int(row), table)
    return len(found), stop, min(stop + 1, len(walk))


@kernel(reference=_scan_twin)
def scan(
    amounts: np.ndarray, ok: np.ndarray, extra: np.ndarray, table: np.ndarray, walk: np.ndarray, start: int,
    wanted: int, rows: np.ndarray, totals: np.ndarray,
) -> tuple[int, int, int]:  # fmt: skip
    """Walk the nodes from `start`, wrapping, until one feasible node more than `wanted` is met.

    walk int64[m]: rows in walking order; rows int64, totals int32: the feasible rows found and their base scores.
    Returns (found, processed, evaluated): the node that triggers the stop is evaluated but not processed."""
    allocatable_cpu, allocatable_memory = amounts[_ALLOCATABLE_CPU], amounts[_ALLOCATABLE_MEMORY]
    requested_cpu, requested_memory = amounts[_REQUESTED_CPU], amounts[_REQUESTED_MEMORY]
    nonzero_cpu, nonzero_memory = amounts[NONZERO_CPU], amounts[NONZERO_MEMORY]
    allocatable_pods, requested_pods = amounts[_ALLOCATABLE_PODS], amounts[_REQUESTED_PODS]
    fit_cpu, fit_memory = table[FIT_CPU], table[FIT_MEMORY]
    more = extra.shape[0]
    m = walk.shape[0]
    found = 0
    processed = m
    evaluated = m
    for step in range(m):
        at = start + step
        row = walk[at if at < m else at - m]
        if (
            ok[row] == 0
            or requested_pods[row] >= allocatable_pods[row]
            or fit_cpu > allocatable_cpu[row] - requested_cpu[row]
            or fit_memory > allocatable_memory[row] - requested_memory[row]
        ):
            continue
        if more > 0 and not fits_row(amounts, row, extra, table):
            continue
        if found == wanted:
            processed = step
            evaluated = step + 1
            break
        rows[found] = row
        found += 1
    score_cpu, score_memory = table[SCORE_CPU], table[SCORE_MEMORY]
    balance_cpu, balance_memory = table[BALANCE_CPU], table[BALANCE_MEMORY]
    fit_weight, balance_weight, constant, top = table[FIT_WEIGHT], table[BALANCE_WEIGHT], table[CONSTANT], table[TOP]
    if table[LEGACY] != 0:
        for k in range(found):
            row = rows[k]
            totals[k] = np.int32(constant + legacy_base(
                allocatable_cpu[row], allocatable_memory[row], requested_cpu[row], requested_memory[row],
                nonzero_cpu[row], nonzero_memory[row], score_cpu, score_memory, fit_weight, balance_weight, top,
            ))  # fmt: skip
    else:
        for k in range(found):
            row = rows[k]
            totals[k] = np.int32(constant + default_base(
                allocatable_cpu[row], allocatable_memory[row], requested_cpu[row], requested_memory[row],
                nonzero_cpu[row], nonzero_memory[row], score_cpu, score_memory, balance_cpu, balance_memory, fit_weight,
                balance_weight,
            ))  # fmt: skip
    return found, processed, evaluated


def _choose_twin(
    totals: np.ndarray, found: int, draw: float, lowest: bool, rows: np.ndarray, report: np.ndarray
) -> None:
    best = totals[:found].max(initial=-1)
    ties = np.flatnonzero(totals[:found] == best) if best >= 0 else np.zeros(0, np.int64)
    at = ties if len(rows) == 0 else rows[ties]
    report[:4] = (int((totals[:found] >= 0).sum()), best, len(ties), -1)
    if len(ties):
        report[CHOSEN] = at.min() if lowest else at[min(int(draw * len(ties)), len(ties) - 1)]


@kernel(reference=_choose_twin)
def choose(totals: np.ndarray, found: int, draw: float, lowest: bool, rows: np.ndarray, report: np.ndarray) -> None:
    """`pick` among the found rows, their base scores being the totals."""
    feasible = np.int64(0)
    for k in range(found):
        feasible += totals[k] >= 0
    report[FEASIBLE] = feasible
    pick(totals, found, draw, lowest, rows, report)


def _domain_totals(codes: np.ndarray, counts: np.ndarray, mask: np.ndarray, domains: int) -> np.ndarray:
    sums = np.zeros(max(domains, 1), np.int64)
    taken = (mask != 0) & (codes >= 0)
    np.add.at(sums, codes[taken], counts[taken])
    return sums


def _judge_topology_twin(
    labels: np.ndarray, counts: np.ndarray, masks: np.ndarray, rules: np.ndarray, itself: bool, count: int,
    sums: np.ndarray, ok: np.ndarray,
) -> None:  # fmt: skip
    attract: list[np.ndarray] = []
    keys = np.ones(count, bool)
    nobody = True
    for each in rules.tolist():
        pods = counts[each[SLOT], :count].astype(np.int64)
        if each[KIND] == OCCUPIED:
            ok[:count] &= pods == 0
            continue
        codes = labels[each[LABEL], :count]
        has = codes >= 0
        of_domain = _domain_totals(codes, pods, masks[each[COUNTING], :count], each[DOMAINS])[np.maximum(codes, 0)]
        if each[KIND] == REPEL:
            ok[:count] &= ~(has & (of_domain > 0))
        elif each[KIND] == ATTRACT:
            keys &= has
            attract.append(of_domain > 0)
            nobody &= not (of_domain[has] > 0).any()
        else:
            founders = (masks[each[FOUNDING], :count] != 0) & has
            present = np.unique(codes[founders])
            of_domain = np.where(np.isin(codes, present), of_domain, 0)
            least = int(of_domain[founders].min()) if len(present) else _NO_DOMAIN_MINIMUM
            if len(present) < each[MIN_DOMAINS]:
                least = 0
            ok[:count] &= has & (of_domain + each[SELF_MATCH] - least <= each[MAX_SKEW])
    ok[:count] &= keys
    if not (nobody and itself):
        for company in attract:
            ok[:count] &= company


@rule
def _judge_spread(
    codes: np.ndarray, pods: np.ndarray, founding: np.ndarray, given: np.ndarray, count: int, sums: np.ndarray,
    ok: np.ndarray,
) -> None:  # fmt: skip
    """One hard constraint; `sums` holds the counts by domain already unless every row is its own domain."""
    offset, domains = given[OFFSET], given[DOMAINS]
    slack = given[MAX_SKEW] - given[SELF_MATCH]
    least = np.int64(_NO_DOMAIN_MINIMUM)
    present = np.int64(0)
    if given[UNIQUE] != 0:
        for i in range(count):
            founds = (founding[i] != 0) & (codes[i] >= 0)
            present += founds
            here = np.int64(pods[i]) if founds else np.int64(_NO_DOMAIN_MINIMUM)
            least = min(least, here)
        if present < given[MIN_DOMAINS]:
            least = np.int64(0)
        for i in range(count):
            founds = (founding[i] != 0) & (codes[i] >= 0)
            here = np.int64(pods[i]) if founds else np.int64(0)
            ok[i] &= (codes[i] >= 0) & (here - least <= slack)
        return
    # the second half of the room marks the domains that count
    for d in range(domains):
        sums[offset + domains + d] = 0
    for i in range(count):
        if founding[i] != 0 and codes[i] >= 0:
            sums[offset + domains + codes[i]] = 1
    for d in range(domains):
        if sums[offset + domains + d] == 0:
            sums[offset + d] = 0
        else:
            present += 1
            least = min(least, sums[offset + d])
    if present < given[MIN_DOMAINS]:
        least = np.int64(0)
    for i in range(count):
        ok[i] &= codes[i] >= 0 and sums[offset + codes[i]] - least <= slack


@kernel(reference=_judge_topology_twin)
def judge_topology(
    labels: np.ndarray, counts: np.ndarray, masks: np.ndarray, rules: np.ndarray, itself: bool, count: int,
    sums: np.ndarray, ok: np.ndarray,
) -> None:  # fmt: skip
    """Apply the rules that look at other pods to ok uint8[n], in place.

    labels int32[keys, n], counts int32[slots, n], masks uint8[k, n], rules int64[r, 11] (see the constants); sums
    int64: room for all domains, twice; itself: the pod matches all its own affinity terms (first-pod rule). Where a
    label's values are all different, a domain is a row and needs no sums."""
    nobody = True
    for r in range(rules.shape[0]):
        kind = rules[r, KIND]
        pods = counts[rules[r, SLOT]]
        if kind == OCCUPIED:
            for i in range(count):
                ok[i] &= pods[i] == 0
            continue
        codes = labels[rules[r, LABEL]]
        counting = masks[rules[r, COUNTING]]
        offset = rules[r, OFFSET]
        domains = rules[r, DOMAINS]
        unique = rules[r, UNIQUE] != 0
        if not unique:
            for d in range(domains):
                sums[offset + d] = 0
            for i in range(count):
                if counting[i] != 0 and codes[i] >= 0:
                    sums[offset + codes[i]] += pods[i]
        if kind == REPEL:
            if unique:
                for i in range(count):
                    ok[i] &= (codes[i] < 0) | (pods[i] <= 0)
            else:
                for i in range(count):
                    ok[i] &= codes[i] < 0 or sums[offset + codes[i]] <= 0
        elif kind == ATTRACT:
            if unique:
                most = np.int32(0)
                for i in range(count):
                    here = pods[i] if (codes[i] >= 0) & (counting[i] != 0) else np.int32(0)
                    most = max(most, here)
                    ok[i] &= codes[i] >= 0
                nobody = nobody and most <= 0
            else:
                for d in range(domains):
                    nobody = nobody and sums[offset + d] <= 0
                for i in range(count):
                    ok[i] &= codes[i] >= 0
        else:
            _judge_spread(codes, pods, masks[rules[r, FOUNDING]], rules[r], count, sums, ok)
    if nobody and itself:
        return
    for r in range(rules.shape[0]):
        if rules[r, KIND] != ATTRACT:
            continue
        codes = labels[rules[r, LABEL]]
        pods = counts[rules[r, SLOT]]
        offset = rules[r, OFFSET]
        if rules[r, UNIQUE] != 0:
            for i in range(count):
                ok[i] &= pods[i] > 0
        else:
            for i in range(count):
                ok[i] &= codes[i] >= 0 and sums[offset + codes[i]] > 0


def _finish_twin(
    labels: np.ndarray, counts: np.ndarray, masks: np.ndarray, statics: np.ndarray, soft: np.ndarray,
    points: np.ndarray, table: np.ndarray, count: int, rows: np.ndarray, found: int, totals: np.ndarray,
    sums: np.ndarray, spread: np.ndarray, affinity: np.ndarray, draw: float, lowest: bool, report: np.ndarray,
) -> None:  # fmt: skip
    base = totals[:found]
    feasible = np.flatnonzero(base >= 0)
    at = feasible if len(rows) == 0 else rows[feasible]
    report[FEASIBLE] = len(feasible)
    top = int(table[SCORE_TOP])
    if len(feasible):
        extra = statics[FLAT, at].astype(np.int64)
        if table[TAINT_WEIGHT]:
            raw = statics[TAINT_RAW, at].astype(np.int64)
            most = int(raw.max())
            extra += table[TAINT_WEIGHT] * (top - top * raw // most if most else np.full(len(at), top))
        if table[AFFINITY_WEIGHT]:
            raw = statics[AFFINITY_RAW, at].astype(np.int64)
            if raw.max() > 0:
                extra += table[AFFINITY_WEIGHT] * (top * raw // int(raw.max()))
        if len(soft):
            scored = masks[table[ALL_KEYS], at] != 0
            score = np.zeros(len(at), np.float64)
            for label, slot, host, domains, mask, shift, _ in soft.tolist():
                codes = labels[label, :count]
                own = codes[at]
                if host:
                    weight = natural_log(float(int(scored.sum()) + 2))
                    here = counts[slot, at].astype(np.float64)
                else:
                    weight = natural_log(float(len(np.unique(own[scored])) + 2))
                    by_domain = _domain_totals(codes, counts[slot, :count], masks[mask, :count], domains)
                    here = by_domain[np.maximum(own, 0)].astype(np.float64)
                score[own >= 0] += here[own >= 0] * weight + float(shift)
            whole = (np.floor(score + 0.5) if table[ROUNDED] else score).astype(np.int64)
            taken = whole[scored]
            if len(taken):
                most, least = max(int(taken.max()), 0), int(taken.min())
                extra[scored] += table[SPREAD_WEIGHT] * (top * (most + least - taken) // most if most else top)
        if len(points):
            raw = np.zeros(len(at), np.int64)
            for label, slot, _, domains, _ in points.tolist():
                codes = labels[label, :count]
                by_domain = _domain_totals(codes, counts[slot, :count], masks[0, :count], domains)
                raw[codes[at] >= 0] += by_domain[codes[at][codes[at] >= 0]]
            low, high = int(raw.min()), int(raw.max())
            if table[FROM_ZERO]:
                low, high = min(low, 0), max(high, 0)
            if high > low:
                extra += table[POINTS_WEIGHT] * (float(top) * ((raw - low) / float(high - low))).astype(np.int64)
        base[feasible] += extra.astype(np.int32)
    best = base.max(initial=-1)
    ties = np.flatnonzero(base == best) if best >= 0 else np.zeros(0, np.int64)
    at = ties if len(rows) == 0 else rows[ties]
    report[BEST], report[TIES], report[CHOSEN] = best, len(ties), -1
    if len(ties):
        report[CHOSEN] = at.min() if lowest else at[min(int(draw * len(ties)), len(ties) - 1)]


@rule
def _add_soft(
    codes: np.ndarray, pods: np.ndarray, counting: np.ndarray, all_keys: np.ndarray, given: np.ndarray, count: int,
    rows: np.ndarray, found: int, totals: np.ndarray, scored: int, sums: np.ndarray, spread: np.ndarray,
) -> None:  # fmt: skip
    """Points of one soft constraint, added to every feasible row that has the label."""
    dense = rows.shape[0] == 0
    shift = np.float64(given[SOFT_SHIFT])
    if given[SOFT_HOST] != 0:
        weight = natural_log(np.float64(scored + 2))
        for k in range(found):
            row = np.int64(k) if dense else rows[k]
            if totals[k] >= 0 and codes[row] >= 0:
                spread[k] += np.float64(pods[row]) * weight + shift
        return
    offset, domains = given[SOFT_OFFSET], given[SOFT_DOMAINS]
    # a domain with a scored node is marked in the second half; nodes without the label make one domain together
    for d in range(2 * domains):
        sums[offset + d] = 0
    unlabelled = np.int64(0)
    for k in range(found):
        row = np.int64(k) if dense else rows[k]
        if totals[k] >= 0 and all_keys[row] != 0:
            if codes[row] >= 0:
                sums[offset + domains + codes[row]] = 1
            else:
                unlabelled = np.int64(1)
    present = unlabelled
    for d in range(domains):
        present += sums[offset + domains + d]
    weight = natural_log(np.float64(present + 2))
    for i in range(count):
        if counting[i] != 0 and codes[i] >= 0:
            sums[offset + codes[i]] += pods[i]
    for k in range(found):
        row = np.int64(k) if dense else rows[k]
        if totals[k] >= 0 and codes[row] >= 0:
            spread[k] += np.float64(sums[offset + codes[row]]) * weight + shift


@rule
def _add_points(
    codes: np.ndarray, pods: np.ndarray, alive: np.ndarray, given: np.ndarray, count: int, rows: np.ndarray, found: int,
    sums: np.ndarray, affinity: np.ndarray,
) -> None:  # fmt: skip
    """Affinity points over one topology key, added to every row that has the label."""
    dense = rows.shape[0] == 0
    if given[POINT_UNIQUE] != 0:
        for k in range(found):
            row = np.int64(k) if dense else rows[k]
            if codes[row] >= 0:
                affinity[k] += pods[row]
        return
    offset = given[POINT_OFFSET]
    for d in range(given[POINT_DOMAINS]):
        sums[offset + d] = 0
    for i in range(count):
        if alive[i] != 0 and codes[i] >= 0:
            sums[offset + codes[i]] += pods[i]
    for k in range(found):
        row = np.int64(k) if dense else rows[k]
        if codes[row] >= 0:
            affinity[k] += sums[offset + codes[row]]


@kernel(reference=_finish_twin)
def finish(
    labels: np.ndarray, counts: np.ndarray, masks: np.ndarray, statics: np.ndarray, soft: np.ndarray,
    points: np.ndarray, table: np.ndarray, count: int, rows: np.ndarray, found: int, totals: np.ndarray,
    sums: np.ndarray, spread: np.ndarray, affinity: np.ndarray, draw: float, lowest: bool, report: np.ndarray,
) -> None:  # fmt: skip
    """Add the scores that need normalising over the feasible nodes, and choose.

    totals int32[found]: base scores, -1 infeasible; rows int64[found]: their rows, empty when position is row.
    statics int32[3, n]; soft int64[s, 7], points int64[p, 5], table int64[8]: see the constants; masks[0]: alive rows.
    sums int64: room for domains, twice; spread float64[found], affinity int64[found]: scratch."""
    dense = rows.shape[0] == 0
    top = table[SCORE_TOP]
    most_taint = np.int32(0)
    most_affinity = np.int32(0)
    feasible = np.int64(0)
    scored = np.int64(0)
    all_keys = masks[table[ALL_KEYS]]
    for k in range(found):
        if totals[k] < 0:
            continue
        row = np.int64(k) if dense else rows[k]
        feasible += 1
        most_taint = max(most_taint, statics[TAINT_RAW, row])
        most_affinity = max(most_affinity, statics[AFFINITY_RAW, row])
        scored += all_keys[row]
    report[FEASIBLE] = feasible
    most_spread = np.int64(0)
    least_spread = np.int64(2**62)
    if soft.shape[0] > 0:
        for k in range(found):
            spread[k] = 0.0
        for s in range(soft.shape[0]):
            _add_soft(
                labels[soft[s, SOFT_LABEL]], counts[soft[s, SOFT_SLOT]], masks[soft[s, SOFT_MASK]], all_keys, soft[s],
                count, rows, found, totals, scored, sums, spread,
            )  # fmt: skip
        rounded = table[ROUNDED] != 0
        for k in range(found):
            row = np.int64(k) if dense else rows[k]
            if totals[k] >= 0 and all_keys[row] != 0:
                whole = np.int64(np.floor(spread[k] + 0.5)) if rounded else np.int64(spread[k])
                spread[k] = np.float64(whole)
                most_spread = max(most_spread, whole)
                least_spread = min(least_spread, whole)
    low = np.int64(0)
    high = np.int64(0)
    if points.shape[0] > 0:
        for k in range(found):
            affinity[k] = 0
        for p in range(points.shape[0]):
            _add_points(
                labels[points[p, POINT_LABEL]], counts[points[p, POINT_SLOT]], masks[0], points[p], count, rows, found,
                sums, affinity,
            )  # fmt: skip
        if table[FROM_ZERO] == 0:
            low = np.int64(2**62)
            high = np.int64(-(2**62))
        for k in range(found):
            if totals[k] >= 0:
                low = min(low, affinity[k])
                high = max(high, affinity[k])
    for k in range(found):
        if totals[k] < 0:
            continue
        row = np.int64(k) if dense else rows[k]
        extra = np.int64(statics[FLAT, row])
        if most_taint > 0:
            extra += table[TAINT_WEIGHT] * (top - top * np.int64(statics[TAINT_RAW, row]) // np.int64(most_taint))
        else:
            extra += table[TAINT_WEIGHT] * top
        if most_affinity > 0:
            extra += table[AFFINITY_WEIGHT] * (top * np.int64(statics[AFFINITY_RAW, row]) // np.int64(most_affinity))
        if soft.shape[0] > 0 and all_keys[row] != 0:
            share = top
            if most_spread > 0:
                share = top * (most_spread + least_spread - np.int64(spread[k])) // most_spread
            extra += table[SPREAD_WEIGHT] * share
        if high > low:
            share_of_span = np.float64(affinity[k] - low) / np.float64(high - low)
            extra += table[POINTS_WEIGHT] * np.int64(np.float64(top) * share_of_span)
        totals[k] += np.int32(extra)
    pick(totals, found, draw, lowest, rows, report)
