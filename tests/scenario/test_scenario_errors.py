"""A wrong scenario lists everything that is wrong with it: path, value, rule, next step."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.scenario import Scenario

WRONG = """
kubernetes: 1.21
horizn_s: 5
warm_up_s: 1h
machines: {etcd: {cores: 0, fsync_s: {dist: lognormal, median: 1 ms, sigm: 2}}}
kubelet: {kill_s: {dist: lognorml}, status_period_s: 10 sec, serial_image_pulls: maybe}
runtime: {type: docker, sandbox_cpu: 3}
network: {cni: brige}
scheduler: {profile: 1.34}
images: {a: {size_bytes: 1.5}, b: {}}
nodes:
  pools:
    a: {allocatable: {cpu: 4x, nvidia.com/gpu: 1}, taints: [{key: x, effect: NoShedule}], zones: []}
tenants: {count: 0, quota: {podz: 3, requests.cpu: -1}, overrides: {tenant-1: {weigt: 3}}}
workload:
  type: synthetic
  streams: {a: {arrivals: {type: poison}}, b: {arrivals: {type: poisson, rate_per_s: -1, foo: 1}}}
"""

EXPECTED = [
    "kubernetes: 1.21 is no version with a preset; did you mean",
    "horizn_s: 5 is not a field here; did you mean 'horizon_s'?",
    "warm_up_s: 3600.0 must be less than horizon_s (600)",
    "machines.etcd.cores: 0 must be at least 1",
    "machines.etcd.fsync_s.median: '1 ms' must be a number",
    "machines.etcd.fsync_s.sigm: 2 is not a field here; did you mean 'sigma'?",
    "lacks the field 'sigma' (standard deviation of the natural logarithm)",
    "kubelet.kill_s.dist: 'lognorml' is none of constant,",
    "did you mean 'lognormal'?",
    "kubelet.status_period_s: '10 sec' must be a number of seconds, or text such as 1m30s",
    "kubelet.serial_image_pulls: 'maybe' must be true or false",
    "network.cni.type: 'brige' is none of the CNI plug-ins; did you mean 'bridge'?",
    "runtime.sandbox_cpu: 3 is not a field here; did you mean 'sandbox_cpu_s'?",
    'scheduler.profile: 1.34 must be text; write it in quotes: "1.34"',
    "images.a.size_bytes: 1.5 must be a whole number of bytes, or text such as 64Mi",
    "images.b: {} lacks the field 'size_bytes'",
    "nodes.pools.a.allocatable.cpu: '4x' is not a quantity",
    "nodes.pools.a.taints[0].effect: 'NoShedule' must be one of NoSchedule, PreferNoSchedule, NoExecute; "
    "did you mean 'NoSchedule'?",
    "nodes.pools.a.zones: [] must have at least 1 entries",
    "tenants.count: 0 must be at least 1",
    "tenants.quota.podz: 'podz' is nothing that a quota limits here; did you mean 'pods'?",
    "tenants.quota.'requests.cpu': -1 must not be negative",
    "tenants.overrides.tenant-1.weigt: 3 is not a field here; did you mean 'weight'?",
    "workload.streams.a.arrivals.type: 'poison' is none of the arrivals; did you mean 'poisson'?",
    "workload.streams.b.arrivals.rate_per_s: -1 must be more than 0",
    "workload.streams.b.arrivals.foo: 1 is not a field here; known: rate_per_s",
]


def problems_of(text: str) -> str:
    with pytest.raises(InputError) as raised:
        Scenario.from_text(text)
    return str(raised.value)


def test_all_problems_come_at_once() -> None:
    message = problems_of(WRONG)
    assert [line for line in EXPECTED if line not in message] == []
    assert message.startswith("scenario: 25 problems\n")
    assert len(message.splitlines()) == 26


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apiserver: {machine: control-plan}",
         "apiserver.machine: 'control-plan' is not one of the machines; did you mean 'control-plane'?"),
        ("etcd: {machines: [control-plane, e2]}", "etcd.machines[1]: 'e2' is not one of the machines"),
        ("machines: {big: {}}", "scheduler.machine: 'control-plane' is not one of the machines; known: big"),
        ("scheduler: {profile: '1.21'}", "scheduler.profile: '1.21' is no scheduler profile"),
        ("nodes: {pools: {a: {count: 0}}}", "nodes.pools: {'a': 0} make a cluster of 0 nodes"),
        ("nodes: {count: 3, pools: {a: {count: 0}}}", "make a cluster of 0 nodes"),
        ("nodes: {pools: {A_b: {}}}", "nodes.pools: 'A_b' must be 1 to 63 lower-case letters"),
        ("nodes: {pools: {a: {allocatable: {nvidia.com/gpu: 0.5}}}}",
         "'nvidia.com/gpu' must be a whole number, not 0.5"),
        ("nodes: {from_workload: true}", "nodes.from_workload: True needs a workload that brings nodes"),
        ("nodes: {from_workload: true, count: 3, pools: {a: {}}}\nworkload: openb",
         "nodes.count: 3 must be null where the nodes come with the workload"),
        ("tenants: {count: 2, overrides: {tenant-3: {}}}", "tenants are named tenant-1 to tenant-2"),
        ("tenants: {quota: {services: 3}}", "tenants.quota.services: 'services' is nothing that a quota limits here"),
        ("tenants: {quota: {pods: 1.5}}", "'pods' must be a whole number, not 1.5"),
        ("tenants: {overrides: {tenant-1: {weight: 0}}}", "leave no tenant with a weight above 0"),
        ("images: {a: {size_bytes: 1, popularity: 0}}", "leave no image with a popularity above 0"),
        ("warm_up_s: 600", "warm_up_s: 600.0 must be less than horizon_s (600)"),
        ("sample_period_s: 700", "sample_period_s: 700.0 must be at most horizon_s (600)"),
        ("extends: [3]", "extends: [3] must be the name or path of a scenario"),
        ("network: {cni: 3}", "network.cni: 3 must be the name of one of the CNI plug-ins"),
        ("kubelet: 3", "kubelet: 3 must be a mapping of fields to values"),
        ("nodes: {pools: [a]}", "nodes.pools: ['a'] must be a mapping of names to values"),
    ],
)  # fmt: skip
def test_one_problem(text: str, expected: str) -> None:
    assert expected in problems_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "scenario:2:1: the key 'a' stands twice"),
        ("a:\n\t- 1", "scenario:2:1: found character"),
        ("a: [1", "scenario:2:1: did not find expected"),
        ("a: &x [*x]", "scenario:1:"),
        ("a: b: c", "is there a colon in unquoted text"),
        ("- 1", "scenario: must be a mapping of fields to values, not list"),
        ("? [1]\n: 2", "a key must be a plain name"),
    ],
)
def test_bad_yaml_names_line_and_column(text: str, expected: str) -> None:
    assert expected in problems_of(text)


def test_a_section_that_cannot_be_read_makes_no_further_noise() -> None:
    """The machines are wrong: whether `apiserver.machine` is one of them is not asked."""
    message = problems_of("machines: {m: {cores: 0}}\napiserver: {machine: m}")
    assert message.splitlines()[1:] == ["  machines.m.cores: 0 must be at least 1"]


def test_python_callers_get_the_same_errors() -> None:
    with pytest.raises(InputError, match="seed: -1 must be at least 0"):
        Scenario(seed=-1)
    with pytest.raises(InputError, match="workload: None must be given: nothing arrives"):
        Scenario().check()


def test_workload_problems_are_found_before_a_run() -> None:
    scenario = Scenario.from_text("workload: {type: poisson, tenants: [tenant-7]}")
    with pytest.raises(InputError, match=r"workload\.tenants"):
        scenario.check()
