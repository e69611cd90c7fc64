"""What limits: where a pod's start-up time goes, which contended thing explains it, and a sentence that says so.

Two views meet here. The stages say where time passes; the resources say where something waited because of others.
The waiting at a resource, spread over the pods that started, can cost at most the time of the stages that lean on it:
that bound is its share of the critical path. Resources are ranked by it where it is material, else by utilisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sim.result.quantiles import present, quantiles
from sim.result.record import ResourceStat, RunRecord
from sim.result.tables import measured_pods, stage_times
from sim.state.pods import STAGES, Phase

if TYPE_CHECKING:
    import pandas as pd

LEANS_ON: Mapping[str, tuple[str, ...]] = {
    "controller": ("controllers", "apiserver"),
    "create request": ("apiserver", "etcd"),
    "watch to scheduler": ("apiserver",),
    "scheduling queue": ("scheduler",),
    "scheduling cycle": ("scheduler",),
    "bind rate limit": ("scheduler",),
    "bind request": ("apiserver", "etcd"),
    "watch to kubelet": ("apiserver",),
    "pod worker": ("kubelet",),
    "volumes": ("kubelet",),
    "sandbox before network": ("runtime", "kubelet"),
    "sandbox after network": ("runtime", "kubelet"),
    "network set-up": ("network",),
    "init containers": ("runtime", "kubelet"),
    "image pull": ("images", "network"),
    "containers": ("runtime", "kubelet"),
    "PLEG relist": ("kubelet", "runtime"),
    "status update": ("kubelet", "apiserver", "etcd"),
    "watch to client": ("apiserver",),
}
"""Rooms whose resources a stage can wait for."""
CONTROL_PLANE = ("apiserver", "etcd", "scheduler", "controllers")
"""Rooms that share machines: a resource named `... cores` of one of them can explain any stage of all of them."""

MATERIAL_SHARE = 0.05
"""A resource whose waiting costs at least this share of the start-up time limits it."""
AT_LIMIT = 0.98
"""Share of a client's rate over a sampling period from which it counts as used up: its first token may come late in it."""
NEAR_LIMIT = 0.8
"""Mean utilisation from which a resource is close to its end."""
REST = "between stages"

STAGE_COLUMNS = (
    "stage",
    "room",
    "pods",
    "mean_s",
    "p50_s",
    "p90_s",
    "p99_s",
    "max_s",
    "share",
    "slowest_mean_s",
    "inside_at_end",
)
COLUMNS = (
    "resource",
    "room",
    "utilisation",
    "peak_utilisation",
    "mean_wait_s",
    "max_queue",
    "served",
    "wait_per_pod_s",
    "critical_path_share",
    "stage",
    "verdict",
)


def slowest(total_s: np.ndarray) -> np.ndarray:
    """bool: the slowest hundredth of the starts (at least one), by whose stages the p99 is explained."""
    return total_s >= quantiles(total_s, (0.99,))[0] if len(total_s) else np.zeros(0, bool)


def stages(record: RunRecord) -> pd.DataFrame:
    """One row a stage of a pod's start, in the order of its way; pods requested after the warm-up and seen running.

    share: of the summed time from the request to being seen running. slowest_mean_s: its mean among the slowest 1 %
    of the pods. inside_at_end: pods (started or not) that were in this stage when the run ended; one whose last
    attempt found no node is back in the scheduling queue.
    """
    import pandas as pd

    columns, times = record.pods, stage_times(record)
    measured = measured_pods(record)
    total = columns["watched_s"] - columns["requested_s"]
    started = measured & ~np.isnan(total)
    total = total[started]
    tail = slowest(total)
    unfinished = measured & ~np.isin(columns["phase"], (Phase.DELETED, Phase.SUCCEEDED, Phase.REFUSED, Phase.FAILED))
    rest, rows = total.copy(), []

    def row(name: str, room: str, seconds: np.ndarray, inside: int) -> tuple[object, ...]:
        known = present(seconds)
        p50, p90, p99, largest = quantiles(known, (0.5, 0.9, 0.99, 1.0))
        share = float(known.sum() / total.sum()) if len(total) and total.sum() > 0 else float("nan")
        mean = float(known.mean()) if len(known) else float("nan")
        late = present(seconds[tail])
        return (
            name,
            room,
            len(known),
            mean,
            p50,
            p90,
            p99,
            largest,
            share,
            float(late.mean()) if len(late) else float("nan"),
            inside,
        )

    for stage in STAGES:
        seconds = times[stage.name][started]
        rest -= np.nan_to_num(seconds)
        left = columns["scheduled_s"] if stage.name == "scheduling queue" else columns[stage.end]
        inside = unfinished & ~np.isnan(columns[stage.start]) & np.isnan(left) & (stage.name != "scheduling cycle")
        rows.append(row(stage.name, stage.room, seconds, int(inside.sum())))
    if len(total) and rest.sum() > 1e-3 * total.sum():
        rows.append(row(REST, "", rest, 0))
    return pd.DataFrame(rows, columns=list(STAGE_COLUMNS))


def _serves(stat: ResourceStat, stage: str, room: str) -> bool:
    return stat.room in LEANS_ON[stage] or (
        stat.name.endswith("cores") and room in CONTROL_PLANE and stat.room in CONTROL_PLANE
    )


def _paced_s(record: RunRecord, stat: ResourceStat) -> float:
    """Seconds that pods spent in the stage 'controller' while `stat`, a controller's client, was at its rate limit.

    A controller asks for the next pods only when those before them are stored, so most of what its client's limit holds
    back never stands in the client's own queue. Of several controllers each is taken to hold back all of them.
    """
    used = record.series.get(f"{stat.name.replace(' ', '_')}_utilisation")
    if stat.room != "controllers" or not stat.name.endswith("client") or used is None:
        return 0.0
    edges = np.concatenate([[0.0], record.series["time_s"]])
    at_limit = np.concatenate([[0.0], np.cumsum((used >= AT_LIMIT) * np.diff(edges))])
    columns = record.pods
    started = measured_pods(record) & ~np.isnan(columns["watched_s"])
    begin, end = columns["requested_s"][started], columns["post_sent_s"][started]
    return float((np.interp(end, edges, at_limit) - np.interp(begin, edges, at_limit)).sum())


def bottlenecks(record: RunRecord, stage_table: pd.DataFrame) -> pd.DataFrame:
    """One row a resource, the one that limits most first.

    wait_per_pod_s: all waiting at it or for it, spread over the pods that started. critical_path_share: the part of the pods'
    start-up time that this waiting can explain at most, never more than the stages that lean on it. stage: of a
    resource that limits, the stage whose mean its waiting matches best. Of two that limit the same stage the busier
    comes first: a lock held while its holder waits for a full link is only the link's shadow.
    """
    import pandas as pd

    pods = int((measured_pods(record) & ~np.isnan(record.pods["watched_s"])).sum())
    parts = stage_table[(stage_table.stage != REST) & (stage_table.pods > 0)]
    means, of_stage = parts.mean_s.to_numpy(), (parts.mean_s * parts.pods).to_numpy()
    names, rooms = list(parts.stage), list(parts.room)
    seconds = float((stage_table.mean_s * stage_table.pods).sum())
    rows = []
    for stat in record.resources:
        mine = [i for i, stage in enumerate(names) if _serves(stat, stage, rooms[i])]
        held = float(of_stage[mine].sum())
        waiting = max(stat.mean_wait_s * stat.served, _paced_s(record, stat))
        share = min(waiting, held) / seconds if seconds > 0 else 0.0
        busy = stat.utilisation >= NEAR_LIMIT
        verdict = "limits" if share >= MATERIAL_SHARE else "near its limit" if busy else "has room"
        rows.append(
            (
                stat.name,
                stat.room,
                stat.utilisation,
                stat.peak_utilisation,
                stat.mean_wait_s,
                stat.max_queue,
                stat.served,
                waiting / pods if pods else float("nan"),
                share,
                names[mine[int(np.argmin(np.abs(means[mine] - waiting / pods)))]] if verdict == "limits" else "",
                verdict,
            )
        )
    worst: dict[str, float] = {}
    for row in rows:
        worst[row[9]] = max(worst.get(row[9], 0.0), row[8])
    rows.sort(key=lambda row: (-worst[row[9]] if row[9] else 0.0, row[9], -row[2], -row[3], row[0]))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.index = pd.RangeIndex(1, len(rows) + 1, name="rank")
    return table


def sentence(record: RunRecord, stage_table: pd.DataFrame, table: pd.DataFrame) -> str:
    """What limits, for a reader in a hurry."""
    started = stage_table[(stage_table.pods > 0) & (stage_table.stage != REST)]
    waiting = stage_table[stage_table.inside_at_end > 0]
    parts = []
    if len(started) == 0:
        parts.append("No pod was seen running after the warm-up.")
    else:
        longest = started.iloc[int(np.argmax(started.mean_s * started.pods))]
        parts.append(
            f"A pod's start takes longest in ‘{longest.stage}’: {seconds_text(longest.mean_s)} on average, "
            f"{longest.share:.0%} of it."
        )
        limits = table[table.verdict == "limits"]
        near = table[table.verdict == "near its limit"]
        if len(limits):
            top = limits.iloc[0]
            parts.append(
                f"What limits is the {top.resource}: waiting there explains up to {top.critical_path_share:.0%} of the "
                f"start-up time ({top.utilisation:.0%} used on average, {top.peak_utilisation:.0%} at the peak, "
                f"up to {top.max_queue:,} waiting)."
            )
        elif len(near):
            top = near.iloc[0]
            parts.append(
                f"No queue costs a pod much; the first to give way is the {top.resource}, {top.utilisation:.0%} used."
            )
        elif len(table):
            top = table.iloc[0]
            parts.append(
                "Nothing is short: the time is work and timers. "
                f"The busiest is the {top.resource}, {top.utilisation:.0%} used."
            )
    if record.reasons:
        reason = max(record.reasons, key=lambda text: record.reasons[text])
        parts.append(f"{sum(record.reasons.values()):,} pods asked for do not run, most often: {reason}.")
    elif len(waiting):
        most = waiting.iloc[int(np.argmax(waiting.inside_at_end))]
        if most.inside_at_end >= 0.05 * max(int(started.pods.max()) if len(started) else 0, 1):
            parts.append(f"{most.inside_at_end:,} pods were still in ‘{most.stage}’ at the end.")
    return " ".join(parts)


def seconds_text(seconds: float) -> str:
    """A duration as people say it: 850 µs, 12 ms, 3.4 s, 12 min."""
    if not np.isfinite(seconds):
        return "–"
    if seconds == 0:
        return "0 s"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        limit = 120.0 if unit == "s" else 999.5 * size
        if abs(seconds) < limit:
            value = seconds / size
            return f"{value:.{0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2}f} {unit}"
    return f"{seconds / 60:,.1f} min"
