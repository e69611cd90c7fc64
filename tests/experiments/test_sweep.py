"""A sweep becomes fully resolved designs with readable names, or one error that lists everything wrong with it."""

from __future__ import annotations

import pytest

import sim
import workloads
from experiments import Precision, Sweep

QUICK = sim.Scenario.load("quick")
COUNT = "nodes.pools.general.count"
RATE = "workload.rate_per_s"


def values(sweep: Sweep) -> list[tuple[object, ...]]:
    return [tuple(design.values.values()) for design in sweep.designs()]


def test_a_grid_is_every_combination_the_last_axis_fastest():
    sweep = Sweep(QUICK, axes={COUNT: [10, 20], RATE: [1, 2, 3]})
    assert values(sweep) == [(10, 1), (10, 2), (10, 3), (20, 1), (20, 2), (20, 3)]
    designs = sweep.designs()
    assert designs[4].scenario.nodes.pools["general"].count == 20
    assert designs[4].scenario.workload.rate_per_s == 2
    assert designs[4].name == "general.count=20, workload.rate_per_s=2"
    assert len({design.hash for design in designs}) == 6


def test_zip_puts_values_side_by_side():
    assert values(Sweep(QUICK, axes={COUNT: [10, 20], RATE: [1, 2]}, mode="zip")) == [(10, 1), (20, 2)]


def test_a_list_names_its_designs():
    sweep = Sweep(QUICK, axes=[{"name": "small", COUNT: 5}, {RATE: 4}, {}], mode="list")
    assert [design.name for design in sweep.designs()] == ["small", "workload.rate_per_s=4", "as given"]
    assert sweep.paths == (COUNT, RATE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"from": 1, "to": 3, "step": 1}, [1, 2, 3]),
        ({"from": 3, "to": 1, "step": -1}, [3, 2, 1]),
        ({"from": 0.1, "to": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),  # 0.1 + 4 * 0.1 falls short of 0.5 in floats
        ({"from": 1, "to": 4, "step": 2}, [1, 3]),
        ({"from": 1, "to": 2, "count": 3}, [1, 2]),  # whole ends, whole values: 1.5 rounds to 2
        ({"from": 1.0, "to": 2.0, "count": 3}, [1.0, 1.5, 2.0]),
        ({"from": 1, "to": 100, "count": 3, "spacing": "log"}, [1, 10, 100]),
        (range(2, 4), [2, 3]),
    ],
)
def test_ranges(given, expected):
    assert [value for (value,) in values(Sweep(QUICK, axes={RATE: given}))] == pytest.approx(expected)


def test_names_take_as_much_of_a_path_as_tells_them_apart():
    cluster = sim.Scenario.from_text(
        "extends: quick\nnodes: {pools: {other: {count: 1, allocatable: {cpu: 1, memory: 1Gi, pods: 10}}}}"
    )
    sweep = Sweep(cluster, axes={"nodes.pools.general.allocatable.cpu": [1], "nodes.pools.other.allocatable.cpu": [2]})
    assert sweep.designs()[0].name == "general.allocatable.cpu=1, other.allocatable.cpu=2"


def test_a_workload_takes_the_place_of_the_scenarios_own_and_can_be_an_axis():
    sweep = Sweep(QUICK, workloads.Poisson(rate_per_s=7, mix="batch"), axes={RATE: [7, 9]})
    assert [design.scenario.workload.rate_per_s for design in sweep.designs()] == [7, 9]
    batch = QUICK.replace({"workload.mix": "batch"}).workload.mix
    assert [design.scenario.workload.mix for design in sweep.designs()] == [batch, batch]


def test_the_hash_is_of_what_runs_not_of_its_name():
    first, second = (Sweep(QUICK.replace({"name": name})).designs()[0] for name in ("a", "b"))
    assert first.hash == second.hash
    assert Sweep(QUICK, seed=9).designs()[0].hash != first.hash


def test_everything_wrong_is_said_at_once_with_a_way_out():
    sweep = Sweep(QUICK, axes={"nodes.pool.general.count": [1], "kubelet.nothing": [1, 2], RATE: [1, -1]})
    with pytest.raises(sim.InputError) as caught:
        sweep.designs()
    text = str(caught.value)
    assert "nodes.pool: " in text
    assert "did you mean 'pools'?" in text
    assert text.count("nodes.pool: ") == 1  # once, not once a design
    assert "kubelet.nothing: 2 is not a field" in text
    assert "workload.rate_per_s: -1" in text
    assert "workload.rate_per_s=-1 and 1 more)" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"axes": {RATE: []}}, [f"axes.{RATE}: []", "has no values"]),
        ({"axes": {RATE: {"from": 5, "to": 1, "step": 1}}}, ["has no values", "the step leads away"]),
        ({"axes": {RATE: {"from": 5, "to": 1, "setp": 1}}}, ["did you mean 'step'?"]),
        ({"axes": {RATE: {"from": 0, "to": 9, "count": 3, "spacing": "log"}}}, ["above 0"]),
        ({"axes": {RATE: 5}}, ["must be a list of values", "[5]"]),
        ({"axes": {RATE: [1, 1]}}, ["is the same scenario as"]),
        ({"axes": {RATE: [1, 2], COUNT: [1]}, "mode": "zip"}, ["the same number of values"]),
        ({"axes": {RATE: [1]}, "mode": "gird"}, ["did you mean 'grid'?"]),
        ({"axes": {RATE: [1]}, "mode": "list"}, ["must be a list of designs"]),
        ({"axes": [{RATE: 1}]}, ["must map paths to values"]),
        ({"axes": [], "mode": "list"}, ["has no designs"]),
        ({"axes": {"seed": [1, 2]}}, ["cannot be an axis", "replications"]),
        ({"axes": {"a..b": [1]}}, ["is not a path"]),
        ({"replications": 0}, ["replications: 0", "from 1"]),
        ({"until": Precision("pod_startup_p98")}, ["until.metric", "p99"]),
        ({"until": Precision("pod_startap_p99")}, ["did you mean 'pod_startup'?"]),
        ({"until": Precision("pod_startup_p99", within=5)}, ["until.within: 5"]),
        ({"axes": {RATE: range(1, 400), COUNT: range(1, 400)}}, ["159201", "100,000"]),
    ],
)
def test_what_cannot_run_is_refused(settings, words):
    with pytest.raises(sim.InputError) as caught:
        Sweep(QUICK, **settings).designs()
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_file_says_the_same_as_python(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: quick\nhorizon_s: 30\n")
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"scenario: ./mine.yaml\nset: {{warm_up_s: 2}}\nreplications: 3\nseed: 4\nmode: zip\n"
        f"axes:\n  {COUNT}: [5, 6]\n  {RATE}: {{from: 1, to: 2, step: 1}}\n"
        "until: {metric: pod_startup_p99, within: 0.1}\n"
    )
    read = Sweep.from_file(file, ["sample_period_s=2"])
    written = Sweep(
        QUICK.replace({"horizon_s": 30, "warm_up_s": 2, "sample_period_s": 2}), axes={COUNT: [5, 6], RATE: [1, 2]},
        mode="zip", replications=3, seed=4, until=Precision("pod_startup_p99", 0.1),
    )
    assert [design.hash for design in read.designs()] == [design.hash for design in written.designs()]
    assert (read.replications, read.until, read.name) == (3, written.until, "sweep")


def test_a_file_with_faults_names_them_all():
    with pytest.raises(sim.InputError) as caught:
        Sweep.from_text("replicatons: 3\nset: 5\nuntil: 7\n", subject="s.yaml")
    text = str(caught.value)
    assert text.startswith("s.yaml: 4 problems")
    assert "did you mean 'replications'?" in text
