"""From the columns a run leaves to the tables a reader uses: a function each, columns as in `schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.result import schema
from sim.result.quantiles import mean, quantiles
from sim.result.record import RequestKind, RunRecord
from sim.state.pods import POD_TIMES, STAGES, Phase

if TYPE_CHECKING:
    import pandas as pd

PHASES: tuple[str, ...] = tuple(phase.name.capitalize() for phase in Phase)


def measured_pods(record: RunRecord) -> np.ndarray:
    """bool, one a pod: it was requested after the warm-up (a pod whose application never arrived was not)."""
    return record.pods["requested_s"] >= record.warm_up_s


def startup(record: RunRecord) -> np.ndarray:
    """float64, one a pod: created to seen running by a watcher, s; NaN if not seen."""
    return record.pods["watched_s"] - record.pods["created_s"]


def pull_time(record: RunRecord) -> np.ndarray:
    """float64, one a pod: time spent pulling images so far, s; 0 before it began."""
    began, ready = record.pods["pull_started_s"], record.pods["pull_ready_s"]
    until = np.where(np.isnan(ready), record.end_s, ready)
    return np.where(np.isnan(began), 0.0, until - began)


def stage_times(record: RunRecord) -> dict[str, np.ndarray]:
    """Duration of each stage by its name: float64, one a pod, NaN where it has not ended."""
    return {stage.name: record.pods[stage.end] - record.pods[stage.start] for stage in STAGES}


def pods(record: RunRecord) -> pd.DataFrame:
    """The pods table; index `pod` is the pod's row in the load."""
    import pandas as pd

    columns = record.pods
    templates = columns["template"]

    def of_template(key: str, default: int) -> np.ndarray:
        return np.array([template.get(key, default) for template in record.templates] or [default], np.int64)[templates]

    def named(values: list[str]) -> pd.Categorical:
        codes, names = pd.factorize(np.array(values or [""], object))
        return pd.Categorical.from_codes(codes[templates], categories=pd.Index(names))

    start = startup(record)
    table = {
        "app": columns["app"],
        "template": templates,
        "tenant": pd.Categorical.from_codes(columns["tenant"], categories=pd.Index(record.tenants, dtype=object)),
        "node": pd.Categorical.from_codes(
            columns["node"], categories=pd.Index(list(record.nodes.get("name", ())), dtype=object)
        ),
        "phase": pd.Categorical.from_codes(columns["phase"], categories=pd.Index(PHASES, dtype=object)),
        "attempts": columns["attempts"],
        **{name: columns[name] for name in ("restarts", "address")},
        "namespace": named([str(template.get("namespace", "default")) for template in record.templates]),
        "cpu_millicores": of_template("cpu_millicores", 0),
        "memory_bytes": of_template("memory_bytes", 0),
        "images": named([" ".join(template.get("images", ())) for template in record.templates]),
        "measured": measured_pods(record),
        **{column.name: columns[column.name] for column in POD_TIMES},
        "startup_s": start,
        "startup_without_pull_s": start - pull_time(record),
        **{schema.stage_column(stage): columns[stage.end] - columns[stage.start] for stage in STAGES},
    }
    frame = pd.DataFrame({column.name: table[column.name] for column in schema.PODS}, copy=False)
    frame.index.name = "pod"
    return frame


def requests(record: RunRecord) -> pd.DataFrame:
    """The requests table: one row a kind, latencies of what was answered after the warm-up."""
    import pandas as pd

    log = record.requests
    kept = np.flatnonzero(log["time_s"] >= record.warm_up_s)
    kept = kept[np.argsort(log["kind"][kept], kind="stable")]
    kind, latency, count = log["kind"][kept], log["latency_s"][kept], log["count"][kept]
    bounds = np.searchsorted(kind, np.arange(len(record.request_kinds) + 1))
    rows = []
    for i, what in enumerate(record.request_kinds):
        part = slice(bounds[i], bounds[i + 1])
        p50, p90, p99, largest = quantiles(latency[part], (0.5, 0.9, 0.99, 1.0), count[part])
        rows.append((*_fields(what), int(count[part].sum()), mean(latency[part], count[part]), p50, p90, p99, largest))
    return pd.DataFrame(rows, columns=[column.name for column in schema.REQUESTS])


def request_log(record: RunRecord) -> pd.DataFrame:
    """The raw request log, its kinds spelled out as categories."""
    import pandas as pd

    log = record.requests
    table: dict[str, object] = {name: log[name] for name in ("time_s", "latency_s", "count", "kind")}
    for position, column in enumerate(schema.REQUEST_KINDS):
        values = [_fields(kind)[position] for kind in record.request_kinds]
        codes, names = pd.factorize(np.array(values, object))
        table[column.name] = pd.Categorical.from_codes(codes[log["kind"]], categories=pd.Index(names))
    return pd.DataFrame(table, copy=False)


def _fields(kind: RequestKind) -> tuple[str, str, str, str, int]:
    return kind.verb, kind.resource, kind.scope, kind.client, kind.code


def nodes(record: RunRecord) -> pd.DataFrame:
    """The nodes table, with the share of each resource that is asked for."""
    import pandas as pd

    table = {name: np.asarray(values) for name, values in record.nodes.items()}
    for resource in schema.filled_resources(record.nodes):
        table[f"fill_{resource}"] = fill(record, resource)
    return pd.DataFrame({column.name: table[column.name] for column in schema.node_columns(record.nodes)})


def fill(record: RunRecord, resource: str) -> np.ndarray:
    """float64, one a node: share of a resource that pods ask for at the end; NaN of a node that has none of it."""
    allocatable = np.asarray(record.nodes[f"allocatable_{resource}"], np.float64)
    filled = np.full(len(allocatable), np.nan)
    np.divide(record.nodes[f"requested_{resource}"], allocatable, out=filled, where=allocatable > 0)
    return filled


def series(record: RunRecord) -> pd.DataFrame:
    """The sampled levels, one row a sample period."""
    import pandas as pd

    names = [schema.SERIES_TIME.name, *(column.name for column in record.series_columns)]
    return pd.DataFrame({name: record.series[name] for name in names})


def resources(record: RunRecord) -> pd.DataFrame:
    """The contended things, in the order of the record."""
    import pandas as pd

    names = [column.name for column in schema.RESOURCES]
    return pd.DataFrame([[getattr(stat, name) for name in names] for stat in record.resources], columns=names)


def fsyncs(record: RunRecord) -> pd.DataFrame:
    """The fsyncs of etcd's log, in the order of their ends."""
    import pandas as pd

    return pd.DataFrame({column.name: record.fsyncs[column.name] for column in schema.FSYNCS}, copy=False)


def traffic(record: RunRecord) -> pd.DataFrame:
    """What became of the traffic between pods, in the order of the scenario; first what was done."""
    import pandas as pd

    return pd.DataFrame({column.name: record.traffic[column.name] for column in schema.TRAFFIC}, copy=False)


def faults(record: RunRecord) -> pd.DataFrame:
    """The strikes of the scenario's faults, in their order."""
    import pandas as pd

    return pd.DataFrame({column.name: record.faults[column.name] for column in schema.FAULTS}, copy=False)


def columns_of(record: RunRecord) -> dict[str, tuple[schema.Column, ...]]:
    """The declared columns of each table of this record."""
    return {
        "pods": schema.PODS,
        "requests": schema.REQUESTS,
        "request_log": schema.REQUEST_LOG,
        "nodes": schema.node_columns(record.nodes),
        "series": (schema.SERIES_TIME, *record.series_columns),
        "fsyncs": schema.FSYNCS,
        "traffic": schema.TRAFFIC,
        "faults": schema.FAULTS,
        "resources": schema.RESOURCES,
    }


def schema_table(record: RunRecord) -> pd.DataFrame:
    """One row a column of any table: table, column, unit, meaning."""
    import pandas as pd

    rows = [(table, c.name, c.unit, c.meaning) for table, columns in columns_of(record).items() for c in columns]
    return pd.DataFrame(rows, columns=["table", "column", "unit", "meaning"])
