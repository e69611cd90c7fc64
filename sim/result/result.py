"""`Result`: what a user reads of a run. Tables are made when first asked for, and kept."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.result import bottlenecks, slo, storage, tables
from sim.result.quantiles import Counts, mean, present, quantiles
from sim.result.record import RunRecord
from sim.result.schema import TABLES, filled_resources
from sim.state.pods import Phase

if TYPE_CHECKING:
    import pandas as pd

    from sim.result.plots import Plots
    from sim.result.slo import Churn

SUMMARY_COLUMNS = ("mean", "p50", "p99", "max", "unit", "count", "objective", "verdict")
OF_RESOURCES = ("_utilisation", "_queue", "_waiting", "_seats_limit")
"""Series of contended things, which `bottlenecks()` sums up; the summary leaves them out."""


class Result:
    """A run's answers as DataFrames. Column names carry units; `schema` says what each means.

    Summaries, verdicts and bottlenecks leave out pods requested and requests answered before the warm-up's end;
    the tables hold everything.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    # --- tables

    @cached_property
    def pods(self) -> pd.DataFrame:
        """One row a pod: who asked, what for, every moment of its way, the durations between them."""
        return tables.pods(self.record)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a kind of API request: verb, resource, scope, client, code; count and latency quantiles."""
        return tables.requests(self.record)

    @cached_property
    def request_log(self) -> pd.DataFrame:
        """One row an API request (or an aggregated tick of equal ones)."""
        return tables.request_log(self.record)

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """One row a node: what it gives, what its pods ask for, how full it is at the end."""
        return tables.nodes(self.record)

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row a sample period: queue lengths, utilisations and other levels over time."""
        return tables.series(self.record)

    @cached_property
    def fsyncs(self) -> pd.DataFrame:
        """One row an fsync of etcd's log: when it ended, how long it took, on which member's disk."""
        return tables.fsyncs(self.record)

    @cached_property
    def traffic(self) -> pd.DataFrame:
        """One row an outcome of a named traffic between pods: done, or why not; bytes, processor time, quantiles."""
        return tables.traffic(self.record)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """One row a strike of a fault: which, and from when to when. Figures over time shade them."""
        return tables.faults(self.record)

    @cached_property
    def resources(self) -> pd.DataFrame:
        """One row a contended thing: capacity, utilisation, waiting."""
        return tables.resources(self.record)

    @cached_property
    def schema(self) -> pd.DataFrame:
        """One row a column of any table: table, column, unit, meaning."""
        return tables.schema_table(self.record)

    # --- what they say

    @property
    def complete(self) -> bool:
        """False when the run was interrupted: everything here is about the part that ran."""
        return self.record.complete

    @cached_property
    def totals(self) -> dict[str, int]:
        """How many pods were requested, created, scheduled, started (seen running), and where they are at the end."""
        columns = self.record.pods
        phases = np.bincount(columns["phase"], minlength=len(Phase))
        return {
            "requested": int((~np.isnan(columns["requested_s"])).sum()),
            "created": int((~np.isnan(columns["created_s"])).sum()),
            "scheduled": int((~np.isnan(columns["scheduled_s"])).sum()),
            "started": int((~np.isnan(columns["watched_s"])).sum()),
            **{
                phase.name.lower(): int(phases[phase])
                for phase in Phase
                if phase not in (Phase.WAITING, Phase.SCHEDULED)
            },
        } | {"starting": int(phases[Phase.SCHEDULED])}

    def summary(self) -> pd.DataFrame:
        """One row a metric (index): mean, p50, p99, max in `unit`, how many values, objective and verdict if any."""
        import pandas as pd

        rows = {name: self._summary_row(*what) for name, what in self._metrics().items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(SUMMARY_COLUMNS)).rename_axis("metric")

    def _metrics(self) -> dict[str, tuple[np.ndarray, Counts, str, str]]:
        """Name -> values, their counts, unit, objective."""
        record = self.record
        columns = record.pods
        measured = tables.measured_pods(record)
        start = tables.startup(record)

        def between(first: str, last: str) -> np.ndarray:
            return present((columns[last] - columns[first])[measured])

        seconds = max(int(record.end_s - record.warm_up_s), 0)
        seen = present(columns["watched_s"])
        metrics: dict[str, tuple[np.ndarray, Counts, str, str]] = {
            "pod_startup": (present(start[measured]), None, "s", ""),
            "pod_startup_without_pull": (
                present((start - tables.pull_time(record))[measured]),
                None,
                "s",
                slo.POD_STARTUP.name,
            ),
            "request_to_running": (between("requested_s", "watched_s"), None, "s", ""),
            "scheduling": (between("created_s", "scheduled_s"), None, "s", ""),
            "binding": (between("scheduled_s", "bound_s"), None, "s", ""),
            "image_pull": (between("pull_started_s", "pull_ready_s"), None, "s", ""),
            "pods_started": (np.histogram(seen, record.warm_up_s + np.arange(seconds + 1))[0], None, "pods/s", ""),
        }
        if {"cpu", "memory"} <= set(filled_resources(record.nodes)):
            cpu, memory = (tables.fill(record, resource) for resource in ("cpu", "memory"))
            metrics["node_fill_cpu"] = present(cpu), None, "share", ""
            metrics["node_fill_memory"] = present(memory), None, "share", ""
            metrics["node_imbalance"] = present(np.abs(cpu - memory)), None, "share", ""
        log = record.requests
        for objective in slo.API_OBJECTIVES:
            kinds = [i for i, kind in enumerate(record.request_kinds) if objective.covers(kind)]
            rows = np.isin(log["kind"], kinds) & (log["time_s"] >= record.warm_up_s)
            if rows.any():
                metrics[objective.name.replace(" ", "_").lower()] = (
                    log["latency_s"][rows],
                    log["count"][rows],
                    "s",
                    objective.name,
                )
        sampled = record.series["time_s"] > record.warm_up_s
        for column in record.series_columns:
            if not column.name.endswith(OF_RESOURCES):
                values = np.asarray(record.series[column.name], np.float64)
                metrics[column.name] = (present(values[sampled]), None, column.unit, "")
        return metrics

    def _summary_row(self, values: np.ndarray, counts: Counts, unit: str, objective: str) -> list[object]:
        p50, p99, largest = quantiles(values, (0.5, 0.99, 1.0), counts)
        count = len(values) if counts is None else int(counts.sum())
        text, verdict = "", ""
        if objective:
            limit, found = self._by_objective[objective]
            text = f"p99 ≤ {limit:g} s"
            verdict = "missed" if "missed" in found else "met" if "met" in found else "no data"
        return [mean(values, counts), p50, p99, largest, unit, count, text, verdict]

    @cached_property
    def _verdicts(self) -> pd.DataFrame:
        return slo.verdicts(self.record)

    @cached_property
    def _by_objective(self) -> dict[str, tuple[float, set[str]]]:
        """Objective -> its limit, s, and the verdicts on its subjects."""
        found: dict[str, tuple[float, set[str]]] = {}
        table = self._verdicts
        for objective, limit, verdict in zip(table.objective, table.limit_s, table.verdict, strict=True):
            found.setdefault(objective, (limit, set()))[1].add(verdict)
        return found

    def slo(self) -> pd.DataFrame:
        """Kubernetes' own service levels, one row a verdict: met, missed or no data (see `sim.result.slo`)."""
        return self._verdicts.copy()

    @cached_property
    def churn(self) -> Churn:
        """Pod changes and user requests a second, against the 20/s that the service levels presume."""
        return slo.churn(self.record)

    @cached_property
    def _stages(self) -> pd.DataFrame:
        return bottlenecks.stages(self.record)

    def stages(self) -> pd.DataFrame:
        """Where start-up time goes, one row a stage: mean, quantiles, share of the whole, pods inside at the end."""
        return self._stages.copy()

    def bottlenecks(self) -> pd.DataFrame:
        """Resources, the one that limits most first: utilisation, queueing, share of the critical path, verdict."""
        return bottlenecks.bottlenecks(self.record, self._stages)

    def limits(self) -> str:
        """What limits, in a sentence or three."""
        return bottlenecks.sentence(self.record, self._stages, self.bottlenecks())

    def tenants(self) -> pd.DataFrame:
        """One row a tenant, the largest first: pods requested, started, pending, refused; start-up quantiles, s."""
        import pandas as pd

        pods = self.pods[self.pods.measured]
        by = pods.groupby("tenant", observed=True)
        table = pd.DataFrame(
            {
                "pods": by.size(),
                "started": by.watched_s.count(),
                "pending": (pods.phase == "Pending").groupby(pods.tenant, observed=True).sum(),
                "refused": (pods.phase == "Refused").groupby(pods.tenant, observed=True).sum(),
                "p50_s": by.startup_s.quantile(0.5),
                "p99_s": by.startup_s.quantile(0.99),
            }
        )
        return table.sort_values("pods", ascending=False, kind="stable")

    @cached_property
    def plot(self) -> Plots:
        """Figures: `result.plot.startup_breakdown()` and others, each a matplotlib Figure."""
        from sim.result.plots import Plots

        return Plots(self)

    # --- on disk

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> Path:
        """Write every table as Parquet and a manifest into `folder`, whole or not at all; returns its absolute path.

        force: replace a kubedes result that is there; a folder with anything else in it is never touched.
        Raises InputError when the folder may not be written, OutputError when the disk does not take it.
        """
        return storage.save(self.record, {name: getattr(self, name) for name in TABLES}, folder, force)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Result:
        """Read what `save` wrote. Raises InputError for a missing, incomplete, damaged or foreign folder."""
        return cls(storage.load(folder))

    def __repr__(self) -> str:
        record, totals = self.record, self.totals
        state = "" if record.complete else ", partial"
        return (
            f"<Result of {record.scenario.get('name', 'a scenario')}, seed {record.seed}: "
            f"{totals['requested']:,} pods requested, {totals['started']:,} started "
            f"on {len(record.nodes.get('name', ())):,} nodes in {record.end_s:g} s{state}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        table = self.summary().to_html(float_format="{:.4g}".format)
        return f"<p>{escape(repr(self))}</p><p>{escape(self.limits())}</p>{table}"
