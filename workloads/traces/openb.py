"""Reads the Alibaba GPU cluster trace 2023 (openb): a list of nodes and a list of pods of a production GPU cluster.

Source of the format: alibaba/clusterdata, cluster-trace-gpu-v2023. Its pod lists come in two forms, both read here:
with times (`openb_pod_list_default.csv`, the `gpuspec` lists) and, for the resampled ones (`multigpu`, `gpushare`,
`cpu` lists), requests alone.

What the trace does not say is decided here, and only here: see `PodRows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.base.errors import Problems
from sim.base.units import INT64_MAX
from sim.state.names import dns_subdomain_fault, label_value_fault
from sim.state.objects import (
    Affinity,
    Container,
    NodeSelectorTerm,
    NodeSpec,
    PodSpec,
    Requirement,
    pairs,
    quantities,
)
from sim.workload import Refusal
from workloads.shapes import GPU
from workloads.traces.csv_table import Column, Fault, Table, add_faults, read_table, require

GPU_MILLI = "alibabacloud.com/gpu-milli"
"""Thousandths of a GPU as a counted resource, all GPUs of a node together (the trace's own name for a share)."""
GPU_MODEL = "alibabacloud.com/gpu-card-model"
"""Node label with the GPU's model, as in the trace's own manifests."""
QOS = ("LS", "BE", "Burstable", "Guaranteed")
PHASES = ("Succeeded", "Failed", "Running", "Pending")
MIB = 2**20
HOW_TO_GET = "the lists are in github.com/alibaba/clusterdata, folder cluster-trace-gpu-v2023/csv"

NODE_COLUMNS = (
    Column("sn", "text"),
    Column("cpu_milli", "whole"),
    Column("memory_mib", "whole", high=INT64_MAX // MIB // 1024),
    Column("gpu", "whole", high=1024),
    Column("model", "text", blank=True),
)
REQUEST_COLUMNS = (
    Column("name", "text"),
    Column("cpu_milli", "whole"),
    Column("memory_mib", "whole", high=INT64_MAX // MIB // 1024),
    Column("num_gpu", "whole", high=1024),
    Column("gpu_milli", "whole", high=1000),
)
TIME_COLUMNS = (
    Column("gpu_spec", "text", blank=True),
    Column("qos", "text", allowed=QOS),
    Column("pod_phase", "text", allowed=PHASES),
    Column("creation_time", "number"),
    Column("deletion_time", "number", blank=True),
    Column("scheduled_time", "number", blank=True),
)


@dataclass(frozen=True)
class PodRows:
    """The usable rows of a pod list, in the file's order, one element a pod. Times in seconds of the trace.

    - A pod that Succeeded or Failed ran from `scheduled_time` to `deletion_time`.
    - A Running pod did so, too, until somebody deleted it; one whose deletion time is the last of the whole list, or
      is missing, was still running when the recording ended: its end is inf.
    - A Pending pod was never scheduled, and its user gave up at `deletion_time`; its run time is not known.
    """

    name: list[str]
    cpu_millicores: np.ndarray
    memory_bytes: np.ndarray
    gpus: np.ndarray
    """int64: whole GPUs, a share counted as one."""
    gpu_milli: np.ndarray
    """int64: thousandths of GPUs, over all GPUs of the pod."""
    models: list[tuple[str, ...]]
    """GPU models that will do; () = any."""
    qos: list[str]
    """"" where the list does not tell."""
    phase: list[str]
    """"" where the list does not tell."""
    created_s: np.ndarray
    """NaN throughout when the list has no times."""
    scheduled_s: np.ndarray
    """NaN for pods that never were."""
    deleted_s: np.ndarray
    """inf for pods that were not deleted before the recording ended."""
    where: list[str]
    """`file:line` of each."""
    timed: bool
    refused: tuple[Refusal, ...]
    rows_read: int

    def __len__(self) -> int:
        return len(self.name)


def read_nodes(file: Path, path: str, problems: Problems, gpu_milli: bool, max_pods: int) -> tuple[NodeSpec, ...]:
    """The nodes of a node list; () after a problem.

    path: the scenario's path of the parameter that names the file. gpu_milli: give GPUs as thousandths (`GPU_MILLI`)
    instead of whole ones. max_pods: pods a node takes, which the trace does not say.
    """
    table = _open(file, path, NODE_COLUMNS, problems)
    if table is None or not require(table, [column.name for column in NODE_COLUMNS], problems):
        return ()
    names = table.texts["sn"]
    faults = list(table.faults)
    faults += _name_faults(table, "sn")
    for row, model in enumerate(table.texts["model"]):
        if rule := label_value_fault(model):
            faults.append(Fault(row, table.where(row, "model"), model, f"(model) {rule}, as it becomes a label"))
    if faults:
        add_faults(_with(table, faults), problems)
        return ()
    resource, unit = (GPU_MILLI, 1000) if gpu_milli else (GPU, 1)
    amounts = {key: values.astype(np.int64).tolist() for key, values in table.numbers.items()}
    nodes = []
    for row, name in enumerate(names):
        allocatable = {"cpu": amounts["cpu_milli"][row], "memory": amounts["memory_mib"][row] * MIB, "pods": max_pods}
        labels = {"kubernetes.io/hostname": name}
        if amounts["gpu"][row]:
            allocatable[resource] = amounts["gpu"][row] * unit
            if model := _text(table.texts["model"][row]):
                labels[GPU_MODEL] = model
        nodes.append(NodeSpec(name=name, labels=pairs(labels), allocatable=quantities(allocatable)))
    return tuple(nodes)


def read_pods(file: Path, path: str, problems: Problems, refuse_bad_rows: bool) -> PodRows | None:
    """The pods of a pod list; None after a problem.

    Rows whose cells cannot be read are problems, or refused when `refuse_bad_rows`. Rows that can be read and
    contradict themselves (deleted before created, …) are refused and counted.
    """
    table = _open(file, path, (*REQUEST_COLUMNS, *TIME_COLUMNS), problems)
    if table is None:
        return None
    timed = any(column.name in table.header for column in TIME_COLUMNS)
    needed = (*REQUEST_COLUMNS, *TIME_COLUMNS) if timed else REQUEST_COLUMNS
    if not require(table, [column.name for column in needed], problems):
        return None
    faults = [*table.faults, *_name_faults(table, "name"), *_spec_faults(table)]
    refused: list[Refusal] = []
    if faults and not refuse_bad_rows:
        add_faults(_with(table, faults), problems)
        return None
    bad = np.zeros(len(table), bool)
    for fault in sorted(faults, key=lambda fault: fault.row):
        if not bad[fault.row]:
            refused.append(Refusal(fault.where, f"{fault.value!r} {fault.rule}"))
        bad[fault.row] = True
    _refuse_contradictions(table, timed, bad, refused)
    return _pod_rows(table, timed, np.flatnonzero(~bad), tuple(refused))


def _open(file: Path, path: str, columns: tuple[Column, ...], problems: Problems) -> Table | None:
    if not file.is_file():
        rule = "is a folder, not a file" if file.is_dir() else "does not exist"
        problems.add(path, str(file), rule, HOW_TO_GET)
        return None
    return read_table(file, columns, problems)


def _with(table: Table, faults: list[Fault]) -> Table:
    ordered = tuple(sorted(faults, key=lambda fault: fault.row))
    return Table(table.file, table.header, table.lines, table.texts, table.numbers, ordered)


def _text(cell: str) -> str:
    """A text cell; data frames write `nan` for an empty one."""
    return "" if cell.lower() == "nan" else cell


def _name_faults(table: Table, column: str) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for row, name in enumerate(table.texts[column]):
        if not name:
            continue
        if rule := dns_subdomain_fault(name):
            faults.append(Fault(row, table.where(row, column), name, f"({column}) {rule}"))
        elif (earlier := first.setdefault(name, row)) != row:
            rule = f"({column}) must be unique: line {table.lines[earlier]} has this name"
            faults.append(Fault(row, table.where(row, column), name, rule))
    return faults


def _models(cell: str) -> tuple[str, ...]:
    return tuple(sorted({model.strip() for model in _text(cell).split("|")} - {""}))


def _spec_faults(table: Table) -> list[Fault]:
    faults = []
    for row, cell in enumerate(table.texts.get("gpu_spec", [])):
        rule = next((rule for model in _models(cell) if (rule := label_value_fault(model))), "")
        if rule:
            faults.append(Fault(row, table.where(row, "gpu_spec"), cell, f"(gpu_spec) each model {rule}"))
    return faults


def _refuse_contradictions(table: Table, timed: bool, bad: np.ndarray, refused: list[Refusal]) -> None:
    """Mark in `bad`, and list in `refused`, the rows whose cells can be read but not be true together."""
    numbers = table.numbers
    tests = [
        ("gpu_milli", (numbers["num_gpu"] > 0) & (numbers["gpu_milli"] == 0), "asks for GPUs, but for none of them"),
        ("gpu_milli", (numbers["num_gpu"] == 0) & (numbers["gpu_milli"] > 0), "asks for a share of no GPU"),
    ]
    if timed:
        created, deleted, scheduled = (numbers[f"{event}_time"] for event in ("creation", "deletion", "scheduled"))
        phase = np.array(table.texts["pod_phase"])
        ended = np.isin(phase, ("Succeeded", "Failed"))
        with np.errstate(invalid="ignore"):
            tests += [
                ("deletion_time", deleted < created, "was deleted before it was created"),
                ("scheduled_time", scheduled < created, "was scheduled before it was created"),
                ("deletion_time", deleted < scheduled, "was deleted before it was scheduled"),
                (
                    "scheduled_time",
                    np.isnan(scheduled) & (ended | (phase == "Running")),
                    "ran, but was never scheduled",
                ),
                ("deletion_time", np.isnan(deleted) & ended, "ended at an unknown time"),
            ]
    for column, broken, reason in tests:
        for row in np.flatnonzero(broken & ~bad).tolist():
            refused.append(Refusal(table.where(row, column), reason))
            bad[row] = True


def _pod_rows(table: Table, timed: bool, rows: np.ndarray, refused: tuple[Refusal, ...]) -> PodRows:
    numbers = {key: values[rows] for key, values in table.numbers.items()}
    kept = rows.tolist()

    def texts(column: str) -> list[str]:
        cells = table.texts.get(column)
        return [cells[row] for row in kept] if cells is not None else [""] * len(kept)

    nothing = np.full(len(kept), np.nan)
    deleted = numbers.get("deletion_time", nothing)
    phase = texts("pod_phase")
    open_ended = np.isin(np.array(phase), ("Running", "Pending"))
    last = np.nanmax(table.numbers["deletion_time"]) if timed and np.any(~np.isnan(deleted)) else np.inf
    deleted = np.where(np.isnan(deleted) | (open_ended & (deleted >= last)), np.inf, deleted)
    gpus = numbers["num_gpu"].astype(np.int64)
    return PodRows(
        name=texts("name"),
        cpu_millicores=numbers["cpu_milli"].astype(np.int64),
        memory_bytes=numbers["memory_mib"].astype(np.int64) * MIB,
        gpus=gpus,
        gpu_milli=gpus * numbers["gpu_milli"].astype(np.int64),
        models=[_models(cell) for cell in texts("gpu_spec")],
        qos=texts("qos"),
        phase=phase,
        created_s=numbers.get("creation_time", nothing),
        scheduled_s=numbers.get("scheduled_time", nothing),
        deleted_s=deleted,
        where=[f"{table.file}:{table.lines[row]}" for row in kept],
        timed=timed,
        refused=refused,
        rows_read=len(table),
    )


def pod_template(
    namespace: str,
    cpu_millicores: int,
    memory_bytes: int,
    gpus: int,
    gpu_milli: int,
    models: tuple[str, ...],
    qos: str,
    priority: int,
    image: str,
) -> PodSpec:
    """The spec of a pod of the trace. Give either gpus or gpu_milli, the other one 0."""
    requests = {"cpu": cpu_millicores, "memory": memory_bytes, GPU: gpus, GPU_MILLI: gpu_milli}
    asked = quantities({name: amount for name, amount in requests.items() if amount})
    wanted = gpus or gpu_milli
    term = NodeSelectorTerm(match_expressions=(Requirement(GPU_MODEL, "In", models),))
    return PodSpec(
        namespace=namespace,
        labels=pairs({"qos": qos} if qos else None),
        containers=(Container("main", image, asked, tuple(pair for pair in asked if pair[0] in (GPU, GPU_MILLI))),),
        affinity=Affinity(node_required=(term,)) if models and wanted else None,
        priority=priority,
    )
