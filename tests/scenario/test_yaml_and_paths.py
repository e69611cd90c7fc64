"""Leaf modules under scenarios: YAML text, paths, tables of parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.base.paths import format_path, parse_path
from sim.base.spec_tree import parameters
from sim.base.yamltext import dump_yaml, parse_yaml
from sim.scenario import Scenario

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
ODD = st.sampled_from(
    ["1e6", "yes", "no", "on", "1.20", "0x1f", "12:30", "2020-01-01", "null", "~", "<<", "", "=", "#a", "a: b"]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6), ("yes", "yes"), ("off", "off"), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("010", 10),
        ("0x1f", 31), ("true", True), ("~", None), ("", None), (".inf", float("inf")), ("1.", 1.0), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(text, "x")
    assert read == value
    assert type(read) is type(value)


KEYS = st.text(min_size=1, max_size=5) | ODD
NESTED = st.recursive(
    SCALARS | ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
NAMES = st.text(st.characters(exclude_characters="'\""), min_size=1, max_size=6)


@given(NESTED)
def test_what_is_dumped_reads_back(value: object) -> None:
    assert parse_yaml(dump_yaml(value), "x") == value


def test_merge_keys_and_anchors_work() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "x")["b"] == {"x": 1, "y": 3}


@given(NAMES, st.lists(NAMES | st.integers(0, 99), max_size=4))
def test_paths_read_back(first: str, rest: list[str | int]) -> None:
    keys = [first, *rest]
    assert parse_path(format_path(keys)) == tuple(keys)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[x]", "a[1]b", "a'b'", "'a"])
def test_bad_paths(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)


def test_every_parameter_is_listed_and_can_be_set_by_its_path() -> None:
    scenario = Scenario.load("quick")
    listed = {format_path(parameter.path): parameter for parameter in parameters(scenario)}
    values = {path: p.value for path, p in listed.items() if not path.startswith("workload.mix.")}  # a mix has a name
    assert scenario.replace(values) == scenario
    relist = listed["kubelet.relist_period_s"]
    assert (relist.value, relist.unit, relist.bounds) == (1.0, "s", "> 0, <= 3600")
    assert relist.source == "Kubernetes 1.20 source, kubelet defaults"
    assert listed["machines.control-plane.fsync_s"].value["dist"] == "lognormal"
    assert listed["network.cni.type"].value == "bridge"
    assert listed["runtime.sandbox_cpu_s"].unverified
    assert "images.base.size_bytes" in listed
