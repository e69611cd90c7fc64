"""What every entry of the workload catalogs must do, whoever wrote it: a new file is covered by being there."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import yaml

from sim.base.errors import Problems
from sim.base.rand import Streams
from sim.base.spec import Choice, Spec
from sim.workload import WORKLOADS, AppKind, Load, Setting, WorkloadSpec
from workloads import ARRIVALS, MIXES, ArrivalProcess
from workloads.shapes import MixField

MakeSetting = Callable[..., Setting]
DATA = Path(__file__).parent / "data"
GIVEN: dict[str, dict[str, Any]] = {
    "openb": {"nodes_csv": str(DATA / "nodes.csv"), "pods_csv": str(DATA / "pods.csv")},
    "manifests": {"paths": [str(DATA / "shop.yaml")]},
    "scheduler_perf": {"config": str(DATA / "scheduler_perf" / "performance-config.yaml")},
}
"""What an entry needs, beside its defaults."""
LARGEST_DEFAULT = 200_000
"""Pods that an entry's defaults may make in ten minutes on 20 nodes."""


class Holder(Spec):
    """A scenario in small."""

    workload: Annotated[WorkloadSpec, Choice(WORKLOADS)]
    arrivals: Annotated[ArrivalProcess, Choice(ARRIVALS)] = ARRIVALS["poisson"]()
    mix: MixField = MIXES["web"]


def hold(**content: Any) -> Holder:
    return Holder(**{"workload": "poisson", **content})


def through_yaml(holder: Holder) -> Holder:
    """What a dump of the scenario gives back."""
    return Holder(**yaml.safe_load(yaml.safe_dump(holder.model_dump(mode="json", by_alias=True), sort_keys=False)))


def same(left: Load, right: Load) -> bool:
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Load)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@pytest.fixture(params=list(WORKLOADS))
def workload(request: pytest.FixtureRequest) -> WorkloadSpec:
    return WORKLOADS[request.param](**GIVEN.get(request.param, {}))


def test_a_workload_builds_a_sound_load(workload: WorkloadSpec, setting: MakeSetting) -> None:
    problems = Problems("scenario")
    workload.check(setting(), "workload", problems)
    assert [str(problem) for problem in problems.found] == []
    load = workload.build(setting(), Streams(1))
    size = len(load.app_time_s)
    assert 0 < load.pods < LARGEST_DEFAULT
    types = {
        "app_time_s": "f8",
        "app_end_s": "f8",
        "app_kind": "i1",
        "app_template": "i4",
        "app_tenant": "i4",
        "app_pods": "i4",
        "app_parallelism": "i4",
    }
    for column, dtype in types.items():
        values = getattr(load, column)
        assert values.dtype == np.dtype(dtype), column
        assert values.shape == (size,), column
    assert load.pod_duration_s.dtype == np.float64
    assert load.app_pods.sum() == len(load.pod_duration_s)
    assert np.all(np.diff(load.app_time_s) >= 0)
    assert np.all((load.app_time_s >= 0) & (load.app_time_s < setting().horizon_s))
    assert np.all(load.app_end_s >= load.app_time_s)
    assert not np.any(np.isnan(load.pod_duration_s))
    assert np.all(load.pod_duration_s > 0)
    assert set(load.app_kind.tolist()) <= set(AppKind)
    assert np.all((load.app_parallelism >= 1) & (load.app_parallelism <= load.app_pods))
    assert np.all(load.app_parallelism[load.app_kind != AppKind.JOB] == load.app_pods[load.app_kind != AppKind.JOB])
    assert np.all(np.isinf(load.pod_duration_s[np.repeat(load.app_kind == AppKind.SERVICE, load.app_pods)]))
    assert set(load.app_template.tolist()) <= set(range(len(load.templates)))
    assert set(load.app_tenant.tolist()) <= set(range(len(load.tenants)))
    assert len(load.app_name) in (0, size)
    known = {name for name, _ in setting().images}
    assert {container.image for spec in load.templates for container in spec.containers} <= known
    spaces_of = zip(setting().tenants, setting().namespaces, strict=True)
    owned = {space: tenant for tenant, spaces in spaces_of for space in spaces}
    for namespace, tenant in load.owners().items():
        assert owned.get(namespace, tenant) == tenant


def test_a_workload_is_deterministic_and_draws_from_its_own_streams(
    workload: WorkloadSpec, setting: MakeSetting
) -> None:
    class Watched(Streams):
        def __call__(self, name: str) -> np.random.Generator:
            assert name.startswith("workload."), name
            return super().__call__(name)

    first = workload.build(setting(), Watched(5))
    used = Watched(5)
    used("workload.someone-else").random(1000)
    assert same(first, workload.build(setting(), used))


def test_a_workload_survives_a_dump(workload: WorkloadSpec) -> None:
    holder = hold(workload=workload)
    assert through_yaml(holder) == holder


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_a_workload_is_named_alone_or_with_parameters(name: str) -> None:
    assert type(hold(workload={"type": name, **GIVEN.get(name, {})}).workload) is WORKLOADS[name]


@pytest.mark.parametrize("name", list(ARRIVALS))
def test_an_arrival_process_is_sound(name: str) -> None:
    """Counts over 200 runs of 600 s: the mean lies within five standard errors and 2 % of `expected` (2 %: what renewal
    processes are allowed for their start)."""
    process = ARRIVALS[name]()
    found = []
    for seed in range(200):
        times = process.times(600.0, Streams(seed), "workload.x")
        assert times.dtype == np.float64
        assert np.all(np.diff(times) >= 0)
        assert np.all((times >= 0) & (times < 600.0))
        found.append(len(times))
    error = 5 * np.std(found) / np.sqrt(len(found)) + 0.02 * process.expected(600.0)
    assert np.mean(found) == pytest.approx(process.expected(600.0), abs=error)
    assert len(process.times(0.0, Streams(1), "workload.x")) == 0


@pytest.mark.parametrize("name", list(ARRIVALS))
def test_an_arrival_process_survives_a_dump_and_draws_from_its_own_streams(name: str) -> None:
    holder = hold(arrivals=name)
    assert type(holder.arrivals) is ARRIVALS[name]
    assert through_yaml(holder) == holder
    alone, among = Streams(1), Streams(1)
    among("workload.y.arrivals").random(99)
    np.testing.assert_array_equal(
        holder.arrivals.times(300.0, alone, "workload.x"), holder.arrivals.times(300.0, among, "workload.x")
    )


@pytest.mark.parametrize("name", list(MIXES))
def test_a_mix_says_what_it_is_and_survives_a_dump(name: str) -> None:
    mix = MIXES[name]
    assert len(mix.description) > 20
    assert all(shape.requests for shape in mix.shapes)
    holder = hold(mix=name)
    assert holder.model_dump(mode="json")["mix"] == name
    assert through_yaml(holder) == holder
    own = hold(mix=[{"cpu": "500m", "memory": "256Mi", "weight": 3}])
    assert through_yaml(own) == own


@pytest.mark.parametrize("entry", [*(WORKLOADS[n] for n in WORKLOADS), *(ARRIVALS[n] for n in ARRIVALS)], ids=str)
def test_an_entry_documents_itself(entry: type[Spec]) -> None:
    assert entry.__doc__
    first = entry.__doc__.splitlines()[0]
    assert first.endswith((".", ":"))
    assert len(first) > 20
    for name, field in entry.model_fields.items():
        assert field.description, f"{entry.__name__}.{name} says nothing of itself"
        if (
            any(word in name for word in ("rate", "time", "duration", "lifetime", "period"))
            and "compression" not in name
        ):
            flags = ("creation_times",)
            assert name in flags or name.endswith(("_s", "_per_s")), f"{entry.__name__}.{name} has no unit in its name"


def test_the_schema_covers_every_entry() -> None:
    text = str(Holder.model_json_schema())
    for name in (*WORKLOADS, *ARRIVALS):
        assert f"'const': '{name}'" in text
