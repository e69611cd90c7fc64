"""Putting a pod on a node and taking it off: every column that changes, in one kernel."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel, rule

LOG_SIZE = 1 << 16
"""Changed rows remembered, a power of two."""


@rule
def note_change(log: np.ndarray, row: int) -> None:
    """Remember a changed row. log int64[1 + LOG_SIZE]: the number of changes ever, then a ring of rows."""
    log[1 + (log[0] & (LOG_SIZE - 1))] = row
    log[0] += 1


def note_changed(log: np.ndarray, row: int) -> None:
    """`note_change` from Python."""
    log[1 + int(log[0]) % LOG_SIZE] = row
    log[0] += 1


def _place_twin(
    amounts: np.ndarray, counts: np.ndarray, pods: np.ndarray, heads: np.ndarray, takes: np.ndarray,
    effects: np.ndarray, log: np.ndarray, pod: int, spec: int, node: int,
) -> None:  # fmt: skip
    amounts[takes[0], node] += takes[1]
    counts[effects[0], node] += effects[1]
    last = int(heads[1, node])
    pods[:, pod] = (spec, node, 0, -1, last)
    if last >= 0:
        pods[3, last] = pod
    else:
        heads[0, node] = pod
    heads[1, node] = pod
    note_changed(log, node)


@kernel(reference=_place_twin)
def place(
    amounts: np.ndarray, counts: np.ndarray, pods: np.ndarray, heads: np.ndarray, takes: np.ndarray,
    effects: np.ndarray, log: np.ndarray, pod: int, spec: int, node: int,
) -> None:  # fmt: skip
    """Occupy a node: amounts, tallies, and the node's list of pods.

    takes int64[2, k]: rows of `NodeTable.amounts` and what the pod adds; effects int32[2, k]: tally slots and weights;
    pods, heads: see `sim.state.placements`; log: see `note_change`."""
    for k in range(takes.shape[1]):
        amounts[takes[0, k], node] += takes[1, k]
    for k in range(effects.shape[1]):
        counts[effects[0, k], node] += effects[1, k]
    last = heads[1, node]
    pods[0, pod] = spec
    pods[1, pod] = node
    pods[2, pod] = 0
    pods[3, pod] = -1
    pods[4, pod] = last
    if last >= 0:
        pods[3, last] = pod
    else:
        heads[0, node] = pod
    heads[1, node] = pod
    note_change(log, node)


def _unplace_twin(
    amounts: np.ndarray, counts: np.ndarray, pods: np.ndarray, heads: np.ndarray, takes: np.ndarray,
    effects: np.ndarray, log: np.ndarray, pod: int,
) -> None:  # fmt: skip
    _, node, _, after, before = (int(value) for value in pods[:, pod])
    amounts[takes[0], node] -= takes[1]
    counts[effects[0], node] -= effects[1]
    if before >= 0:
        pods[3, before] = after
    else:
        heads[0, node] = after
    if after >= 0:
        pods[4, after] = before
    else:
        heads[1, node] = before
    pods[:, pod] = -1
    note_changed(log, node)


@kernel(reference=_unplace_twin)
def unplace(
    amounts: np.ndarray, counts: np.ndarray, pods: np.ndarray, heads: np.ndarray, takes: np.ndarray,
    effects: np.ndarray, log: np.ndarray, pod: int,
) -> None:  # fmt: skip
    """Free what `place` took; `effects` must leave out what a terminating pod no longer counts in."""
    node = pods[1, pod]
    for k in range(takes.shape[1]):
        amounts[takes[0, k], node] -= takes[1, k]
    for k in range(effects.shape[1]):
        counts[effects[0, k], node] -= effects[1, k]
    after = pods[3, pod]
    before = pods[4, pod]
    if before >= 0:
        pods[3, before] = after
    else:
        heads[0, node] = after
    if after >= 0:
        pods[4, after] = before
    else:
        heads[1, node] = before
    for k in range(pods.shape[0]):
        pods[k, pod] = -1
    note_change(log, node)
