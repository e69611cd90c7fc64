"""Streams of applications: what is drawn, from which generator, and that nothing else in a scenario moves it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

import workloads
from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.state.objects import LabelSelector, Toleration
from sim.tenancy.spec import TenantsSpec
from sim.workload import AppKind, Load, Setting
from workloads import Density, Poisson, Stream, Synthetic, zipf_weights
from workloads.tenants import draw_tenants

MakeSetting = Callable[..., Setting]
ROOT = Path(__file__).parents[2]


def same(left: Load, right: Load) -> bool:
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name))
        if isinstance(getattr(left, field.name), np.ndarray)
        else getattr(left, field.name) == getattr(right, field.name)
        for field in fields(Load)
    )


def jobs(**changes: Any) -> dict[str, Any]:
    application = {
        "kind": "job",
        "completions": {"dist": "uniform", "low": 1, "high": 9},
        "parallelism": 3,
        "duration_s": {"dist": "lognormal", "median": 30, "sigma": 1},
    }
    return {"arrivals": {"type": "poisson", "rate_per_s": 2}, "application": application, "mix": "batch", **changes}


def services(**changes: Any) -> dict[str, Any]:
    application = {
        "kind": "service",
        "replicas": {"dist": "pareto", "minimum": 1, "maximum": 50, "alpha": 1.5},
        "lifetime_s": {"dist": "exponential", "mean": 120},
    }
    return {"arrivals": {"type": "on-off", "on_rate_per_s": 5}, "application": application, **changes}


def only(load: Load, kind: AppKind) -> tuple[np.ndarray, ...]:
    """The columns of the applications of one kind, without the numbers of templates."""
    chosen = load.app_kind == kind
    return (
        load.app_time_s[chosen],
        load.app_end_s[chosen],
        load.app_tenant[chosen],
        load.app_pods[chosen],
        load.app_parallelism[chosen],
        load.pod_duration_s[np.repeat(chosen, load.app_pods)],
    )


def test_the_public_example(setting: MakeSetting) -> None:
    load = workloads.Poisson(rate_per_s=50, mix="web", horizon_s=300).build(setting(), Streams(7))
    assert load.pods == len(load.app_time_s) == pytest.approx(15_000, abs=4 * np.sqrt(15_000))
    assert load.app_time_s[-1] < 300
    assert set(load.app_kind.tolist()) == {AppKind.POD}
    assert np.all(np.isfinite(load.pod_duration_s))


def test_a_worked_example(setting: MakeSetting) -> None:
    """Everything constant: two services at 1 and 3 s, a job at 2 s; rows by hand."""
    workload = Synthetic(
        streams={
            "web": Stream(
                arrivals={"type": "listed", "times_s": [3, 1]},
                tenants=["tenant-2"],
                application={"kind": "service", "replicas": 2, "lifetime_s": 10},
                mix=[{"cpu": "250m", "memory": "64Mi", "image": "web"}],
            ),
            "sums": Stream(
                arrivals={"type": "listed", "times_s": [2]},
                tenants=["tenant-1"],
                application={"kind": "job", "completions": 3, "parallelism": 2, "duration_s": 7},
                mix=[{"cpu": "1", "memory": "1Gi", "gpus": 1, "image": "worker"}],
            ),
        }
    )
    load = workload.build(setting(), Streams(1))
    assert load.app_time_s.tolist() == [1, 2, 3]
    assert load.app_end_s.tolist() == [11, np.inf, 13]
    assert load.app_kind.tolist() == [AppKind.SERVICE, AppKind.JOB, AppKind.SERVICE]
    assert load.app_pods.tolist() == [2, 3, 2]
    assert load.app_parallelism.tolist() == [2, 2, 2]
    assert load.app_first_pod.tolist() == [0, 2, 5]
    assert load.pod_duration_s.tolist() == [np.inf, np.inf, 7, 7, 7, np.inf, np.inf]
    assert [load.tenants[row] for row in load.app_tenant] == ["tenant-2", "tenant-1", "tenant-2"]
    job = load.templates[load.app_template[1]]
    assert job.namespace in ("tenant-1-a", "tenant-1-b")
    assert job.labels == (("app", "sums"),)
    assert job.containers[0].image == "worker"
    assert job.containers[0].requests == (("cpu", 1000), ("memory", 2**30), ("nvidia.com/gpu", 1))
    assert job.containers[0].limits == (("nvidia.com/gpu", 1),)


def test_superposition_keeps_every_pod_with_its_application(setting: MakeSetting) -> None:
    both = Synthetic(streams={"a": services(), "b": jobs()}).build(setting(), Streams(3))
    for name, stream, kind in (("a", services(), AppKind.SERVICE), ("b", jobs(), AppKind.JOB)):
        alone = Synthetic(streams={name: stream}).build(setting(), Streams(3))
        for together, single in zip(only(both, kind), only(alone, kind), strict=True):
            np.testing.assert_array_equal(together, single)
    assert np.all(np.diff(both.app_time_s) >= 0)


@pytest.mark.parametrize(
    "changes",
    [{"nodes": 5000}, {"base_dir": "/elsewhere"}, {"images": (("other", 1.0), ("more", 5.0))}],
    ids=["nodes", "folder", "images"],
)
def test_another_scenario_meets_the_same_pods(setting: MakeSetting, changes: dict[str, Any]) -> None:
    workload = Synthetic(streams={"a": services(), "b": jobs()})
    one, other = workload.build(setting(), Streams(3)), workload.build(setting(**changes), Streams(3))
    columns = ("app_time_s", "app_end_s", "app_kind", "app_tenant", "app_pods", "app_parallelism", "pod_duration_s")
    for column in columns:
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    for left, right in zip(one.app_template.tolist(), other.app_template.tolist(), strict=True):
        assert one.templates[left].containers[0].requests == other.templates[right].containers[0].requests
        assert one.templates[left].namespace == other.templates[right].namespace


def test_a_longer_horizon_keeps_the_beginning(setting: MakeSetting) -> None:
    workload = Synthetic(streams={"b": jobs()})
    short, long = (workload.build(setting(horizon_s=horizon_s), Streams(3)) for horizon_s in (200.0, 600.0))
    for left, right in zip(only(short, AppKind.JOB), only(long, AppKind.JOB), strict=True):
        np.testing.assert_array_equal(left, right[: len(left)])


def test_seed_and_replication_change_the_draws_and_nothing_else_does(setting: MakeSetting) -> None:
    workload = Synthetic(streams={"a": services(), "b": jobs()})
    assert same(workload.build(setting(), Streams(3)), workload.build(setting(), Streams(3)))
    assert not same(workload.build(setting(), Streams(3)), workload.build(setting(), Streams(4)))
    assert not same(workload.build(setting(), Streams(3)), workload.build(setting(), Streams(3, 1)))


def test_streams_of_different_names_are_independent(setting: MakeSetting) -> None:
    left, right = (Synthetic(streams={name: jobs()}).build(setting(), Streams(3)) for name in ("b", "c"))
    size = min(left.pods, right.pods)
    assert not np.array_equal(left.app_time_s[:100], right.app_time_s[:100])
    correlation = np.corrcoef(np.log(left.pod_duration_s[:size]), np.log(right.pod_duration_s[:size]))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(size)


def test_the_default_stream_is_the_short_form(setting: MakeSetting) -> None:
    assert same(Synthetic().build(setting(), Streams(2)), Poisson().build(setting(), Streams(2)))


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    program = (
        "import hashlib, numpy as np, workloads\n"
        "from dataclasses import fields\n"
        "from sim.base.rand import Streams\n"
        "from sim.workload import Setting, WORKLOADS\n"
        "spaces, images = (('a1', 'a2'), ('b1',)), (('x', 1.0), ('y', 2.0))\n"
        "setting = Setting(300.0, ('a', 'b'), spaces, np.array([0.7, 0.3]), images, nodes=50)\n"
        "digest = hashlib.sha256()\n"
        "for name in ('synthetic', 'poisson', 'bursts', 'diurnal', 'batches', 'steady', 'storm', 'density'):\n"
        "    load = WORKLOADS[name]().build(setting, Streams(9))\n"
        "    for field in fields(load):\n"
        "        value = getattr(load, field.name)\n"
        "        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())\n"
        "print(digest.hexdigest())\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("0", "1", "31337")
    }
    assert len(said) == 1


def test_draws_follow_their_distributions(setting: MakeSetting) -> None:
    """KS on about 6,000 run times (finds a median wrong by 6 % with probability above 0.9), chi-square on shapes."""
    load = Synthetic(streams={"b": jobs()}).build(setting(), Streams(5))
    assert stats.kstest(np.log(load.pod_duration_s), "norm", args=(np.log(30), 1.0)).pvalue > 1e-3
    assert set(load.app_pods.tolist()) <= set(range(1, 10))
    assert np.array_equal(load.app_parallelism, np.minimum(load.app_pods, 3))
    cpu = np.array([dict(spec.containers[0].requests)["cpu"] for spec in load.templates])[load.app_template]
    sizes, found = np.unique(cpu, return_counts=True)
    assert sizes.tolist() == [500, 1000, 2000, 4000, 8000]
    assert stats.chisquare(found, np.array([30, 30, 30, 8, 2]) / 100 * len(cpu)).pvalue > 1e-3
    images = [load.templates[row].containers[0].image for row in load.app_template.tolist()]
    assert images.count("base") == 0  # its popularity is 0
    expected = np.array([1, 4, 2]) / 7 * len(images)
    assert stats.chisquare([images.count(name) for name in ("pause", "web", "worker")], expected).pvalue > 1e-3


def test_tenants_follow_zipf(setting: MakeSetting) -> None:
    """Chi-square on 50,000 applications of 200 tenants; the namespaces of each tenant are used alike."""
    count = 200
    weights = zipf_weights(count, 1.1)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] / weights[9] == pytest.approx(10**1.1)
    names = tuple(f"t{i}" for i in range(count))
    many = setting(tenants=names, namespaces=tuple((f"{name}-a", f"{name}-b") for name in names), tenant_weight=weights)
    load = Poisson(rate_per_s=100.0).build(many, Streams(8))
    found = np.bincount(load.app_tenant, minlength=count)
    assert stats.chisquare(found, weights * len(load.app_tenant)).pvalue > 1e-3
    spaces = [load.templates[row].namespace for row in load.app_template.tolist()]
    assert [space.rpartition("-")[0] for space in spaces] == [names[row] for row in load.app_tenant.tolist()]
    first = sum(space.endswith("-a") for space in spaces)
    assert first == pytest.approx(len(spaces) / 2, abs=2 * np.sqrt(len(spaces)))


def test_zipf_is_that_of_the_scenario() -> None:
    shares = [tenant.share for tenant in TenantsSpec(count=40, zipf_exponent=1.3).build()]
    np.testing.assert_allclose(shares, zipf_weights(40, 1.3))


def test_zipf_refuses_nonsense() -> None:
    for count, exponent in ((0, 1.0), (3, -1.0), (3, float("nan"))):
        with pytest.raises(ValueError, match="needs at least one tenant"):
            zipf_weights(count, exponent)


def test_a_stream_may_belong_to_some_tenants(setting: MakeSetting) -> None:
    drawn = draw_tenants(setting(), ("tenant-3", "tenant-5"), Streams(1), "workload.x", 2000)
    assert set(drawn.tolist()) == {2, 4}
    assert np.mean(drawn == 2) == pytest.approx((1 / 3) / (1 / 3 + 1 / 5), abs=4 * 0.5 / np.sqrt(2000))


def test_start_and_end_of_a_stream(setting: MakeSetting) -> None:
    load = Poisson(rate_per_s=20.0, start_s=100.0, horizon_s=200.0).build(setting(), Streams(1))
    assert load.app_time_s[0] > 100
    assert load.app_time_s[-1] < 200
    beyond = Poisson(rate_per_s=20.0, horizon_s=1e6).build(setting(), Streams(1))
    assert beyond.app_time_s[-1] < setting().horizon_s


def test_pod_fields_are_those_of_v1(setting: MakeSetting) -> None:
    pod = {
        "priority": 7,
        "nodeSelector": {"disk": "ssd"},
        "labels": {"team": "x"},
        "schedulerName": "mine",
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    spec = Poisson(pod=pod).build(setting(), Streams(1)).templates[0]
    assert (spec.priority, spec.scheduler_name, spec.node_selector) == (7, "mine", (("disk", "ssd"),))
    assert spec.labels == (("app", "pods"), ("team", "x"))
    assert spec.tolerations == (Toleration(key="gpu", operator="Exists"),)


def test_a_selector_left_out_means_the_application_itself(setting: MakeSetting) -> None:
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    anti = {"topologyKey": "kubernetes.io/hostname"}
    pod = {
        "topologySpreadConstraints": [
            spread,
            {**spread, "topologyKey": "rack", "labelSelector": {"matchLabels": {"team": "x"}}},
        ],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [anti]}},
    }
    load = Synthetic(streams={"web": services(pod=pod)}).build(setting(), Streams(1))
    assert len(load.templates) == len(load.app_time_s)
    for number in (0, 5):
        spec = load.templates[load.app_template[number]]
        own = LabelSelector(match_labels=(("app", f"web-{number}"),))
        assert spec.labels == (("app", f"web-{number}"),)
        assert spec.topology_spread_constraints[0].label_selector == own
        assert spec.topology_spread_constraints[1].label_selector == LabelSelector(match_labels=(("team", "x"),))
        assert spec.affinity is not None
        assert spec.affinity.anti_required[0].label_selector == own


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pod": {"nodeSelectr": {}}}, "pod.nodeSelectr\n  is no field that a generated pod takes; did you mean"),
        ({"pod": {"labels": {"app": "x"}}}, "is set by the workload itself"),
        ({"pod": {"tolerations": [{"key": "a", "operator": "Exist"}]}}, "must be one of Exists, Equal"),
        ({"application": {"kind": "service", "duration_s": 3}}, "duration_s"),
        ({"application": {"kind": "deployment"}}, "'service', 'stateful-set', 'daemon-set'"),
        ({"mix": "wep"}, "is none of the mixes; did you mean 'web'"),
        ({"mix": []}, "at least one with a weight above 0"),
        ({"mix": [{"cpu": "1x"}]}, "mix.shapes.0.cpu"),
        ({"mix": [{"memory": "-1Mi"}]}, "must not be negative"),
        ({"mix": [{"extended": {"gpu": 1}}]}, "'gpu' is no extended resource"),
        ({"mix": [{"gpus": 1, "extended": {"nvidia.com/gpu": 1}}]}, "name the same resource"),
        ({"start_s": 5, "horizon_s": 5}, "must be above start_s"),
        ({"rate_per_s": -1}, "rate_per_s"),
        ({"rate": 1}, "rate\n"),
    ],
)
def test_bad_streams_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Poisson(**fields)
    assert told in str(caught.value)


@pytest.mark.parametrize(("streams", "told"), [({}, "at least one"), ({"Web_1": {}}, "as it becomes a label")])
def test_bad_stream_names_are_refused(streams: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Synthetic(streams=streams)


def test_what_a_scenario_lacks_is_told_before_the_run(setting: MakeSetting) -> None:
    workload = Synthetic(
        streams={
            "a": jobs(tenants=["tenant-9"], mix=[{"image": "wep"}]),
            "b": jobs(start_s=700),
            "c": jobs(arrivals={"type": "poisson", "rate_per_s": 1e6}),
        }
    )
    problems = Problems("scenario")
    workload.check(setting(), "workload", problems)
    assert [str(problem) for problem in problems.found] == [
        "workload.streams.a.tenants[0]: 'tenant-9' is no tenant of the scenario; did you mean 'tenant-5'?",
        "workload.streams.a.mix.shapes[0].image: 'wep' is no image of the scenario; did you mean 'web'?",
        "workload.streams.b.start_s: 700.0 must be below the scenario's horizon, 600 s: nothing would arrive",
        "workload.streams.c: 'about 6e+08 applications' must be at most 20,000,000; lower the rate",
    ]


def test_weights_that_are_all_zero_are_told(setting: MakeSetting) -> None:
    problems = Problems("scenario")
    weightless = setting(tenant_weight=np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    Poisson(tenants=["tenant-2"]).check(weightless, "workload", problems)
    assert [str(problem) for problem in problems.found] == [
        "workload.tenants: ['tenant-2'] have no weight: nothing would arrive for them"
    ]
    with pytest.raises(InputError, match="all are 0"):
        Poisson(tenants=["tenant-2"]).build(weightless, Streams(1))


def test_a_scenario_without_images_pulls_none(setting: MakeSetting) -> None:
    bare, problems = setting(images=()), Problems("scenario")
    for workload in (Poisson(), Density()):
        workload.check(bare, "workload", problems)
        assert {spec.containers[0].image for spec in workload.build(bare, Streams(1)).templates} == {""}
    assert not problems
    Poisson(mix=[{"image": "web"}]).check(bare, "workload", problems)
    assert [str(problem) for problem in problems.found] == [
        "workload.mix.shapes[0].image: 'web' is no image of the scenario; describe it under images, or leave it out"
    ]


def test_too_many_pods_are_refused_before_they_are_held(setting: MakeSetting) -> None:
    workload = Poisson(rate_per_s=100, application={"kind": "pod", "count": 1_000_000})
    with pytest.raises(InputError, match="stream 'pods' makes"):
        workload.build(setting(), Streams(1))


def test_no_arrivals_make_an_empty_load(setting: MakeSetting) -> None:
    load = Synthetic(streams={"a": jobs(arrivals={"type": "listed", "times_s": []})}).build(setting(), Streams(1))
    assert (load.pods, load.templates, load.app_first_pod.tolist(), load.owners()) == (0, (), [], {})
