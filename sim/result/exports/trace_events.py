"""Sampled pods and the components that work on them as a timeline, in the trace-event format.

The file opens in Perfetto (ui.perfetto.dev) and in Chrome's tracing page. A process is a component of the control plane
or a node; its tracks hold one slice at a time, a slice is one stage of one pod. Arrows follow a pod from process to
process; counters are the sampled series. Times are microseconds of simulated time. Source: Trace Event Format (Google).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.base.errors import InputError
from sim.result.record import RunRecord
from sim.result.tables import PHASES, startup
from sim.state.pods import STAGES

MICROSECONDS = 1e6
PODS = 100
"""Pods that are sampled unless the caller says otherwise."""
SLOWEST_SHARE = 0.1
"""Of the sampled pods: so many are the slowest starts, the others lie evenly over the order of arrival."""
COMPONENTS = {
    "controllers": "controllers",
    "apiserver": "API server",
    "scheduler": "kube-scheduler",
}
"""Rooms of the control plane and the process that shows them; stages of all other rooms are on the pod's node."""
LEVELS = "levels"
"""The process that shows the counters."""
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Slice:
    """One stage of one pod."""

    process: str
    name: str
    room: str
    pod: int
    start_s: float
    end_s: float
    ended: bool
    """False: the run ended first."""


Placed = tuple[Slice, int, int]
"""A slice, the number of its process and of its track there."""


def trace_events(record: RunRecord, pods: int = PODS) -> dict[str, Any]:
    """The timeline as a JSON object. pods: how many are sampled; raises InputError for a negative number."""
    if pods < 0:
        raise InputError(f"pods: {pods} must be 0 or more")
    chosen = sample_pods(record, pods)
    slices = [part for pod in chosen.tolist() for part in slices_of(record, pod)]
    processes = _processes(record, slices)
    placed = list(_placed(slices, processes))
    events = [
        *_names(processes),
        *(_complete(record, *each) for each in placed),
        *_arrows(placed),
        *_counters(record, processes[LEVELS]),
    ]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "scenario": str(record.scenario.get("name", "")),
            "seed": record.seed,
            "simulated_s": record.end_s,
            "pods": len(record.pods["phase"]),
            "pods_sampled": len(chosen),
        },
    }


def trace_json(record: RunRecord, pods: int = PODS) -> str:
    """`trace_events` as text."""
    return json.dumps(trace_events(record, pods), separators=(",", ":"), ensure_ascii=False)


def sample_pods(record: RunRecord, count: int) -> np.ndarray:
    """Rows of at most `count` created pods: the slowest starts, and others evenly over the order of arrival; rising."""
    created = np.flatnonzero(~np.isnan(record.pods["created_s"]))
    if len(created) <= count:
        return created
    took = np.nan_to_num(startup(record)[created], nan=-1.0)
    slowest = created[np.argsort(-took, kind="stable")[: int(np.ceil(count * SLOWEST_SHARE))]]
    others = np.setdiff1d(created, slowest)
    others = others[np.argsort(record.pods["requested_s"][others], kind="stable")]
    wanted = count - len(slowest)
    evenly = others[np.linspace(0, len(others) - 1, wanted).round().astype(int)] if wanted else others[:0]
    return np.sort(np.concatenate([slowest, evenly]))


def slices_of(record: RunRecord, pod: int) -> Iterator[Slice]:
    """The stages that a pod came into, in order, and its running; what had not ended goes up to the run's end."""
    columns = record.pods
    node = int(columns["node"][pod])
    place = str(record.nodes["name"][node]) if node >= 0 else ""
    for stage in STAGES:
        start_s, end_s = float(columns[stage.start][pod]), float(columns[stage.end][pod])
        process = COMPONENTS.get(stage.room, place)
        if np.isnan(start_s) or not process:
            continue
        ended = not np.isnan(end_s)
        yield Slice(process, stage.name, stage.room, pod, start_s, end_s if ended else record.end_s, ended)
        if not ended:
            return
    start_s = float(columns["watched_s"][pod])
    ends = [float(columns[name][pod]) for name in ("finished_s", "killed_s", "gone_s")]
    over = [end_s for end_s in ends if not np.isnan(end_s)]
    if not np.isnan(start_s) and place:
        yield Slice(place, RUNNING, "kubelet", pod, start_s, max(start_s, min(over, default=record.end_s)), bool(over))


def _processes(record: RunRecord, slices: list[Slice]) -> dict[str, int]:
    """Process name -> its number: counters, the control plane, then the nodes of sampled pods in the cluster's order."""
    used = {part.process for part in slices}
    nodes = [str(name) for name in record.nodes.get("name", ()) if str(name) in used]
    names = [LEVELS, *(name for name in COMPONENTS.values() if name in used), *nodes]
    return {name: number for number, name in enumerate(names, 1)}


def _placed(slices: list[Slice], processes: dict[str, int]) -> Iterator[Placed]:
    """Every slice with its process and track. On a node a pod keeps one track for all its slices."""
    groups: dict[str, dict[object, list[Slice]]] = {name: {} for name in processes}
    for part in slices:
        together = part if part.process in COMPONENTS.values() else part.pod
        groups[part.process].setdefault(together, []).append(part)
    for process, number in processes.items():
        for track, group in lanes(groups[process].values()):
            for part in group:
                yield part, number, track


def lanes(groups: Iterable[list[Slice]]) -> Iterator[tuple[int, list[Slice]]]:
    """(track from 1, group): the fewest tracks on which no two groups overlap."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    used = 0
    for group in sorted(groups, key=lambda group: (group[0].start_s, group[-1].end_s, group[0].pod)):
        while busy and busy[0][0] <= group[0].start_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            track = heapq.heappop(free)
        else:
            used += 1
            track = used
        heapq.heappush(busy, (group[-1].end_s, track))
        yield track, group


def _names(processes: dict[str, int]) -> Iterator[dict[str, Any]]:
    for name, number in processes.items():
        yield {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": number, "tid": 0, "args": {"sort_index": number}}


def _complete(record: RunRecord, part: Slice, process: int, track: int) -> dict[str, Any]:
    columns = record.pods
    template = record.templates[columns["template"][part.pod]]
    about: dict[str, Any] = {
        "pod": part.pod,
        "tenant": record.tenants[columns["tenant"][part.pod]],
        "namespace": str(template.get("namespace", "default")),
        "phase at the end": PHASES[columns["phase"][part.pod]],
    }
    if not part.ended:
        about["unfinished"] = True
    return {
        "ph": "X",
        "name": part.name,
        "cat": part.room,
        "pid": process,
        "tid": track,
        "ts": part.start_s * MICROSECONDS,
        "dur": (part.end_s - part.start_s) * MICROSECONDS,
        "args": about,
    }


def _arrows(placed: list[Placed]) -> Iterator[dict[str, Any]]:
    """A flow a pod, through the first slice of each stay in a process."""
    ways: dict[int, list[Placed]] = {}
    for each in placed:
        ways.setdefault(each[0].pod, []).append(each)
    for pod in sorted(ways):
        way = sorted(ways[pod], key=lambda each: (each[0].start_s, each[0].end_s))
        stays = [each for index, each in enumerate(way) if index == 0 or way[index - 1][1] != each[1]]
        for index, (part, process, track) in enumerate(stays[: len(stays) if len(stays) > 1 else 0]):
            last = index == len(stays) - 1
            arrow = {"ph": "s" if index == 0 else "f" if last else "t", "name": "pod", "cat": "pod", "id": pod}
            yield {
                **arrow,
                "pid": process,
                "tid": track,
                "ts": part.start_s * MICROSECONDS,
                **({"bp": "e"} if last else {}),
            }


def _counters(record: RunRecord, process: int) -> Iterator[dict[str, Any]]:
    """The sampled series as counters; a value that is not there is left out."""
    moments = record.series["time_s"].tolist()
    for column in record.series_columns:
        values = np.asarray(record.series[column.name], np.float64).tolist()
        for moment, value in zip(moments, values, strict=True):
            if value == value:
                yield {
                    "ph": "C",
                    "name": column.name,
                    "pid": process,
                    "tid": 0,
                    "ts": moment * MICROSECONDS,
                    "args": {column.unit: value},
                }
