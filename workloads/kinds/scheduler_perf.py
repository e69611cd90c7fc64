"""A workload of Kubernetes' scheduler benchmark, scheduler_perf, with its own nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.base.spec import param
from sim.state.objects import PodSpec
from sim.workload import WORKLOADS, AppKind, Load, Setting, WorkloadSpec
from workloads.draws import MAX_ITEMS
from workloads.images import check_image, most_popular
from workloads.traces.scheduler_perf import read_config
from workloads.traces.scheduler_perf_plan import Plan, make_plan, with_image

TENANT = "scheduler-perf"
"""Owner of the namespaces that no tenant of the scenario has."""


@WORKLOADS.register("scheduler_perf")
class SchedulerPerf(WorkloadSpec):
    """One workload of scheduler_perf: creates pods, waits until they are scheduled, goes on, as the benchmark does.

    As there, nodes are objects alone (no kubelet starts a pod), so pods are scheduled and never run. Bring the nodes in
    with `nodes.from_workload: true`.
    """

    config: str = param("performance-config.yaml", "the benchmark's configuration; relative to the scenario's folder")
    case: str = param("", "which workload of it, as `SchedulingBasic/500Nodes`; empty: the first")
    image: str = param("", "image of all pods; empty: the scenario's most popular one")

    def plan(self, base_dir: str) -> Plan:
        """The workload's nodes, applications and steps. Raises InputError with everything that cannot be played."""
        return make_plan(read_config(Path(base_dir) / Path(self.config).expanduser()), self.case)

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        check_image(self.image, setting, f"{path}.image", problems)
        try:
            plan = self.plan(setting.base_dir)
        except InputError as error:
            problems.add(path, self.case or self.config, "cannot be played", str(error))
            return
        pods = sum(app.pods for app in plan.apps)
        if pods > MAX_ITEMS:
            problems.add(f"{path}.case", self.case, f"makes {pods:,} pods, more than {MAX_ITEMS:,}")
        if not plan.nodes and not setting.nodes:
            problems.add(f"{path}.case", self.case, "creates no nodes", "give the scenario node pools")

    def build(self, setting: Setting, streams: Streams) -> Load:
        problems = Problems("scheduler_perf workload")
        self.check(setting, "workload", problems)
        problems.raise_if_any()
        plan = self.plan(setting.base_dir)
        image = self.image or most_popular(setting)
        owner = {name: tenant for tenant, names in enumerate(setting.namespaces) for name in names}
        templates: dict[PodSpec, int] = {}
        template = [templates.setdefault(with_image(app.template, image), len(templates)) for app in plan.apps]
        size = len(plan.apps)
        pods = np.array([app.pods for app in plan.apps], np.int32)
        return Load(
            templates=tuple(templates),
            tenants=(*setting.tenants, TENANT),
            app_time_s=np.zeros(size),
            app_end_s=np.full(size, np.inf),
            app_kind=np.full(size, AppKind.POD, np.int8),
            app_template=np.array(template, np.int32),
            app_tenant=np.array(
                [owner.get(app.template.namespace, len(setting.tenants)) for app in plan.apps], np.int32
            ),
            app_pods=pods,
            app_parallelism=pods,
            pod_duration_s=np.full(int(pods.sum()), np.inf),
            nodes=plan.nodes,
            refused=plan.left_out,
            rows_read=len(plan.case.operations),
            app_name=tuple(app.name for app in plan.apps),
            namespaces=plan.namespaces,
            script=plan.steps,
            nodes_run=False,
        )
