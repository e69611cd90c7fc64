"""What every column of every result table means: name, unit, meaning. The tables are made from this, the docs too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sim.state.pods import POD_IDS, POD_TIMES, STAGES, Column, Stage

TABLES: Mapping[str, str] = {
    "pods": "one row a pod: who asked, what it asks for, every moment of its way",
    "requests": "one row a kind of API request, answered after the warm-up",
    "request_log": "one row an API request, or an aggregated tick of equal ones",
    "nodes": "one row a node, at the end of the run",
    "series": "one row a sample period: levels and utilisations over time",
    "fsyncs": "one row an fsync of etcd's log",
    "traffic": "one row an outcome of a named traffic between pods: done, or why not",
    "faults": "one row a strike of a fault: what broke, from when to when",
    "resources": "one row a contended thing: cores, seats, logs, links, rate limiters",
}
"""The tables of a result, in reading order."""


def stage_column(stage: Stage) -> str:
    """The pods column of a stage's duration: `scheduling queue` -> `scheduling_queue_s`."""
    return stage.name.lower().replace(" ", "_").replace("-", "_") + "_s"


_AS_NAMES = {
    "tenant": Column("tenant", "name", "tenant that asked for it"),
    "node": Column("node", "name", "node it was bound to; missing = none yet"),
    "phase": Column("phase", "name", "where it was at the end of the run: Waiting, Pending, Scheduled, Running, ..."),
}

PODS: tuple[Column, ...] = (
    *(_AS_NAMES.get(column.name, column) for column in POD_IDS),
    Column("namespace", "name", "namespace"),
    Column("cpu_millicores", "millicores", "cpu requested"),
    Column("memory_bytes", "bytes", "memory requested"),
    Column("images", "name", "images of its containers, separated by a blank"),
    Column("measured", "flag", "requested after the warm-up: part of summaries and verdicts"),
    *POD_TIMES,
    Column("startup_s", "s", "created to seen running by a watcher: watched_s - created_s"),
    Column("startup_without_pull_s", "s", "startup_s less the image pull: the pod start-up indicator of Kubernetes"),
    *(Column(stage_column(s), "s", f"stage '{s.name}' ({s.room}): {s.end} - {s.start}") for s in STAGES),
)

REQUEST_KINDS: tuple[Column, ...] = (
    Column("verb", "name", "POST, PUT, PATCH, DELETE, GET, LIST or WATCH"),
    Column("resource", "name", "resource, with its subresource"),
    Column("scope", "name", "resource, namespace or cluster"),
    Column("client", "name", "component that asked"),
    Column("code", "code", "HTTP status of the answer"),
)

REQUESTS: tuple[Column, ...] = (
    *REQUEST_KINDS,
    Column("count", "requests", "requests answered"),
    Column("mean_s", "s", "mean latency"),
    Column("p50_s", "s", "median latency"),
    Column("p90_s", "s", "90th percentile of the latency"),
    Column("p99_s", "s", "99th percentile of the latency"),
    Column("max_s", "s", "largest latency"),
)

REQUEST_LOG: tuple[Column, ...] = (
    Column("time_s", "s", "when it was answered (simulated time)"),
    Column("latency_s", "s", "from its arrival at the API server to its answer"),
    Column("count", "requests", "requests this row stands for; more than 1 for an aggregated tick"),
    Column("kind", "row", "its kind, a row of the requests table"),
    *REQUEST_KINDS,
)

RESOURCES: tuple[Column, ...] = (
    Column("name", "name", "the contended thing"),
    Column("room", "name", "component it belongs to"),
    Column("capacity", "units", "units that can be in use at once (cores, seats), or units per second"),
    Column("utilisation", "share", "mean share of the capacity in use"),
    Column("peak_utilisation", "share", "largest share in a sample period"),
    Column("served", "count", "jobs, requests or batches that passed"),
    Column("mean_wait_s", "s", "mean time one waited because of others"),
    Column("max_queue", "count", "most that waited at once"),
)

FSYNCS: tuple[Column, ...] = (
    Column("time_s", "s", "when it ended (simulated time)"),
    Column("latency_s", "s", "how long it took"),
    Column("member", "row", "member of etcd whose disk it was; 0 leads at the start"),
)

TRAFFIC: tuple[Column, ...] = (
    Column("traffic", "name", "name in `network.traffic`"),
    Column("kind", "name", "kind of traffic: bulk, shuffle, calls, north-south"),
    Column("outcome", "name", "`done`, `under way` at the end, or why it failed"),
    Column("count", "count", "transfers or calls with this outcome"),
    Column("bytes", "bytes", "payload moved, of all outcomes; in the first row of a traffic"),
    Column("wire_bytes", "bytes", "the same on the links, with headers and framing"),
    Column("lost_bytes", "bytes", "dropped by full queues: sent again by TCP, gone with UDP"),
    Column("cpu_s", "s", "processor time of all nodes for it"),
    Column("p50_s", "s", "median time of a transfer, or of a request from the front to the last answer, of those done"),
    Column("p90_s", "s", "90th percentile of it"),
    Column("p99_s", "s", "99th percentile of it"),
)

FAULTS: tuple[Column, ...] = (
    Column("fault", "name", "type of the fault"),
    Column("number", "row", "which one of the scenario's `faults`, from 0"),
    Column("begin_s", "s", "when it struck (simulated time)"),
    Column("end_s", "s", "when it was over; missing: it lasted until the end of the run"),
)

SERIES_TIME = Column("time_s", "s", "end of the sample period (simulated time)")

_NODE_COLUMNS = {
    "name": Column("name", "name", "node"),
    "pool": Column("pool", "name", "node pool"),
    "zone": Column("zone", "name", "zone"),
    "pods": Column("pods", "pods", "pods on it at the end"),
    "pods_started": Column("pods_started", "pods", "pods it started"),
    "state": Column(
        "state", "name", "absent, joining, ready, down, cut_off, refused (its certificate): at the end; only where nodes come and go"
    ),
    "ready_s": Column("ready_s", "s", "when it became ready; 0: before the run"),
    "removed_s": Column("removed_s", "s", "when its object was removed"),
}


def _unit_of(resource: str) -> str:
    if resource.startswith("cpu"):
        return "millicores"
    return "bytes" if resource.startswith(("memory", "ephemeral", "hugepages")) else "count"


def node_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of the nodes table: the recorded ones, then `fill_X` for each resource X that nodes give."""
    names = list(names)
    columns = []
    for name in names:
        kind, _, resource = name.partition("_")
        if name in _NODE_COLUMNS:
            columns.append(_NODE_COLUMNS[name])
        elif kind == "allocatable":
            columns.append(Column(name, _unit_of(resource), f"{resource} that pods may ask for"))
        elif kind == "requested":
            columns.append(Column(name, _unit_of(resource), f"{resource} that its pods asked for, at the end"))
        else:
            raise ValueError(
                f"the nodes table has no column '{name}'; known: {', '.join(_NODE_COLUMNS)}, allocatable_*, requested_*"
            )
    columns += [Column(f"fill_{r}", "share", f"requested_{r} / allocatable_{r}") for r in filled_resources(names)]
    return tuple(columns)


def filled_resources(names: Iterable[str]) -> list[str]:
    """Resources with both an allocatable and a requested column, in order."""
    known = list(names)
    given = [name.removeprefix("allocatable_") for name in known if name.startswith("allocatable_")]
    return [resource for resource in given if f"requested_{resource}" in known]
