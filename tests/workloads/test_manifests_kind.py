"""Manifests as a workload: applications, tenants, quotas, and what is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.workload import AppKind, Setting
from workloads import FromManifests

MakeSetting = Callable[..., Setting]


def test_what_a_dump_asks_for(setting: MakeSetting, data: Path) -> None:
    load = FromManifests(paths=str(data / "shop.yaml"), job_duration_s=5).build(setting(), Streams(1))
    assert load.app_name == ("shop/front", "tenant-1-a/nightly", "shop/bare")
    assert load.app_kind.tolist() == [AppKind.SERVICE, AppKind.JOB, AppKind.POD]
    assert load.app_pods.tolist() == [3, 4, 1]
    assert load.app_parallelism.tolist() == [3, 2, 1]
    assert load.pod_duration_s.tolist() == [np.inf] * 3 + [5.0] * 4 + [np.inf]
    assert [node.name for node in load.nodes] == ["node-1"]
    # The scenario's tenant keeps its namespace; one that nobody owns becomes a tenant.
    assert [load.tenants[row] for row in load.app_tenant.tolist()] == ["shop", "tenant-1", "shop"]
    assert load.tenants == (*setting().tenants, "shop")
    assert load.owners() == {"shop": "shop", "tenant-1-a": "tenant-1"}
    assert load.quotas == (("shop", (("pods", 10), ("requests.cpu", 2000))),)
    assert load.rows_read == 7
    assert [(refusal.where.rpartition("/")[2], refusal.reason) for refusal in load.refused] == [
        ("shop.yaml#5: ConfigMap settings", "kubedes does not simulate the kind ConfigMap"),
        ("shop.yaml#4: Deployment asleep", "asks for no pods"),
        ("jobs.batch", "this limit is not simulated"),
    ]


def test_arrivals_by_creation_time(setting: MakeSetting, data: Path) -> None:
    workload = FromManifests(paths=str(data), creation_times=True, time_compression=2)
    load = workload.build(setting(), Streams(1))
    assert dict(zip(load.app_name, load.app_time_s.tolist(), strict=True)) == {
        "shop/front": 0,
        "shop/bare": 15,
        "tenant-1-a/nightly": 30,
    }
    cut = workload.build(setting(horizon_s=20.0), Streams(1))
    assert cut.app_name == ("shop/front", "shop/bare")
    assert "arrives after the horizon" in {refusal.reason for refusal in cut.refused}


def test_unknown_images_are_errors_or_have_a_stand_in(setting: MakeSetting, data: Path) -> None:
    few = setting(images=(("web", 1.0),))
    problems = Problems("scenario")
    FromManifests(paths=str(data / "shop.yaml")).check(few, "workload", problems)
    assert [str(problem).rpartition("/")[2] for problem in problems.found] == [
        "shop.yaml#2: Job nightly: 'worker' is no image of the scenario; describe it under images, or let "
        "workload.unknown_images name one that stands for it"
    ]
    with pytest.raises(InputError, match="'worker' is no image"):
        FromManifests(paths=str(data / "shop.yaml")).build(few, Streams(1))
    load = FromManifests(paths=str(data / "shop.yaml"), unknown_images="web").build(few, Streams(1))
    assert {spec.containers[0].image for spec in load.templates} == {"web"}


def test_a_scenario_without_images_pulls_none(setting: MakeSetting, data: Path) -> None:
    load = FromManifests(paths=str(data / "shop.yaml")).build(setting(images=()), Streams(1))
    assert {spec.containers[0].image for spec in load.templates} == {""}


def test_a_compression_without_times_is_refused() -> None:
    with pytest.raises(ValidationError, match="does nothing without creation_times"):
        FromManifests(paths="x.yaml", time_compression=2)


def test_bad_paths(setting: MakeSetting, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2\n")
    problems = Problems("scenario")
    FromManifests(paths=["broken.yaml", "gone.yaml"], unknown_images="wep").check(
        setting(base_dir=str(tmp_path)), "workload", problems
    )
    told = "\n".join(map(str, problems.found))
    assert "workload.unknown_images: 'wep' is no image of the scenario; did you mean 'web'?" in told
    assert "broken.yaml" in told
    assert "gone.yaml" in told
