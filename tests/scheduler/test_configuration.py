"""KubeSchedulerConfiguration files: defaults, merging, arguments, and what is refused by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sim.base.errors import InputError
from sim.scheduler.configuration import _IN_TREE, DEFAULT_PLUGINS, GROUP, load_configuration, read_configuration
from sim.scheduler.profiles import PROFILES
from sim.scheduler.queue import Requeueing

SHARED = Path(os.environ.get("KUBEDES_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
SAMPLES = SHARED / "data" / "kube_scheduler_configuration"


def read(text="", version="v1"):
    """The configuration that a YAML body stands for."""
    head = f"apiVersion: {GROUP}/{version}\nkind: KubeSchedulerConfiguration\n"
    return read_configuration(yaml.safe_load(head + text))


def plugins(text, version="v1"):
    """The first profile, with this YAML as its plugins."""
    return read(f"profiles:\n- plugins: {text}", version).profiles[0]


def refusals(text, version="v1"):
    """The lines of the error about a bad configuration."""
    with pytest.raises(InputError) as caught:
        read(text, version)
    return str(caught.value).splitlines()[1:]


def names(profile, point):
    return [use.name for use in profile.plugins[point]]


def test_an_empty_configuration_is_the_default_of_its_version():
    configuration = read()
    assert configuration.percentage_of_nodes_to_score == 0
    assert configuration.parallelism == 16
    assert (configuration.pod_initial_backoff_s, configuration.pod_max_backoff_s) == (1.0, 10.0)
    assert (configuration.client_qps, configuration.client_burst) == (50.0, 100)
    election = configuration.leader_election
    assert election.leader_elect
    assert (election.lease_duration_s, election.renew_deadline_s, election.retry_period_s) == (15.0, 10.0, 2.0)
    assert [profile.scheduler_name for profile in configuration.profiles] == ["default-scheduler"]


@pytest.mark.parametrize(("version", "preset"), [("v1", "1.34"), ("v1beta1", "1.20")])
def test_the_default_profile_is_the_preset_of_the_version(version, preset):
    profile = read(version=version).profile("default-scheduler")
    assert replace(profile, name=preset, args=PROFILES[preset].args) == PROFILES[preset]


def test_arguments_have_the_apis_defaults():
    args = read().profiles[0].args
    both = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]
    assert args["NodeResourcesFit"] == {
        "ignoredResources": [],
        "ignoredResourceGroups": [],
        "scoringStrategy": {"type": "LeastAllocated", "resources": both},
    }
    assert args["NodeResourcesBalancedAllocation"] == {"resources": both}
    assert args["InterPodAffinity"] == {"hardPodAffinityWeight": 1, "ignorePreferredTermsOfExistingPods": False}
    assert args["PodTopologySpread"] == {"defaultingType": "System", "defaultConstraints": []}
    assert args["DefaultPreemption"] == {"minCandidateNodesPercentage": 10, "minCandidateNodesAbsolute": 100}


def test_plugins_without_a_model_stay_visible_and_reach_no_profile():
    configuration = read()
    filters = configuration.profiles[0].plugins["filter"]
    unmodelled = {use.name for use in filters if not use.modelled}
    assert unmodelled == {"VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "DynamicResources"}
    assert not unmodelled & set(configuration.profile("default-scheduler").filter)


# --- plugin sets ------------------------------------------------------------------------------------------------------


def test_a_default_plugin_enabled_again_keeps_its_place_and_takes_the_weight():
    profile = plugins("{multiPoint: {enabled: [{name: NodeAffinity, weight: 7}]}}")
    assert names(profile, "score") == [use.name for use in read().profiles[0].plugins["score"]]
    assert {use.name: use.weight for use in profile.plugins["score"]}["NodeAffinity"] == 7


def test_a_weight_at_the_score_point_comes_first_in_order_and_wins():
    # ImageLocality is in both sets: it moves to the front (the point's own plugins that multiPoint has too come first).
    profile = plugins("{score: {enabled: [{name: ImageLocality, weight: 5}]}}")
    assert names(profile, "score")[0] == "ImageLocality"
    assert profile.plugins["score"][0].weight == 5
    assert len(names(profile, "score")) == 7
    # The first mention of a weight counts: score before multiPoint.
    profile = plugins(
        "{multiPoint: {enabled: [{name: ImageLocality, weight: 9}]}, score: {enabled: [{name: ImageLocality}]}}"
    )
    assert profile.plugins["score"][0].weight == 1  # a weight of 0 is 1


def test_a_plugin_disabled_at_one_point_stays_at_the_others():
    profile = plugins("{score: {disabled: [{name: NodeResourcesFit}]}}")
    assert "NodeResourcesFit" not in names(profile, "score")
    assert "NodeResourcesFit" in names(profile, "filter")


def test_a_plugin_disabled_in_multi_point_is_gone():
    profile = plugins("{multiPoint: {disabled: [{name: InterPodAffinity}]}}")
    for point in ("pre_filter", "filter", "pre_score", "score"):
        assert "InterPodAffinity" not in names(profile, point)


def test_disabling_all_leaves_what_the_point_enables_itself():
    profile = plugins(
        "{score: {disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit, weight: 2}, {name: NodeAffinity}]}}"
    )
    assert [(use.name, use.weight) for use in profile.plugins["score"]] == [
        ("NodeResourcesFit", 2),
        ("NodeAffinity", 1),
    ]
    assert len(names(profile, "filter")) == len(names(read().profiles[0], "filter"))


def test_disabling_all_of_multi_point():
    profile = plugins(
        "{multiPoint: {disabled: [{name: '*'}], "
        "enabled: [{name: DefaultBinder}, {name: PrioritySort}, {name: NodeName}]}}"
    )
    assert names(profile, "filter") == ["NodeName"]
    assert names(profile, "score") == []


def test_before_multi_point_custom_plugins_come_after_the_defaults():
    profile = plugins(
        "{score: {disabled: [{name: NodeResourcesLeastAllocated}], "
        "enabled: [{name: NodeResourcesMostAllocated, weight: 3}]}}",
        "v1beta1",
    )
    score = [(use.name, use.weight) for use in profile.plugins["score"]]
    assert score[-1] == ("NodeResourcesMostAllocated", 3)
    assert "NodeResourcesLeastAllocated" not in dict(score)
    assert profile.arithmetic == "1.20"
    assert profile.args["NodeResourcesMostAllocated"]["resources"][0] == {"name": "cpu", "weight": 1}


@pytest.mark.parametrize("version", DEFAULT_PLUGINS)
def test_the_defaults_written_out_change_nothing(version):
    # What `kube-scheduler --write-config-to` gives: every default set and argument spelt out.
    usual = read(version=version).profiles[0]
    points = {
        "multi_point": "multiPoint",
        "queue_sort": "queueSort",
        "pre_filter": "preFilter",
        "post_filter": "postFilter",
        "pre_score": "preScore",
        "pre_bind": "preBind",
    }
    sets = {
        points.get(point, point): {"enabled": [{"name": name, "weight": weight} for name, weight in defaults]}
        for point, defaults in DEFAULT_PLUGINS[version].items()
    }
    configs = [
        {"name": name, "args": {"apiVersion": f"{GROUP}/{version}", "kind": f"{name}Args", **args}}
        for name, args in usual.args.items()
        if args
    ]
    configs.append({"name": "VolumeBinding", "args": {"bindTimeoutSeconds": 600}})
    written = read(yaml.safe_dump({"profiles": [{"plugins": sets, "pluginConfig": configs}]}), version).profiles[0]
    assert written == usual


def test_the_table_of_plugins_agrees_with_the_plugins():
    from sim.scheduler.framework import PLUGINS

    for name, points in _IN_TREE.items():
        implemented = set(PLUGINS[name].points()) - {"normalize_score"}
        assert implemented <= set(points), name
        assert implemented & {"filter", "score"} == set(points) & {"filter", "score"}, name


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_are_read():
    configuration = read(
        """
parallelism: 4
percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 60
clientConnection: {qps: 100.5, burst: 7, kubeconfig: x}
leaderElection: {leaderElect: false, leaseDuration: 1m, renewDeadline: 40s, retryPeriod: 5s, resourceLock: leases}
profiles:
- schedulerName: one
  percentageOfNodesToScore: 80
- schedulerName: two
"""
    )
    assert configuration.parallelism == 4
    assert configuration.client_qps == 100.5
    assert configuration.client_burst == 7
    assert not configuration.leader_election.leader_elect
    assert configuration.leader_election.lease_duration_s == 60.0
    assert configuration.profile("one").percentage_of_nodes_to_score == 80
    assert configuration.profile("two").percentage_of_nodes_to_score == 30
    rules = configuration.queue_rules()
    assert (rules.initial_backoff_s, rules.max_backoff_s, rules.requeueing) == (2.0, 60.0, Requeueing.HINTS)
    with pytest.raises(InputError, match="has no profile 'tow'; did you mean 'two'"):
        configuration.profile("tow")


def test_the_queue_follows_the_api_version():
    assert read(version="v1beta1").queue_rules().requeueing is Requeueing.ALL
    assert read(version="v1beta3").queue_rules().requeueing is Requeueing.EVENTS


def test_arguments_reach_the_profile():
    configuration = read(
        """
profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy:
        type: RequestedToCapacityRatio
        resources: [{name: nvidia.com/gpu, weight: 3}, {name: cpu}]
        requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [a]}]}]
"""
    )
    args = configuration.profile("default-scheduler").args
    strategy = args["NodeResourcesFit"]["scoringStrategy"]
    assert strategy["resources"] == [{"name": "nvidia.com/gpu", "weight": 3}, {"name": "cpu", "weight": 1}]
    assert strategy["requestedToCapacityRatio"]["shape"][1] == {"utilization": 100, "score": 10}
    assert args["PodTopologySpread"]["defaultingType"] == "List"
    assert "addedAffinity" in args["NodeAffinity"]


ONE_PROFILE = "profiles:\n- "
CONFIG = "profiles:\n- pluginConfig:\n  - "


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore", "at most 100"),
        ("percentageOfNodesToScor: 10", "percentageOfNodesToScor", "did you mean 'percentageOfNodesToScore'"),
        ("parallelism: 0", "parallelism", "at least 1"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds", "at least 1"),
        ("podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 4", "podMaxBackoffSeconds", "at least podInitial"),
        ("extenders: [{urlPrefix: 'http://x'}]", "extenders", "not supported"),
        ("delayCacheUntilActive: true", "delayCacheUntilActive", "not supported"),
        ("healthzBindAddress: 0.0.0.0:1", "healthzBindAddress", "unknown field"),
        ("clientConnection: {qps: fast}", "clientConnection.qps", "must be a number"),
        ("clientConnection: {burst: -1}", "clientConnection.burst", "at least 0"),
        ("leaderElection: {leaseDuration: soon}", "leaderElection.leaseDuration", "not a duration"),
        ("leaderElection: {leaseDuration: 5s}", "leaderElection.leaseDuration", "longer than renewDeadline, 10 s"),
        ("leaderElection: {retryPeriod: 10s}", "leaderElection.renewDeadline", "longer than retryPeriod"),
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", "profiles[1].schedulerName", "unique"),
        ("profiles: [{schedulerName: a}, {}]", "profiles[1].schedulerName", "must be given"),
        (
            ONE_PROFILE + "plugins: {filter: {enabled: [{name: NodePort}]}}",
            "profiles[0].plugins.filter.enabled[0].name",
            "did you mean 'NodePorts'",
        ),
        (
            ONE_PROFILE + "plugins: {score: {disabled: [{name: ImageLocalty}]}}",
            "profiles[0].plugins.score.disabled[0].name",
            "did you mean 'ImageLocality'",
        ),
        (
            ONE_PROFILE + "plugins: {score: {enabled: [{name: NodeName}]}}",
            "profiles[0].plugins.score.enabled[0].name",
            "does not implement score",
        ),
        (
            ONE_PROFILE + "plugins: {score: {enabled: [{name: NodeAffinity}, {name: NodeAffinity}]}}",
            "profiles[0].plugins.score.enabled[1].name",
            "once",
        ),
        (
            ONE_PROFILE + "plugins: {score: {enabled: [{name: NodeAffinity, weight: -1}]}}",
            "profiles[0].plugins.score.enabled[0].weight",
            "at least 0",
        ),
        (
            ONE_PROFILE + "plugins: {score: {enabled: [{name: NodeResourcesLeastAllocated}]}}",
            "profiles[0].plugins.score.enabled[0].name",
            "use NodeResourcesFit's scoringStrategy",
        ),
        (
            ONE_PROFILE + "plugins: {filter: {enabled: [{name: CinderLimits}]}}",
            "profiles[0].plugins.filter.enabled[0].name",
            "not modelled",
        ),
        (ONE_PROFILE + "plugins: {filters: {}}", "profiles[0].plugins.filters", "did you mean 'filter'"),
        (ONE_PROFILE + "plugins: {bind: {disabled: [{name: '*'}]}}", "profiles[0].plugins.bind", "all are disabled"),
        (
            ONE_PROFILE + "plugins: {queueSort: {disabled: [{name: PrioritySort}]}}",
            "profiles[0].plugins.queueSort",
            "all are disabled",
        ),
        (
            ONE_PROFILE + "plugins: {preScore: {disabled: [{name: TaintToleration}]}}",
            "profiles[0].plugins.preScore",
            "preScore too",
        ),
        (CONFIG + "name: NodeResourceFit", "profiles[0].pluginConfig[0].name", "did you mean 'NodeResourcesFit'"),
        (
            CONFIG + "{name: NodeName, args: {x: 1}}",
            "profiles[0].pluginConfig[0].args",
            "takes no arguments",
        ),
        (
            CONFIG + "{name: VolumeBinding, args: {bindTimeoutSeconds: 5}}",
            "profiles[0].pluginConfig[0].args.bindTimeoutSeconds",
            "not modelled",
        ),
        (
            CONFIG + "{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}",
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight",
            "at most 100",
        ),
        (
            CONFIG + "{name: InterPodAffinity, args: {kind: NodeResourcesFitArgs}}",
            "profiles[0].pluginConfig[0].args.kind",
            "must be InterPodAffinityArgs",
        ),
        (
            CONFIG + "{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAlocated}}}",
            "profiles[0].pluginConfig[0].args.scoringStrategy.type",
            "did you mean 'MostAllocated'",
        ),
        (
            CONFIG + "{name: NodeResourcesFit, args: {scoringStrategy: {type: RequestedToCapacityRatio}}}",
            "profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio.shape",
            "at least one point",
        ),
        (
            CONFIG + "{name: NodeResourcesFit, args: {ignoredResourceGroups: [a/b]}}",
            "profiles[0].pluginConfig[0].args.ignoredResourceGroups[0]",
            "without '/'",
        ),
        (
            CONFIG + "{name: NodeResourcesBalancedAllocation, args: {resources: [{name: cpu, weight: 2}]}}",
            "profiles[0].pluginConfig[0].args.resources[0].weight",
            "at most 1",
        ),
        (
            CONFIG + "{name: DefaultPreemption, args: {minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}}",
            "profiles[0].pluginConfig[0].args.minCandidateNodesPercentage",
            "not be 0 together",
        ),
        (
            CONFIG + "{name: PodTopologySpread, args: {defaultConstraints: "
            "[{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}}",
            "profiles[0].pluginConfig[0].args.defaultConstraints",
            "must be empty when defaultingType is System",
        ),
        (
            CONFIG + "{name: PodTopologySpread, args: {defaultingType: List, defaultConstraints: "
            "[{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}]}}",
            "profiles[0].pluginConfig[0].args.defaultConstraints[0].labelSelector",
            "must be absent",
        ),
        (
            CONFIG + "{name: NodeAffinity, args: {addedAffinity: "
            "{requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}",
            "profiles[0].pluginConfig[0].args.addedAffinity.nodeAffinity."
            "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            "at least one",
        ),
    ],
)
def test_what_is_refused(text, path, rule):
    lines = refusals(text)
    assert [line for line in lines if line.strip().startswith(f"{path}: ") and rule in line], lines


def test_rising_shapes():
    shape = "[{utilization: 50, score: 11}, {utilization: 50, score: 1}]"
    text = f"{{name: RequestedToCapacityRatio, args: {{shape: {shape}}}}}"
    lines = refusals(CONFIG + text, "v1beta1")
    assert len(lines) == 2
    assert "at most 10" in lines[0]
    assert "more than that of the point before" in lines[1]
    profile = ONE_PROFILE + "plugins: {score: {enabled: [{name: RequestedToCapacityRatio}]}}"
    assert "has no default shape" in refusals(profile, "v1beta1")[0]


def test_all_problems_come_at_once():
    assert len(refusals("parallelism: 0\nextenders: [{}]\nprofiles: [{pluginConfig: [{name: X}], plugin: {}}]")) == 4


def test_profiles_share_the_queue_sort(monkeypatch):
    from sim.scheduler.framework import PLUGINS, Plugin

    class Oldest(Plugin):
        name = "Oldest"

        def queue_sort(self, pod, entered_s):
            return (entered_s,)

    PLUGINS["PrioritySort"]  # the catalog is read before it is changed
    monkeypatch.setitem(PLUGINS._entries, "Oldest", Oldest)
    own = "plugins: {queueSort: {disabled: [{name: PrioritySort}], enabled: [{name: Oldest}]}}"
    assert read(f"profiles:\n- {own}").profile("default-scheduler").queue_sort == "Oldest"
    lines = refusals(f"profiles:\n- schedulerName: a\n- schedulerName: b\n  {own}")
    assert "profiles[1].plugins.queueSort: ['Oldest'] must be the same in all profiles" in lines[0]


def test_a_plugin_of_the_users_own_takes_its_arguments_as_they_are(monkeypatch):
    from sim.scheduler.framework import PLUGINS, Plugin

    class Packed(Plugin):
        name = "Packed"

        def score(self, cycle, rows):
            return rows

    PLUGINS["PrioritySort"]
    monkeypatch.setitem(PLUGINS._entries, "Packed", Packed)
    configuration = read(
        "profiles:\n- plugins: {multiPoint: {enabled: [{name: Packed, weight: 4}]}}\n"
        "  pluginConfig: [{name: Packed, args: {anything: 1}}]"
    )
    profile = configuration.profile("default-scheduler")
    assert profile.score[-1] == ("Packed", 4)
    assert profile.args["Packed"] == {"anything": 1}


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        (None, "must be a KubeSchedulerConfiguration"),
        (
            {"kind": "KubeSchedulerConfiguration", "apiVersion": "kubescheduler.config.k8s.io/v1alpha1"},
            "must be one of",
        ),
        ({"kind": "Pod", "apiVersion": f"{GROUP}/v1"}, "kind: 'Pod' must be KubeSchedulerConfiguration"),
    ],
)
def test_what_is_no_configuration(document, rule):
    with pytest.raises(InputError, match=rule):
        read_configuration(document)


def test_files(tmp_path):
    file = tmp_path / "scheduler.yaml"
    with pytest.raises(InputError, match=r"scheduler\.yaml: cannot be read"):
        load_configuration(file)
    file.write_text(f"apiVersion: {GROUP}/v1\nkind: KubeSchedulerConfiguration\nparallelism: 8\n")
    assert load_configuration(file).parallelism == 8
    file.write_text("kind: [\n")
    with pytest.raises(InputError, match=r"scheduler\.yaml:2:1: "):
        load_configuration(file)
    file.write_text("parallelism: 1\nparallelism: 2\n")
    with pytest.raises(InputError, match=r"scheduler\.yaml:2:1: .*'parallelism' stands twice"):
        load_configuration(file)
    file.write_text("a: 1\n---\nb: 1\n")
    with pytest.raises(InputError, match="has 2 documents"):
        load_configuration(file)


KWOK = """
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", qps: 0}
leaderElection: {leaderElect: null, leaseDuration: 0s, renewDeadline: 0s, resourceLock: "", resourceName: "",
  resourceNamespace: "", retryPeriod: 0s}
"""


def test_zeros_stand_for_defaults():
    assert read(KWOK) == read()


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared sample configurations are not here (KUBEDES_SHARED)")
def test_files_as_users_have_them():
    assert load_configuration(SAMPLES / "kwok.yaml") == read()
    out_of_tree = {
        "coscheduling.yaml": ["Coscheduling"],
        "noderesources.yaml": ["NodeResourcesAllocatable"],
        "qos.yaml": ["QOSSort"],
        "openb_fgd_v1beta1.yaml": ["Open-Gpu-Share", "FGDScore", "Simon", "BestFitScore"],
    }
    for file, refused in out_of_tree.items():
        with pytest.raises(InputError) as caught:
            load_configuration(SAMPLES / file)
        lines = str(caught.value).splitlines()[1:]
        assert all("is not a plugin that kubedes knows" in line for line in lines), lines
        for name in refused:
            assert any(f"'{name}'" in line for line in lines)
