"""Plain Kubernetes manifests as a workload: what `kubectl apply` would create, or a dump of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, model_validator

from sim.apiserver.admission.objects import ResourceQuotaObject
from sim.apiserver.admission.reading import is_counted
from sim.base.errors import InputError, Problems, near_miss
from sim.base.rand import Dist, Streams
from sim.base.spec import param
from sim.controllers.cron_schedule import parse_schedule
from sim.state.applications import CronJobOptions
from sim.state.objects import Container, PodSpec
from sim.workload import WORKLOADS, AppKind, Load, Refusal, Setting, WorkloadSpec
from workloads.applications import OPENB, RUN_TIME
from workloads.draws import MAX_ITEMS
from workloads.manifests import Application, Manifests, load_manifests

KINDS = {
    "Pod": AppKind.POD,
    "Job": AppKind.JOB,
    "CronJob": AppKind.CRON_JOB,
    "StatefulSet": AppKind.STATEFUL_SET,
    "DaemonSet": AppKind.DAEMON_SET,
}
"""Every other kind keeps its pods running: a service."""
SHOWN = 20
"""Most unknown images that are listed."""


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


@WORKLOADS.register("manifests")
class FromManifests(WorkloadSpec):
    """Kubernetes YAML or JSON: pods, deployments, jobs, …, with nodes and quotas; `kubectl get -o yaml` dumps.

    A namespace that no tenant of the scenario owns becomes a tenant of the same name. A scenario that describes no
    images pulls none.
    """

    paths: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = param(
        ..., "files and folders (.yaml, .yml, .json within); relative to the scenario's folder"
    )
    creation_times: bool = param(
        False, "applications arrive at their creationTimestamp, from the earliest on; false: all at 0"
    )
    time_compression: float = param(1.0, "seconds between creation timestamps in a simulated second", gt=0, le=1e9)
    job_duration_s: Dist = param(RUN_TIME, "run time of each pod of a Job; manifests do not say", source=OPENB)
    pod_duration_s: Dist | None = param(None, "run time of each bare pod; none: until the end")
    unknown_images: str = param(
        "", "the scenario's image that stands for images it does not describe; empty: they are errors"
    )

    @model_validator(mode="after")
    def _timed(self) -> Self:
        if self.time_compression != 1 and not self.creation_times:
            raise ValueError(
                "time_compression does nothing without creation_times; leave it out, or set creation_times"
            )
        return self

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        images = [name for name, _ in setting.images]
        if self.unknown_images and self.unknown_images not in images:
            hint = near_miss(self.unknown_images, images)
            problems.add(f"{path}.unknown_images", self.unknown_images, "is no image of the scenario", hint)
        manifests = self._read(setting, path, problems)
        if manifests is None:
            return
        pods = sum(application.replicas for application in manifests.applications)
        if pods > MAX_ITEMS:
            problems.add(f"{path}.paths", list(self.paths), f"ask for {pods:,} pods, more than {MAX_ITEMS:,}")
        if images and not self.unknown_images:
            self._check_images(manifests, images, problems, path)

    def build(self, setting: Setting, streams: Streams) -> Load:
        problems = Problems("manifests")
        self.check(setting, "workload", problems)
        problems.raise_if_any()
        manifests = load_manifests(*self._files(setting), creation_times=self.creation_times)
        refused = [
            Refusal(f"{each.file}#{each.document}: {each.kind} {each.name}", each.reason) for each in manifests.refused
        ]
        kept = []
        for each in manifests.applications:
            if each.replicas == 0:
                refused.append(Refusal(_where(each), "asks for no pods"))
            elif each.created_s / self.time_compression >= setting.horizon_s:
                refused.append(Refusal(_where(each), "arrives after the horizon"))
            else:
                kept.append(each)
        rows = [self._rows(each, setting, len(manifests.nodes) or setting.nodes) for each in kept]
        quotas = tuple(self._quotas(manifests, refused))
        admission = replace(manifests.admission, quotas=tuple(quota for quota in quotas if quota.scopes))
        owner = {name: tenant for tenant, names in enumerate(setting.namespaces) for name in names}
        tenants = list(setting.tenants)
        for each in kept:
            if each.namespace not in owner:
                owner[each.namespace] = len(tenants)
                tenants.append(each.namespace)
        templates: dict[PodSpec, int] = {}
        known = {name for name, _ in setting.images}
        template = [templates.setdefault(self._stand_ins(each.template, known), len(templates)) for each in kept]
        pods = np.array(rows, np.int32)
        kind = np.array([KINDS.get(each.kind, AppKind.SERVICE) for each in kept], np.int8)
        return Load(
            templates=tuple(templates),
            tenants=tuple(tenants),
            app_time_s=np.array([each.created_s / self.time_compression for each in kept], np.float64),
            app_end_s=np.full(len(kept), np.inf),
            app_kind=kind,
            app_template=np.array(template, np.int32),
            app_tenant=np.array([owner[each.namespace] for each in kept], np.int32),
            app_pods=pods,
            app_parallelism=np.array([each.parallelism for each in kept], np.int32),
            pod_duration_s=self._durations_s(np.repeat(kind, pods), streams),
            nodes=manifests.nodes,
            quotas=tuple((quota.namespace, quota.hard) for quota in quotas if not quota.scopes),
            admission=admission,
            budgets=manifests.disruption_budgets,
            refused=tuple(refused),
            rows_read=manifests.documents,
            app_name=tuple(f"{each.namespace}/{each.name}" for each in kept),
            app_options={app: each.options for app, each in enumerate(kept) if each.options is not None},
        )

    def _rows(self, application: Application, setting: Setting, nodes: int) -> int:
        """Rows of the pod table that an application may need: a CronJob's for all its jobs, a DaemonSet's for all nodes."""
        if application.kind == "DaemonSet":
            return max(1, nodes)
        if isinstance(application.options, CronJobOptions):
            schedule = parse_schedule(application.options.schedule)
            starts = schedule.due(application.created_s / self.time_compression, setting.horizon_s)
            return max(1, len(starts)) * application.replicas
        return application.replicas

    def _files(self, setting: Setting) -> list[Path]:
        return [Path(setting.base_dir) / Path(path).expanduser() for path in self.paths]

    def _read(self, setting: Setting, path: str, problems: Problems) -> Manifests | None:
        try:
            return load_manifests(*self._files(setting), creation_times=self.creation_times)
        except InputError as error:
            problems.add(f"{path}.paths", list(self.paths), "cannot all be read", str(error))
            return None

    def _check_images(self, manifests: Manifests, images: list[str], problems: Problems, path: str) -> None:
        unknown: dict[str, Application] = {}
        for application in manifests.applications:
            for container in _containers(application.template):
                if container.image not in images:
                    unknown.setdefault(container.image, application)
        for image, application in list(unknown.items())[:SHOWN]:
            hint = f"describe it under images, or let {path}.unknown_images name one that stands for it"
            problems.add(_where(application), image, "is no image of the scenario", hint)
        if len(unknown) > SHOWN:
            rule = f"are no images of the scenario either; only the first {SHOWN} are shown"
            problems.add(f"{path}.paths", f"{len(unknown) - SHOWN} more", rule)

    def _stand_ins(self, spec: PodSpec, known: set[str]) -> PodSpec:
        """The spec with the stand-in for images that the scenario does not describe."""
        if all(container.image in known for container in _containers(spec)):
            return spec

        def swap(containers: tuple[Container, ...]) -> tuple[Container, ...]:
            return tuple(
                each if each.image in known else replace(each, image=self.unknown_images) for each in containers
            )

        return replace(spec, containers=swap(spec.containers), init_containers=swap(spec.init_containers))

    @staticmethod
    def _quotas(manifests: Manifests, refused: list[Refusal]) -> Iterator[ResourceQuotaObject]:
        """The quotas; limits that the simulated admission does not count are refused."""
        for quota in manifests.quotas:
            where = f"ResourceQuota {quota.namespace}/{quota.name}"
            counted = []
            for name, amount in quota.hard:
                if is_counted(name):
                    counted.append((name, amount))
                else:
                    refused.append(Refusal(f"{where}: {name}", "this limit is not simulated"))
            if counted:
                yield ResourceQuotaObject(quota.namespace, quota.name, tuple(counted), quota.scopes)

    def _durations_s(self, kind: np.ndarray, streams: Streams) -> np.ndarray:
        """Run time of each pod, by the kind of its application."""
        duration_s = np.full(len(kind), np.inf)
        for wanted, dist, name in (
            (AppKind.JOB, self.job_duration_s, "jobs"),
            (AppKind.CRON_JOB, self.job_duration_s, "cron_jobs"),
            (AppKind.POD, self.pod_duration_s, "pods"),
        ):
            chosen = kind == wanted
            if dist is not None:
                duration_s[chosen] = dist.sample(streams(f"workload.manifests.{name}.duration"), int(chosen.sum()))
        return duration_s


def _containers(spec: PodSpec) -> Iterator[Container]:
    yield from spec.containers
    yield from spec.init_containers


def _where(application: Application) -> str:
    return f"{application.source}: {application.kind} {application.name}"
