"""A scenario: one whole cluster, what arrives, and how long to look, as frozen and checked data.

    cluster = sim.Scenario.load("public-cloud").replace({"nodes.count": 2000, "network.cni": "bridge"})

Values come, the later over the earlier, from the specs' defaults, the preset of the Kubernetes version, the files that
the scenario extends, its own file, and `--set` or `replace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from sim.apiserver.identity import COMPONENTS, identity
from sim.apiserver.spec import ApiServerSpec
from sim.base.errors import Problems, near_miss
from sim.base.fields import Named
from sim.base.spec import Choice, Spec, param, unit_of
from sim.base.spec_tree import add_problems
from sim.base.yamltext import dump_yaml
from sim.controllers.leader_election import LeaderElectionSpec
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.spec import MachineSpec
from sim.etcd.spec import MAIN, EtcdSpec
from sim.faults.catalog import FAULTS, FaultSpec, Targets
from sim.images.layers import read_images
from sim.images.mixes import IMAGE_MIXES, ImageMixSpec
from sim.images.sources import IMAGE_SOURCES, SourceSpec
from sim.images.spec import ImageSpec
from sim.kubelet.runtime_class import RuntimeClassSpec
from sim.kubelet.runtimes import RUNTIMES, RuntimeSpec
from sim.kubelet.spec import KubeletSpec
from sim.network.spec import NetworkSpec
from sim.node_lifecycle.spec import AutoscalerSpec
from sim.nodes import NodesSpec
from sim.scenario_file import (
    Origin,
    layers_of_text,
    load_layers,
    merge,
    parse_set,
    version_preset,
    versions,
    with_values,
)
from sim.scheduler.profiles import PROFILES
from sim.scheduler.spec import SchedulerSpec
from sim.tenancy.spec import TenantsSpec
from sim.workload import WORKLOADS, Setting, WorkloadSpec


class Scenario(Spec):
    """A cluster, its tenants and its workload. Every `Scenario` that exists is consistent in itself."""

    name: str = param("", "what reports call it; a file's own name by default")
    description: str = param("", "what the scenario is for")
    kubernetes: str = param("1.20", "Kubernetes version; its preset sets what differs from the defaults")
    seed: int = param(1, "seed of every random stream", ge=0, le=2**63 - 1)
    horizon_s: float = param(600.0, "simulated time at which the run ends", gt=0, le=1e9)
    warm_up_s: float = param(0.0, "pods asked for before this time are left out of summaries", ge=0, le=1e9)
    sample_period_s: float = param(1.0, "period of the time series", gt=0, le=1e6)

    nodes: NodesSpec = NodesSpec()
    machines: Named[MachineSpec] = Field(
        {"control-plane": MachineSpec()}, description="machines of the control plane by name"
    )
    apiserver: ApiServerSpec = ApiServerSpec()
    etcd: EtcdSpec = EtcdSpec()
    controllers: ControllerManagerSpec = ControllerManagerSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    leader_election: LeaderElectionSpec = LeaderElectionSpec()
    kubelet: KubeletSpec = KubeletSpec()
    runtime: Annotated[RuntimeSpec, Choice(RUNTIMES)] = param("containerd", "the container runtime of every node")
    runtime_classes: Named[RuntimeClassSpec] = Field(
        {}, description="RuntimeClass objects by name: another runtime for pods that name one in runtimeClassName"
    )
    images: Named[ImageSpec] = Field({}, description="images by name; none: pods start without pulling")
    image_mix: Annotated[ImageMixSpec, Choice(IMAGE_MIXES)] | None = param(
        None, "further images, all at once; those under `images` win"
    )
    registry: Annotated[SourceSpec, Choice(IMAGE_SOURCES)] = param("single", "where images come from")
    network: NetworkSpec = NetworkSpec()
    tenants: TenantsSpec = TenantsSpec()
    workload: Annotated[WorkloadSpec, Choice(WORKLOADS)] | None = param(
        None, "what arrives; null: a cluster alone, whose load is given to `simulate`"
    )

    autoscaler: AutoscalerSpec | None = param(None, "the cluster autoscaler; null: nodes are as many as there are")
    faults: tuple[Annotated[FaultSpec, Choice(FAULTS)], ...] = param((), "what breaks, when, and for how long")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @field_validator("kubernetes", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> str:
        text = _version_text(value)
        if text not in versions():
            raise ValueError(f"is no version with a preset; {near_miss(text, versions())}")
        return text

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, data: Any, handler: Callable[[Any], Self], info: Any) -> Self:
        """Fill in the version's preset; raise `InputError` with everything that is wrong."""
        if isinstance(data, cls):
            return data
        origin = info.context if isinstance(info.context, Origin) else Origin(dict(data))
        problems = Problems(origin.subject)
        version = data.get("kubernetes", cls.model_fields["kubernetes"].default)
        values = merge(version_preset(_version_text(version)), data)
        wrong: set[str] = set()
        try:
            scenario = handler(values)
        except ValidationError as error:
            add_problems(error, cls, values, problems)
            wrong = {str(detail["loc"][0]) for detail in error.errors()}
            scenario = handler({key: item for key, item in values.items() if key not in wrong})
        scenario._origin = origin
        for sections, check in _CHECKS:
            if not wrong & set(sections):
                check(scenario, problems)
        problems.raise_if_any()
        return scenario

    # --- reading and writing

    @classmethod
    def load(cls, name_or_path: str | Path, sets: Mapping[str, Any] | Iterable[str] = ()) -> Self:
        """A built-in scenario by name, or a file by its path.

        sets: values to put over the file's, as `{"a.b.c": value}` or `["a.b.c=value", …]`. `InputError` lists all that
        is wrong. Files that a workload reads are not opened here: see `check`.
        """
        return cls._read(load_layers(name_or_path), sets)

    @classmethod
    def from_text(cls, text: str, base_dir: str = ".", sets: Mapping[str, Any] | Iterable[str] = ()) -> Self:
        """A scenario from YAML text; relative paths in it start at `base_dir`."""
        return cls._read(layers_of_text(text, base_dir), sets)

    @classmethod
    def _read(cls, origin: Origin, sets: Mapping[str, Any] | Iterable[str]) -> Self:
        pairs = dict(sets) if isinstance(sets, Mapping) else dict(map(parse_set, sets))
        origin = Origin(with_values(origin.given, pairs), origin.base_dir, origin.subject)
        return cls.model_validate(origin.given, context=origin)

    def replace(self, values: Mapping[str, Any]) -> Self:
        """A scenario with other values at these paths: `{"nodes.count": 2000, "network.cni": "bridge"}`.

        What was never set follows a new Kubernetes version's preset. `InputError` on an unknown path, with a near miss.
        """
        return self._read(self._origin, values)

    def dump(self) -> str:
        """The fully resolved scenario as YAML; loading it gives an equal scenario."""
        return dump_yaml(self.model_dump(by_alias=True))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON Schema of scenario files, with descriptions, bounds and sources, for editors."""
        schema = cls.model_json_schema(by_alias=True)
        _accept_text_with_units(schema)
        names = {"type": "string", "description": "name or path of a scenario or preset"}
        schema["properties"]["extends"] = {
            "anyOf": [names, {"type": "array", "items": names}],
            "description": "what this scenario is laid over; later ones win",
        }
        schema["properties"]["kubernetes"]["enum"] = versions()
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "kubedes scenario"}

    # --- what the simulation asks

    @property
    def base_dir(self) -> str:
        """Folder against which relative paths are resolved; built-in scenarios: the current one."""
        return self._origin.base_dir

    def all_images(self, problems: Problems | None = None) -> dict[str, ImageSpec]:
        """The images of the mix, and those of `images` over them. problems: takes what cannot be read of the mix."""
        if self.image_mix is None:
            return self.images
        found = self.image_mix.images(
            self.base_dir, "image_mix", Problems(self._origin.subject) if problems is None else problems
        )
        return {**found, **self.images}

    def setting(self) -> Setting:
        """What the workload may know of this scenario."""
        tenants = self.tenants.build()
        return Setting(
            horizon_s=self.horizon_s,
            tenants=tuple(tenant.name for tenant in tenants),
            namespaces=tuple(tenant.namespaces for tenant in tenants),
            tenant_weight=np.array([tenant.share for tenant in tenants]),
            images=tuple((name, image.popularity) for name, image in self.all_images().items()),
            base_dir=self.base_dir,
            nodes=sum(self.nodes.pool_counts().values()),
        )

    def check(self) -> None:
        """Raise `InputError` with all that would keep a run from starting: no workload, a missing or bad trace."""
        problems = Problems(self._origin.subject)
        if self.workload is None:
            problems.add("workload", None, "must be given: nothing arrives", f"one of {', '.join(WORKLOADS)}")
        else:
            self.workload.check(self.setting(), "workload", problems)
        self.apiserver.authorization.check_files("apiserver.authorization", self.kubernetes, self.base_dir, problems)
        self.apiserver.admission.check("apiserver.admission", self.base_dir, problems)
        self.apiserver.flow_control.check("apiserver.flow_control", self.base_dir, problems)
        if self.scheduler.configuration and not (Path(self.base_dir) / self.scheduler.configuration).is_file():
            problems.add(
                "scheduler.configuration",
                self.scheduler.configuration,
                "is not a file",
                f"relative paths start at {Path(self.base_dir).resolve()}",
            )
        problems.raise_if_any()

    def checked_workload(self) -> WorkloadSpec:
        """The workload, after `check`."""
        self.check()
        assert self.workload is not None
        return self.workload

    def _repr_html_(self) -> str:
        pools = ", ".join(f"{count:,} {name}" for name, count in self.nodes.pool_counts().items())
        rows = {
            "Kubernetes": self.kubernetes,
            "nodes": pools or "from the workload",
            "network": type(self.network.cni).__name__,
            "runtime": type(self.runtime).__name__,
            "tenants": f"{self.tenants.count:,}",
            "workload": type(self.workload).__name__ if self.workload else "none",
            "horizon": f"{self.horizon_s:g} s",
        }
        body = "".join(f"<tr><th>{escape(key)}</th><td>{escape(text)}</td></tr>" for key, text in rows.items())
        return f"<table><caption>{escape(self.name or 'scenario')}</caption>{body}</table>"


def _version_text(value: Any) -> str:
    """A version as text; YAML reads an unquoted 1.20 as the number 1.2."""
    text = str(value)
    return f"{text}0" if not isinstance(value, str) and text not in versions() else text


def _check_times(scenario: Scenario, problems: Problems) -> None:
    horizon_s = scenario.horizon_s
    if scenario.warm_up_s >= horizon_s:
        problems.add("warm_up_s", scenario.warm_up_s, f"must be less than horizon_s ({horizon_s:g})")
    if scenario.sample_period_s > horizon_s:
        problems.add("sample_period_s", scenario.sample_period_s, f"must be at most horizon_s ({horizon_s:g})")


def _check_nodes(scenario: Scenario, problems: Problems) -> None:
    scenario.nodes.check("nodes", problems)
    if scenario.nodes.from_workload and scenario.workload is None:
        problems.add("nodes.from_workload", True, "needs a workload that brings nodes", "such as openb or manifests")


def _check_machines(scenario: Scenario, problems: Problems) -> None:
    asked = {
        "apiserver.machine": scenario.apiserver.machine,
        **{f"apiserver.machines[{i}]": name for i, name in enumerate(scenario.apiserver.machines)},
        "controllers.machine": scenario.controllers.machine,
        "scheduler.machine": scenario.scheduler.machine,
        **({"kubelet.hollow_on": scenario.kubelet.hollow_on} if scenario.kubelet.hollow_on else {}),
        **{f"etcd.machines[{i}]": name for i, name in enumerate(scenario.etcd.machines)},
        **{f"etcd.groups.{group}.machines[{i}]": name for group, spec in scenario.etcd.groups.items()
           for i, name in enumerate(spec.machines)},
    }
    for path, name in asked.items():
        if name not in scenario.machines:
            problems.add(path, name, "is not one of the machines", near_miss(name, scenario.machines))


def _check_profile(scenario: Scenario, problems: Problems) -> None:
    name = scenario.scheduler.profile
    if name not in PROFILES:
        problems.add("scheduler.profile", name, "is no scheduler profile", near_miss(name, PROFILES))


def _check_tenants(scenario: Scenario, problems: Problems) -> None:
    scenario.tenants.check("tenants", problems)


def _check_images(scenario: Scenario, problems: Problems) -> None:
    all_images = scenario.all_images(problems)
    if all_images and not any(image.popularity for image in all_images.values()):
        problems.add("images", 0, "leave no image with a popularity above 0")
    images = read_images(all_images, "images", problems)
    scenario.registry.check("registry", images, problems)
    for name, image in scenario.images.items():
        if image.pushed_at_s and image.present_share:
            rule = "must be 0 for an image that is pushed during the run"
            problems.add(f"images.{name}.present_share", image.present_share, rule, "or leave out pushed_at_s")


def _check_network(scenario: Scenario, problems: Problems) -> None:
    scenario.network.check("network", scenario.nodes.most, problems)


def _check_api_server(scenario: Scenario, problems: Problems) -> None:
    spec = scenario.apiserver
    users = (*COMPONENTS, *scenario.tenants.names()) if spec.authentication.users else ()
    spec.pki.check("apiserver.pki", problems)
    spec.authentication.check("apiserver.authentication", spec.pki, users, problems)
    spec.authorization.check("apiserver.authorization", problems)


def _check_autoscaler(scenario: Scenario, problems: Problems) -> None:
    pools = scenario.nodes.all_pools
    if scenario.autoscaler is not None and not any(pool.maximum is not None for pool in pools.values()):
        problems.add("autoscaler", "given", "has no pool to grow or shrink", "give a pool a maximum")
    for name, pool in pools.items():
        if scenario.autoscaler is None and pool.maximum is not None:
            problems.add(f"nodes.pools.{name}.maximum", pool.maximum, "needs an autoscaler", "add `autoscaler: {}`")


def _check_faults(scenario: Scenario, problems: Problems) -> None:
    groups = {MAIN: len(scenario.etcd.machines), **{name: len(group.machines) for name, group in scenario.etcd.groups.items()}}
    names = (*COMPONENTS, *scenario.tenants.names()) if scenario.faults else ()
    users = {name: scenario.apiserver.authentication.by_certificate(identity(name)) for name in names}
    zones = {node.spec.name: node.zone for node in scenario.nodes.build()} if scenario.faults else {}
    targets = Targets(
        groups, scenario.scheduler.replicas, users, zones, scenario.apiserver.replicas, scenario.controllers.replicas
    )
    for number, fault in enumerate(scenario.faults):
        fault.check(f"faults[{number}]", targets, problems)


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[Scenario, Problems], None]], ...] = (
    (("horizon_s", "warm_up_s", "sample_period_s"), _check_times),
    (("nodes", "workload"), _check_nodes),
    (("machines", "apiserver", "etcd", "controllers", "scheduler", "kubelet"), _check_machines),
    (("scheduler",), _check_profile),
    (("tenants",), _check_tenants),
    (("images", "image_mix", "registry"), _check_images),
    (("network", "nodes"), _check_network),
    (("apiserver", "tenants"), _check_api_server),
    (("autoscaler", "nodes"), _check_autoscaler),
    (("faults", "etcd", "scheduler", "tenants", "apiserver"), _check_faults),
)
"""(sections that a check reads, check): a check is left out when one of its sections cannot be read."""


def _accept_text_with_units(node: Any) -> None:
    """Let numbers with a unit in their name be text too, and distributions be numbers, as the loader does."""
    if isinstance(node, list):
        for item in node:
            _accept_text_with_units(item)
    elif isinstance(node, dict):
        for item in node.values():
            _accept_text_with_units(item)
        for name, field in node.get("properties", {}).items():
            about = {
                key: field[key] for key in ("title", "description", "default", "source", "unverified") if key in field
            }
            rest = {key: item for key, item in field.items() if key not in about}
            if rest.get("discriminator", {}).get("propertyName") == "dist":
                numbers = [{"type": "number"}, *([{"type": "string"}] if unit_of(name).read else [])]
                node["properties"][name] = {**about, "anyOf": [rest, *numbers]}
            elif unit_of(name).read and rest.get("type") in ("number", "integer"):
                node["properties"][name] = {**about, "anyOf": [rest, {"type": "string"}]}
