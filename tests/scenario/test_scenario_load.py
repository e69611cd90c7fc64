"""Scenarios: layers, presets, single values, dumps; what a run of one never sees changed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.base.yamltext import parse_yaml
from sim.scenario import Scenario
from sim.scenario_file import merge, preset_files, scenario_files, versions

BUILT_IN = sorted(scenario_files())


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_scenarios_of_the_command_line_are_there() -> None:
    assert {"public-cloud", "openb", "density", "quick"} <= set(BUILT_IN)
    assert versions() == ["1.12", "1.20", "1.34"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_dump_loads_to_an_equal_scenario(name: str, tmp_path: Path) -> None:
    scenario = Scenario.load(name)
    assert scenario.name == name
    assert scenario.description
    path = tmp_path / "other.yaml"
    path.write_text(scenario.dump(), encoding="utf-8")
    assert Scenario.load(path) == scenario
    assert Scenario.load(path).dump() == scenario.dump()
    assert scenario != scenario.replace({"seed": scenario.seed + 1})


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ("openb", "scheduler-perf")])
def test_built_in_scenarios_can_run(name: str) -> None:
    Scenario.load(name).check()


def test_openb_without_its_trace_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"workload\.nodes_csv.*openb_node_list") as raised:
        Scenario.load("openb").check()
    assert "workload.pods_csv" in str(raised.value)


def test_every_preset_is_a_scenario() -> None:
    for name in preset_files():
        scenario = Scenario.load(name)
        assert scenario.kubernetes in versions()
        if name.startswith("kubernetes-"):
            assert scenario.kubernetes == name.removeprefix("kubernetes-")


def test_the_version_brings_its_preset() -> None:
    """Kubernetes 1.20 and 1.34 source, kubelet defaults: client 5/10, later 50/100 requests a second."""
    old, new = Scenario(kubernetes="1.20"), Scenario(kubernetes="1.34")
    assert (old.kubelet.qps, old.kubelet.burst, old.scheduler.profile) == (5, 10, "1.20")
    assert (new.kubelet.qps, new.kubelet.burst, new.scheduler.profile) == (50, 100, "1.34")
    assert Scenario(kubernetes="1.12").model_dump()["runtime"]["type"] == "docker"


def test_a_new_version_moves_what_was_never_set_and_nothing_else() -> None:
    scenario = Scenario.from_text("kubernetes: '1.20'\nkubelet: {burst: 7}")
    moved = scenario.replace({"kubernetes": "1.34"})
    assert (moved.kubelet.qps, moved.kubelet.burst) == (50, 7)
    assert (scenario.kubelet.qps, scenario.kubelet.burst) == (5, 7)


def test_an_unquoted_version_is_understood() -> None:
    """YAML reads 1.20 as the number 1.2."""
    assert Scenario.from_text("kubernetes: 1.20").kubernetes == "1.20"
    assert Scenario.from_text("kubernetes: 1.34").kubelet.qps == 50


def test_layers_the_file_wins_over_its_bases_and_the_later_base_over_the_earlier(tmp_path: Path) -> None:
    write(
        tmp_path,
        ground="name: ground\ndescription: low\nseed: 1\nhorizon_s: 100\nwarm_up_s: 1\n"
        "nodes: {pools: {a: {count: 1, zones: [x, y]}, b: {count: 2}}}",
        fragment="seed: 2\nhorizon_s: 200",
        top="extends: [ground.yaml, fragment.yaml]\nhorizon_s: 300\n"
        "nodes: {pools: {a: {zones: [z]}, b: null, c: {count: 5}}}",
    )
    scenario = Scenario.load(tmp_path / "top.yaml")
    assert (scenario.name, scenario.description) == ("top", "")  # these are the base's own
    assert (scenario.warm_up_s, scenario.seed, scenario.horizon_s) == (1, 2, 300)
    assert scenario.nodes.pool_counts() == {"a": 1, "c": 5}  # null takes a pool away
    assert scenario.nodes.pools["a"].zones == ("z",)  # a list is replaced, not added to


def test_extends_finds_built_in_scenarios_and_versions(tmp_path: Path) -> None:
    write(tmp_path, mine="extends: [quick, kubernetes-1.12]\nnodes: {count: 3}")
    scenario = Scenario.load(tmp_path / "mine.yaml")
    assert scenario.kubernetes == "1.12"
    assert scenario.kubelet.qps == 5  # the version's preset, not the base's
    assert sum(scenario.nodes.pool_counts().values()) == 3
    assert "server" in scenario.images


def test_relative_paths_start_at_the_extending_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path, base="seed: 5")
    write(inner, mine="extends: ../base.yaml")
    scenario = Scenario.load(inner / "mine.yaml")
    assert scenario.seed == 5
    assert scenario.base_dir == scenario.setting().base_dir == str(inner)
    assert Scenario.load("quick").base_dir == "."


def test_circles_are_refused_with_their_chain(tmp_path: Path) -> None:
    write(tmp_path, a="extends: b.yaml", b="extends: c.yaml", c="extends: a.yaml")
    with pytest.raises(InputError, match=r"a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml"):
        Scenario.load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pubic-cloud", "did you mean 'public-cloud'?"),
        ("nowhere/quick.yaml", r"there is no file nowhere/quick\.yaml"),
    ],
)
def test_unknown_scenarios(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        Scenario.load(name)


def test_a_plugin_keeps_its_parameters_only_while_it_is_the_same_plugin() -> None:
    base = {"runtime": {"type": "docker", "sandbox_cpu_s": 1.0}}
    assert merge(base, {"runtime": {"container_cpu_s": 2.0}})["runtime"] == {
        "type": "docker",
        "sandbox_cpu_s": 1.0,
        "container_cpu_s": 2.0,
    }
    assert merge(base, {"runtime": {"type": "containerd"}}) == {"runtime": {"type": "containerd"}}
    assert merge({"runtime": "docker"}, {"runtime": {"sandbox_cpu_s": 1.0}}) == base
    assert merge(base, {"runtime": "containerd"}) == {"runtime": "containerd"}
    fsync = {"dist": "lognormal", "median": 1, "sigma": 1}
    assert merge({"f": fsync}, {"f": {"dist": "constant", "value": 2}}) == {"f": {"dist": "constant", "value": 2}}
    assert merge({"f": "10ms"}, {"f": fsync}) == {"f": fsync}


def test_merging_changes_neither_side() -> None:
    base, over = {"a": {"b": [1]}}, {"a": {"c": [2]}}
    merged = merge(base, over)
    merged["a"]["c"].append(3)
    merged["a"]["b"] = 0
    assert base == {"a": {"b": [1]}}
    assert over == {"a": {"c": [2]}}


def test_sets_reach_anything() -> None:
    scenario = Scenario.load("quick", [
        "nodes.count=2000", "runtime=docker", "runtime.sandbox_cpu_s=10ms", "tenants.overrides.tenant-1.weight=2",
        "nodes.pools.general.labels.'example.com/size'=big", "workload.rate_per_s=7", "description='a: b=c'",
        "etcd.machines=[control-plane, control-plane]", "etcd.machines[1]=control-plane",
    ])  # fmt: skip
    assert scenario.nodes.pool_counts() == {"general": 2000}
    assert scenario.description == "a: b=c"
    assert scenario.runtime.model_dump()["sandbox_cpu_s"] == 0.01
    assert scenario.tenants.overrides["tenant-1"].weight == 2
    assert scenario.nodes.pools["general"].labels == {"example.com/size": "big"}
    assert scenario.workload.model_dump()["rate_per_s"] == 7
    assert scenario.etcd.machines == ("control-plane", "control-plane")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("nodes.cout=3", "nodes.cout: 3 is not a field here; did you mean 'count'?"),
        ("nodes.count", "must be PATH=VALUE"),
        ("horizon_s.x=3", "horizon_s is a single value and has nothing inside"),
        ("nodes..count=3", "is not a path"),
        ("nodes.pools.general.zones[2]=x", "a list of 2 entries"),
        ("seed=[1", "--set seed=[1:"),
    ],
)
def test_sets_that_lead_nowhere(setting: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        Scenario.load("quick", [setting])
    assert message in str(raised.value)


def test_replace_leaves_the_original_alone_and_takes_specs() -> None:
    scenario = Scenario.load("quick")
    before = scenario.dump()
    other = scenario.replace({"kubelet": scenario.kubelet, "nodes.count": 5, "kubelet.qps": 3})
    assert scenario.dump() == before
    assert (other.nodes.count, other.kubelet.qps, other.kubelet.burst) == (5, 3, 100)


def test_scenarios_cross_process_borders() -> None:
    scenario = Scenario.load("quick", {"nodes.count": 9})
    copy = pickle.loads(pickle.dumps(scenario))
    assert copy == scenario
    assert copy.replace({"seed": 4}) == scenario.replace({"seed": 4})


def test_amounts_may_be_written_with_units() -> None:
    text = """
    horizon_s: 1h30m
    network: {nic_bytes_per_s: 10Gbit/s}
    images: {a: {size_bytes: 64Mi}, b: {size_bytes: 1000}}
    machines: {control-plane: {fsync_s: {dist: lognormal, median: 160us, sigma: 0.5}}}
    kubelet: {kill_s: 500ms}
    """
    written = Scenario.from_text(text)
    assert written.horizon_s == 5400
    assert written.network.nic_bytes_per_s == 1.25e9
    assert [image.size_bytes for image in written.images.values()] == [64 * 2**20, 1000]
    assert written.machines["control-plane"].fsync_s.model_dump()["median"] == pytest.approx(160e-6)
    assert written.kubelet.kill_s.mean() == 0.5


def test_the_schema_knows_every_field_and_every_plugin() -> None:
    schema = Scenario.json_schema()
    assert set(schema["properties"]) == {*Scenario.model_fields, "extends"}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kubernetes"]["enum"] == versions()
    text = json.dumps(schema)
    for name in ("containerd", "docker", "bridge", "density", "openb"):
        assert f'"const": "{name}"' in text
    kubelet = schema["$defs"]["KubeletSpec"]["properties"]
    assert kubelet["qps"]["source"] == "Kubernetes 1.20 source, kubelet defaults"
    assert {"type": "string"} in kubelet["relist_period_s"]["anyOf"]  # 1m30s
    assert "$ref" not in text.replace("#/$defs/", "") or all(
        ref.split('"')[0] in schema["$defs"] for ref in text.split('"#/$defs/')[1:]
    )


def test_loading_is_light() -> None:
    """No compiler, tables or figures are imported to read a scenario."""
    code = (
        "import sys, sim; s = sim.Scenario.load('public-cloud'); s.dump(); s.setting(); s.nodes.build(); "
        "print([m for m in ('numba', 'pandas', 'matplotlib', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_html_is_escaped() -> None:
    assert "<script>" not in Scenario.from_text("name: <script>")._repr_html_()
    assert "1.20" in Scenario()._repr_html_()


def test_simulate_stays_the_function_after_its_module_is_imported() -> None:
    code = (
        "import sim, sim.simulate\nfrom sim.simulate import Progress\n"
        "assert callable(sim.simulate) and sim.simulate.__name__ == 'simulate'\n"
        "assert sim.Scenario.__name__ == 'Scenario'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_comments_of_the_built_in_files_are_not_all_that_is_there() -> None:
    for name, path in scenario_files().items():
        assert parse_yaml(path.read_text(encoding="utf-8"), name)["description"]
