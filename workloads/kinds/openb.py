"""The Alibaba GPU cluster trace 2023 (openb) as a workload, with the trace's own nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import model_validator

from sim.base.errors import Problems, near_miss
from sim.base.rand import Streams
from sim.base.spec import param
from sim.state.objects import NodeSpec, PodSpec
from sim.workload import WORKLOADS, AppKind, Load, Refusal, Setting, WorkloadSpec
from workloads.images import check_image, draw_images
from workloads.traces.openb import QOS, PodRows, pod_template, read_nodes, read_pods

NAMESPACE = "openb"
"""The trace names no users: all its pods belong to one tenant with one namespace."""


@WORKLOADS.register("openb")
class Openb(WorkloadSpec):
    """Replays the openb trace: every pod at its time, with its requests and run time; brings the trace's own nodes."""

    nodes_csv: str = param("openb_node_list_all_node.csv", "the node list; relative to the scenario's folder")
    pods_csv: str = param("openb_pod_list_default.csv", "the pod list; relative to the scenario's folder")
    time_compression: float = param(
        1.0, "seconds of the trace in a simulated second, for arrivals and deletions", gt=0, le=1e9
    )
    duration_compression: float | None = param(
        None, "the same for run times; none: as time_compression, which keeps the trace's occupancy", gt=0, le=1e9
    )
    from_s: float = param(
        0.0, "the trace's time that is simulated time 0; pods that run then arrive at 0", ge=0, le=1e12
    )
    running_pods: Literal["finish", "deleted"] = param(
        "finish",
        "pods that ran until somebody deleted them: finish by themselves after the same run time, or are deleted "
        "by the user at the recorded time, however late they started",
    )
    gpus: Literal["whole", "milli"] = param(
        "whole",
        "a share of a GPU: rounded up to a whole nvidia.com/gpu, or counted in alibabacloud.com/gpu-milli over all "
        "GPUs of a node, as if a share could lie across cards",
    )
    untimed_rate_per_s: float | None = param(
        None,
        "steady rate for pod lists without times (multigpu, gpushare, cpu); their pods run until the end",
        gt=0,
        le=1e6,
    )
    bad_rows: Literal["error", "refuse"] = param(
        "error", "a pod row with a cell that cannot be read: stop, or leave it out"
    )
    priority_by_qos: dict[str, int] = param(
        {"Guaranteed": 9000, "LS": 9000, "Burstable": 7000, "BE": 5000},
        "pod priority by the trace's quality of service",
        source="Koordinator's priority bands prod, mid and batch; which QoS gets which band is our choice",
        unverified=True,
    )
    max_pods_per_node: int = param(
        110,
        "pods a node takes; the trace does not say",
        source="Kubernetes 1.20 source, kubelet defaults",
        ge=1,
        le=100_000,
    )
    image: str = param("", "image of all pods; empty: drawn by the popularity of the scenario's images")

    @model_validator(mode="after")
    def _known_qos(self) -> Self:
        for qos in self.priority_by_qos:
            if qos not in QOS:
                raise ValueError(
                    f"priority_by_qos: '{qos}' is no quality of service of the trace; {near_miss(qos, QOS)}"
                )
        return self

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        check_image(self.image, setting, f"{path}.image", problems)
        self._read(setting, path, problems)

    def build(self, setting: Setting, streams: Streams) -> Load:
        problems = Problems("openb trace")
        nodes, rows = self._read(setting, "workload", problems)
        problems.raise_if_any()
        if rows is None:  # a missing list of rows always has its problem
            raise AssertionError("read_pods returned nothing and reported nothing")
        return self._load(nodes, rows, setting, streams)

    def _read(self, setting: Setting, path: str, problems: Problems) -> tuple[tuple[NodeSpec, ...], PodRows | None]:
        base = Path(setting.base_dir)
        nodes = read_nodes(
            base / Path(self.nodes_csv).expanduser(),
            f"{path}.nodes_csv",
            problems,
            self.gpus == "milli",
            self.max_pods_per_node,
        )
        pods_file = base / Path(self.pods_csv).expanduser()
        rows = read_pods(pods_file, f"{path}.pods_csv", problems, self.bad_rows == "refuse")
        if rows is not None and not rows.timed and self.untimed_rate_per_s is None:
            rule = "must be given for a pod list without times (no creation_time column)"
            problems.add(f"{path}.untimed_rate_per_s", None, rule, "for example 1")
        if rows is not None and rows.timed and self.untimed_rate_per_s is not None:
            rule = "does nothing: this pod list has times"
            problems.add(f"{path}.untimed_rate_per_s", self.untimed_rate_per_s, rule, "leave it out")
        return nodes, rows

    def _load(self, nodes: tuple[NodeSpec, ...], rows: PodRows, setting: Setting, streams: Streams) -> Load:
        arrival_s, end_s, duration_s = self._times_s(rows)
        gone = rows.deleted_s <= self.from_s
        late = arrival_s >= setting.horizon_s
        order = np.argsort(arrival_s, kind="stable")
        order = order[~(gone | late)[order]]
        left_out = [Refusal(rows.where[row], "was gone before from_s") for row in np.flatnonzero(gone).tolist()]
        left_out += [
            Refusal(rows.where[row], "arrives after the horizon") for row in np.flatnonzero(late & ~gone).tolist()
        ]
        templates, template = self._templates(rows, setting, streams)
        size = len(order)
        return Load(
            templates=templates,
            tenants=(NAMESPACE,),
            app_time_s=arrival_s[order],
            app_end_s=end_s[order],
            app_kind=np.full(size, AppKind.POD, np.int8),
            app_template=template[order],
            app_tenant=np.zeros(size, np.int32),
            app_pods=np.ones(size, np.int32),
            app_parallelism=np.ones(size, np.int32),
            pod_duration_s=duration_s[order],
            nodes=nodes,
            refused=(*rows.refused, *left_out),
            rows_read=rows.rows_read,
            app_name=tuple(rows.name[row] for row in order.tolist()),
        )

    def _times_s(self, rows: PodRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(arrival, deletion by the user, run time) of each row in simulated seconds."""
        size = len(rows)
        if not rows.timed:
            arrival_s = np.arange(size) / (self.untimed_rate_per_s or 1.0)
            return arrival_s, np.full(size, np.inf), np.full(size, np.inf)
        arrival_s = np.maximum(rows.created_s - self.from_s, 0.0) / self.time_compression
        deletion_s = np.maximum(rows.deleted_s - self.from_s, 0.0) / self.time_compression
        phase = np.array(rows.phase)
        runs_until_deleted = (phase == "Pending") | ((phase == "Running") & (self.running_pods == "deleted"))
        ran_s = rows.deleted_s - np.fmax(rows.scheduled_s, self.from_s)
        duration_s = ran_s / (self.duration_compression or self.time_compression)
        return (
            arrival_s,
            np.where(runs_until_deleted, deletion_s, np.inf),
            np.where(runs_until_deleted, np.inf, duration_s),
        )

    def _templates(self, rows: PodRows, setting: Setting, streams: Streams) -> tuple[tuple[PodSpec, ...], np.ndarray]:
        """(distinct pod specs, index of each row's one)."""
        image = [self.image] * len(rows)
        if not self.image:
            drawn, images = draw_images(setting, streams, "workload.openb", len(rows))
            image = [images[index] for index in drawn.tolist()]
        whole = self.gpus == "whole"
        columns = zip(
            rows.cpu_millicores.tolist(),
            rows.memory_bytes.tolist(),
            (rows.gpus if whole else np.zeros_like(rows.gpus)).tolist(),
            (np.zeros_like(rows.gpu_milli) if whole else rows.gpu_milli).tolist(),
            rows.models,
            rows.qos,
            image,
            strict=True,
        )
        known: dict[tuple[object, ...], int] = {}
        templates: list[PodSpec] = []
        template = np.empty(len(rows), np.int32)
        for row, key in enumerate(columns):
            index = known.setdefault(key, len(templates))
            if index == len(templates):
                cpu, memory, gpus, milli, models, qos, name = key
                priority = self.priority_by_qos.get(qos, 0)
                templates.append(pod_template(NAMESPACE, cpu, memory, gpus, milli, models, qos, priority, name))
            template[row] = index
        return tuple(templates), template
