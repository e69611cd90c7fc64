"""Service levels by Kubernetes' own definitions: what is measured, in which windows, against which limit.

Source: Kubernetes SIG Scalability, SLIs/SLOs (slos.md, pod_startup_latency.md, api_call_latency.md), status official.
The indicator is the 99th percentile over the last five minutes; "per cluster-day" means the share of good minutes.
So at the end of each minute the p99 of the five minutes before it is taken, the minute is good if that is within the
limit, and the objective is met if at least 99 % of the minutes that saw anything are good.

What the model leaves out and the definitions mention: webhooks and API Priority and Fairness (a refused request is
answered 429 at once), init containers, volumes from storage (every pod counts as stateless), preemption.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.result.quantiles import Counts, quantiles
from sim.result.record import RequestKind, RunRecord
from sim.result.tables import measured_pods, pull_time, startup
from sim.state.pods import Phase

if TYPE_CHECKING:
    import pandas as pd

WINDOW_S = 300.0
"""The indicator looks back over five minutes."""
STEP_S = 60.0
"""A cluster-day is judged by its minutes."""
GOOD_SHARE = 0.99
"""Share of good minutes from which an objective is met: the 99th percentile per cluster-day."""
QUANTILE = 0.99
CHURN_LIMIT_PER_S = 20.0
"""Steady state: the objectives are promised up to this many pod changes and user requests per second."""

MUTATING = ("POST", "PUT", "PATCH", "DELETE")
READING = ("GET", "LIST")


@dataclass(frozen=True, slots=True)
class Objective:
    """One official objective: what it is called, its limit, and which samples it is about."""

    name: str
    limit_s: float
    meaning: str
    verbs: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def covers(self, kind: RequestKind) -> bool:
        return kind.verb in self.verbs and (not self.scopes or kind.scope in self.scopes)

    def subject(self, kind: RequestKind) -> str:
        """What a request is judged with: its (verb, resource) when it changes something, else its (resource, scope)."""
        return f"{kind.verb} {kind.resource}" if self.verbs == MUTATING else f"{kind.resource} ({kind.scope})"


POD_STARTUP = Objective(
    "pod start-up", 5.0, "created to seen running by a watcher, image pull left out; schedulable stateless pods only"
)
API_OBJECTIVES = (
    Objective("mutating API call", 1.0, "each verb and resource, one object", MUTATING),
    Objective("read of one object", 1.0, "each resource, GET", READING, ("resource",)),
    Objective("read of many objects", 30.0, "each resource and scope, LIST", READING, ("namespace", "cluster")),
)

COLUMNS = (
    "objective",
    "subject",
    "limit_s",
    "p99_s",
    "worst_window_p99_s",
    "minutes",
    "good_minutes",
    "good_share",
    "count",
    "left_out",
    "verdict",
)


@dataclass(frozen=True, slots=True)
class Samples:
    """What one verdict is about: values with the moment each was observed."""

    objective: Objective
    subject: str
    time_s: np.ndarray
    value_s: np.ndarray
    counts: Counts = None
    left_out: int = 0
    """Pods or requests the definition leaves out."""


def pod_startup_samples(record: RunRecord) -> Samples:
    """The start-ups that count, each at the moment it was seen.

    A pod is schedulable if its first attempt found a node: one that had to wait for room, or still does, is left out.
    A pod still starting at the end counts with its age so far once that alone is beyond the limit: an overloaded
    cluster does not look good by never finishing.
    """
    columns = record.pods
    created = measured_pods(record) & ~np.isnan(columns["created_s"])
    refused_once = np.isnan(columns["scheduled_s"]) & (columns["attempts"] >= 1)
    schedulable = (columns["attempts"] <= 1) & ~refused_once
    seen = created & schedulable & ~np.isnan(columns["watched_s"])
    age = record.end_s - columns["created_s"] - pull_time(record)
    starting = (
        created & schedulable & ~seen & np.isin(columns["phase"], (Phase.PENDING, Phase.SCHEDULED, Phase.RUNNING))
    )
    late = starting & (age > POD_STARTUP.limit_s)
    time = np.concatenate([columns["watched_s"][seen], np.full(int(late.sum()), record.end_s)])
    value = np.concatenate([(startup(record) - pull_time(record))[seen], age[late]])
    return Samples(POD_STARTUP, "schedulable stateless pods", time, value, left_out=int((created & ~schedulable).sum()))


def api_samples(record: RunRecord) -> Iterator[Samples]:
    """One set for each verdict on API calls, in the order of the objectives and then of subjects' names."""
    log = record.requests
    late_enough = log["time_s"] >= record.warm_up_s
    for objective in API_OBJECTIVES:
        subjects: dict[str, list[int]] = {}
        for index, kind in enumerate(record.request_kinds):
            if objective.covers(kind):
                subjects.setdefault(objective.subject(kind), []).append(index)
        for subject in sorted(subjects):
            rows = np.flatnonzero(np.isin(log["kind"], subjects[subject]) & late_enough)
            if len(rows):
                yield Samples(objective, subject, log["time_s"][rows], log["latency_s"][rows], log["count"][rows])


def window_p99(samples: Samples, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The indicator at the end of each minute: (moments, p99 of the five minutes before each; NaN if nothing happened).

    Windows are open at their beginning and closed at their end; the first ones are shorter, and so is a last minute
    that the run cut.
    """
    moments = np.arange(start_s + STEP_S, end_s + 1e-9, STEP_S)
    if end_s > start_s and (len(moments) == 0 or end_s - moments[-1] > 1e-9):
        moments = np.append(moments, end_s)
    order = np.argsort(samples.time_s, kind="stable")
    time, value = samples.time_s[order], samples.value_s[order]
    counts = None if samples.counts is None else samples.counts[order]
    first = np.searchsorted(time, moments - WINDOW_S, side="right")
    last = np.searchsorted(time, moments, side="right")
    p99 = [
        quantiles(value[i:j], (QUANTILE,), None if counts is None else counts[i:j])[0]
        for i, j in zip(first, last, strict=True)
    ]
    return moments, np.array(p99, np.float64)


def judge(samples: Samples, start_s: float, end_s: float) -> tuple[object, ...]:
    """One row of the verdict table."""
    limit = samples.objective.limit_s
    _, p99 = window_p99(samples, start_s, end_s)
    p99 = p99[~np.isnan(p99)]
    good = int((p99 <= limit).sum())
    share = good / len(p99) if len(p99) else float("nan")
    verdict = "no data" if not len(p99) else "met" if share >= GOOD_SHARE else "missed"
    count = len(samples.value_s) if samples.counts is None else int(samples.counts.sum())
    whole = float(quantiles(samples.value_s, (QUANTILE,), samples.counts)[0])
    worst = float(p99.max()) if len(p99) else float("nan")
    return (
        samples.objective.name,
        samples.subject,
        limit,
        whole,
        worst,
        len(p99),
        good,
        share,
        count,
        samples.left_out,
        verdict,
    )


def verdicts(record: RunRecord) -> pd.DataFrame:
    """One row a verdict: pod start-up, then each (verb, resource) and (resource, scope) of the API."""
    import pandas as pd

    judged = [
        judge(samples, record.warm_up_s, record.end_s)
        for samples in (pod_startup_samples(record), *api_samples(record))
    ]
    return pd.DataFrame(judged, columns=list(COLUMNS))


@dataclass(frozen=True, slots=True)
class Churn:
    """How fast the cluster's contents changed, against what the objectives presume."""

    mean_per_s: float
    p99_per_s: float
    max_per_s: float
    good_share: float
    """Share of seconds within the limit."""
    limit_per_s: float = CHURN_LIMIT_PER_S

    @property
    def steady(self) -> bool:
        """Whether the precondition of the steady-state objectives held in 99 % of the seconds."""
        return self.good_share >= GOOD_SHARE

    def __str__(self) -> str:
        head = (
            f"Churn: mean {self.mean_per_s:.1f}/s, p99 {self.p99_per_s:.0f}/s of pod creations, bindings, deletions "
            f"and user requests; Kubernetes promises its service levels up to {self.limit_per_s:g}/s"
        )
        return (
            f"{head}: the precondition holds."
            if self.steady
            else f"{head}: beyond it, the verdicts are a yardstick, not a promise."
        )


def churn(record: RunRecord) -> Churn:
    """Pod spec creations, updates (bindings) and deletions, and the users' other requests, counted by the second."""
    columns = record.pods
    seconds = int(np.ceil(record.end_s - record.warm_up_s))
    if seconds <= 0:
        return Churn(0.0, 0.0, 0.0, 1.0)
    edges = record.warm_up_s + np.arange(seconds + 1)
    total = np.zeros(seconds)
    for name in ("created_s", "bound_s", "delete_requested_s"):
        total += np.histogram(columns[name][~np.isnan(columns[name])], edges)[0]
    kinds = enumerate(record.request_kinds)
    user = [i for i, kind in kinds if not kind.client.startswith("system:") and kind.resource != "pods"]
    rows = np.isin(record.requests["kind"], user)
    total += np.histogram(record.requests["time_s"][rows], edges, weights=record.requests["count"][rows])[0]
    within = float((total <= CHURN_LIMIT_PER_S).mean())
    return Churn(float(total.mean()), float(np.quantile(total, 0.99)), float(total.max()), within)
