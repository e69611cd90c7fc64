"""Reads recorded decisions of the real kube-scheduler and replays them through the core.

Files are gzip-compressed JSON, `{"format": "kube-scheduler-golden/1", "kubernetes", "kind", "scenarios"}`; kinds are
eval, trace, sampling and preemption. Any folder in this format can be run: `pytest tests/parity --golden-dir DIR`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.base.errors import Problems
from sim.scheduler.cluster import DisruptionBudget
from sim.scheduler.core import Core
from sim.scheduler.profiles import Profile, profile
from sim.state.api import label_selector_from_v1, node_spec_from_fields, pod_spec_from_fields
from sim.state.objects import NodeSpec, PodSpec, pairs

SAMPLE = Path(__file__).parent / "sample"
FORMAT = "kube-scheduler-golden/1"


def base_amount(resource: str, value: Any) -> int:
    """Amounts of the recordings are integers in base units already."""
    return int(value)


@dataclass
class Totals:
    """What a test session compared, for the last line."""

    scenarios: int = 0
    scenario_mismatches: int = 0
    decisions: int = 0
    decision_mismatches: int = 0
    by_plugin: Counter[str] = field(default_factory=Counter)

    def report(self) -> Iterator[str]:
        if not self.scenarios:
            return
        for what, count in sorted(self.by_plugin.items()):
            yield f"golden mismatch: {what}: {count}"
        yield (
            f"golden: {self.scenarios} scenarios, {self.scenario_mismatches} mismatches; "
            f"{self.decisions} decisions, {self.decision_mismatches} mismatches"
        )


TOTALS = Totals()


@dataclass(frozen=True)
class Recording:
    """One file."""

    path: Path
    kubernetes: str
    kind: str
    scenarios: list[dict[str, Any]]


def read(path: Path) -> Recording:
    """Read a file and check that it is of this format."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path}: format {document.get('format')!r} is not {FORMAT!r}")
    return Recording(path, document["kubernetes"], document["kind"], document["scenarios"])


# -- building a core from a scenario -------------------------------------------------------------------------------


def pod_spec(fields: Mapping[str, Any]) -> PodSpec:
    """A pod of a recording; some would be refused by validation, so it is off."""
    problems = Problems("golden pod")
    spec = pod_spec_from_fields(fields, "pod", problems, base_amount, validate=False)
    problems.raise_if_any()
    return spec


def node_spec(fields: Mapping[str, Any]) -> NodeSpec:
    problems = Problems("golden node")
    spec = node_spec_from_fields(fields, "node", problems, base_amount, validate=False)
    problems.raise_if_any()
    return spec


def profile_of(config: Mapping[str, Any], kubernetes: str) -> Profile:
    """The profile a scenario asks for."""
    name = config.get("profile") or ("1.34" if kubernetes.startswith("1.34") else "1.20")
    found = profile(name)
    if "scorePlugins" in config:
        found = replace(found, score=tuple((each["name"], each["weight"]) for each in config["scorePlugins"]))
    if config.get("weights"):
        found = found.with_weights(config["weights"])
    if config.get("pluginConfig"):
        found = replace(found, args={**found.args, **config["pluginConfig"]})
    return found


def build(scenario: Mapping[str, Any], kubernetes: str, **options: Any) -> Core:
    """A core that holds the scenario's cluster; placed pods get the ids 0, 1, … in list order."""
    core = Core(profile_of(scenario["config"], kubernetes), tie_break="lowest", **options)
    core.set_namespaces({each["name"]: each.get("labels") or {} for each in scenario.get("namespaces") or ()})
    for fields in scenario["nodes"]:
        core.add_node(node_spec(fields))
    for each in scenario.get("services") or ():
        core.set_service(each.get("namespace", "default"), each["name"], pairs(each.get("selector")))
    problems = Problems("golden selectors")
    for each in scenario.get("controllers") or ():
        selector = label_selector_from_v1(each.get("selector"), "controller", problems, False)
        core.set_controller(each["kind"], each.get("namespace", "default"), each["name"], selector)
    budgets = []
    ids = {fields["name"]: pod for pod, fields in enumerate(scenario.get("pods") or ())}
    for each in scenario.get("podDisruptionBudgets") or ():
        selector = label_selector_from_v1(each.get("selector"), "budget", problems, False)
        budgets.append(
            DisruptionBudget(
                each.get("namespace", "default"),
                selector,
                each.get("disruptionsAllowed", 0),
                frozenset(ids[name] for name in each.get("disruptedPods") or () if name in ids),
            )
        )
    problems.raise_if_any()
    core.set_budgets(tuple(budgets))
    for pod, fields in enumerate(scenario.get("pods") or ()):
        core.assume(pod, core.intern(pod_spec(fields)), fields["node"], start_s=float(fields.get("startTime", 0)))
        if fields.get("terminating") or fields.get("terminatingByPreemption"):
            core.terminate(pod, by_preemption=_by_preemption(fields))
    return core


def _by_preemption(fields: Mapping[str, Any]) -> bool:
    condition = fields.get("disruptionTarget") or {}
    marked = (condition.get("status"), condition.get("reason")) == ("True", "PreemptionByScheduler")
    return bool(fields.get("terminatingByPreemption")) or marked


# -- eval ------------------------------------------------------------------------------------------------------------


def compare_eval(scenario: Mapping[str, Any], kubernetes: str) -> Iterator[tuple[str, str]]:
    """Differences between the composed cycle and the recording, as (what or which plugin, detail)."""
    core = build(scenario, kubernetes, percentage_of_nodes_to_score=100)
    spec = core.intern(pod_spec(scenario["pod"]))
    expect = scenario["expect"]
    composed = core.compose(spec, score_single=True)
    filtered = composed.filtered
    names = [plugin.name for plugin in core.framework.filters]
    if "preFilter" in expect:
        wanted = expect["preFilter"]
        rejection = filtered.rejection
        if rejection is None:
            yield wanted["plugin"], "PreFilter should reject the pod"
        elif (rejection.plugin, rejection.code, rejection.message) != (
            wanted["plugin"],
            wanted["status"],
            wanted["message"],
        ):
            yield wanted["plugin"], f"PreFilter says {rejection}, not {wanted}"
    elif filtered.rejection is not None:
        yield filtered.rejection.plugin, f"PreFilter should not reject: {filtered.rejection}"
    else:
        for row, (code, by) in enumerate(zip(expect["status"], expect["rejectedBy"], strict=True)):
            if (code, by) != (filtered.status[row], filtered.rejected_by[row]):
                what = names[by] if by >= 0 else names[filtered.rejected_by[row]]
                yield what, f"node {row}: status {filtered.status[row]} by {filtered.rejected_by[row]}, not {code} by {by}"
    if "rejectMask" in expect:
        yield from compare_masks(core, spec, expect["rejectMask"], names)
    found = composed.found.tolist()
    if sorted(found) != expect["feasible"]:
        yield "feasible", f"{sorted(found)}, not {expect['feasible']}"
    elif found:
        order = np.argsort(composed.found)
        for name in {*composed.by_plugin, *expect["scores"]}:
            mine = composed.by_plugin[name][order].tolist() if name in composed.by_plugin else None
            if mine != expect["scores"].get(name):
                yield f"{name} score", f"{mine}, not {expect['scores'].get(name)}"
        if composed.total[order].tolist() != expect["total"]:
            yield "total", "differs"
        top = composed.found[composed.total == composed.total.max()]
        if sorted(top.tolist()) != expect["top"]:
            yield "top", f"{sorted(top.tolist())}, not {expect['top']}"
    chosen = core.schedule(spec)
    if chosen != (min(expect["top"]) if expect.get("top") else -1):
        yield "chosen", f"{chosen}, not the lowest of {expect.get('top')}"
    if len(found) > 1 and (core.last.feasible, core.last.ties, core.last.top) != (
        len(found),
        len(expect["top"]),
        max(expect["total"]),
    ):
        yield "schedule", f"{core.last}, not {len(found)} feasible, {len(expect['top'])} ties of {max(expect['total'])}"
    if "fitError" in expect and core.fit_error() != expect["fitError"]:
        yield "fitError", f"{core.fit_error()!r}, not {expect['fitError']!r}"
    for row, reasons in (expect.get("reasons") or {}).items():
        mine = core.reasons(composed, int(row)) if filtered.rejection is None else [filtered.rejection.message]
        if sorted(mine) != sorted(reasons):
            yield "reasons", f"node {row}: {mine}, not {reasons}"


def compare_masks(core: Core, spec: int, masks: list[int], names: list[str]) -> Iterator[tuple[str, str]]:
    """Every filter run alone on every node."""
    cycle = core.cycle(spec)
    rows = cycle.all_rows
    mine = np.zeros(len(rows), np.int64)
    for index, plugin in enumerate(core.framework.filters):
        bad = np.zeros(len(rows), bool)
        cycle.allowed = None
        status = plugin.pre_filter(cycle) if plugin in core.framework.pre_filters else None
        if status is not None and status.code in (1, 2):
            bad[:] = True
        elif status is None or status.code == 0:
            bad = plugin.filter(cycle, rows) != 0
        if cycle.allowed is not None:
            bad |= ~cycle.allowed[rows]
        mine[bad] |= 1 << index
    for row in np.flatnonzero(mine != np.array(masks)):
        differing = int(mine[row]) ^ masks[row]
        for index, name in enumerate(names):
            if differing >> index & 1:
                yield name, f"node {row}: rejects alone {bool(mine[row] >> index & 1)}, not {bool(masks[row] >> index & 1)}"


# -- traces and sampling ---------------------------------------------------------------------------------------------


def replay(
    scenario: Mapping[str, Any], kubernetes: str, path: str = "incremental", score_single: bool = True, **options: Any
) -> tuple[Core, list[list[int]]]:
    """Run the events: each created pod is scheduled at once and stays on the lowest node of the top set.

    path: how the core decides. score_single: the top score of a single feasible node, which the real cycle does not
    score, is worked out from the plugins, as the recordings do. Returns the rows of `decisions`: [node, feasible, ties,
    top, processed, next start]."""
    core = build(scenario, kubernetes, **options)
    core.path = path
    ids: dict[str, int] = {}
    rows: list[list[int]] = []
    for event in scenario["events"]:
        if "create" in event:
            fields = event["create"]
            spec = core.intern(pod_spec(fields))
            node = core.schedule(spec)
            last = core.last
            top = last.top
            if last.feasible == 1 and score_single:
                top = int(core.compose(spec, score_single=True).total[0])
            rows.append([node, last.feasible, last.ties, top, last.processed, last.next_start])
            if node >= 0:
                pod = ids[f"{fields.get('namespace', 'default')}/{fields['name']}"] = len(rows)
                core.assume(pod, spec, node)
        else:
            pod = ids.pop(event["delete"], -1)
            if pod >= 0:
                core.remove(pod)
    return core, rows


def compare_trace(scenario: Mapping[str, Any], kubernetes: str, **options: Any) -> Iterator[tuple[int, str]]:
    """Differing decisions of a trace (all nodes evaluated), as (position, detail)."""
    _, rows = replay(scenario, kubernetes, percentage_of_nodes_to_score=100, **options)
    for position, (mine, wanted) in enumerate(zip(rows, scenario["expect"]["decisions"], strict=True)):
        if mine[:4] != wanted:
            yield position, f"decision {position}: {mine[:4]}, not {wanted}"


def compare_sampling(scenario: Mapping[str, Any], kubernetes: str, **options: Any) -> Iterator[tuple[int, str]]:
    """Differing decisions of a sampled run, as (position, detail)."""
    percentage = scenario["percentageOfNodesToScore"]
    core, rows = replay(scenario, kubernetes, percentage_of_nodes_to_score=percentage, **options)
    expect = scenario["expect"]
    if core.order.rows().tolist() != expect["nodeOrder"]:
        yield -1, f"node order {core.order.rows().tolist()}, not {expect['nodeOrder']}"
    for position, (mine, wanted) in enumerate(zip(rows, expect["decisions"], strict=True)):
        if mine != wanted:
            yield position, f"decision {position}: {mine}, not {wanted}"


# -- preemption ------------------------------------------------------------------------------------------------------


def compare_preemption(scenario: Mapping[str, Any], kubernetes: str) -> Iterator[tuple[str, str]]:
    """Differences of a preemption attempt, as (what, detail)."""
    core = build(scenario, kubernetes, percentage_of_nodes_to_score=100)
    names = [f"{each.get('namespace', 'default')}/{each['name']}" for each in scenario.get("pods") or ()]
    pod = len(names)
    spec = core.intern(pod_spec(scenario["pod"]))
    if "nominatedNode" in scenario["pod"]:
        core.nominate(pod, spec, scenario["pod"]["nominatedNode"])
    for other, fields in enumerate(scenario.get("nominatedPods") or (), pod + 1):
        core.nominate(other, core.intern(pod_spec(fields)), fields["nominatedNode"])
    expect = scenario["expect"]
    filtered = core.compose(spec, pod).filtered
    if "preFilter" in expect:
        if filtered.rejection is None or filtered.rejection.message != expect["preFilter"]["message"]:
            yield "preFilter", f"{filtered.rejection}, not {expect['preFilter']}"
    elif (filtered.status.tolist(), filtered.rejected_by.tolist()) != (expect["status"], expect["rejectedBy"]):
        yield "status", f"{filtered.status.tolist()} by {filtered.rejected_by.tolist()}, not {expect['status']}"
    if filtered.rejection is None and filtered.feasible().tolist() != expect["feasible"]:
        yield "feasible", f"{filtered.feasible().tolist()}, not {expect['feasible']}"
    if expect["outcome"] == "schedulable":
        return
    before = core.nodes.amounts.copy()
    result = core.preempt(pod, spec, all_candidates=True)
    if (core.nodes.amounts != before).any():
        yield "dry run", "left the node amounts changed"
    mine: dict[str, Any] = {
        "outcome": result.outcome,
        "message": result.message,
        "potentialNodes": result.potential,
        "candidates": [
            {"node": each.node, "victims": [names[victim] for victim in each.victims], "numPDBViolations": each.violations}
            for each in result.candidates
        ],
        "dropped": [
            {"node": each.node, "status": each.status, "rejectedBy": each.rejected_by, "reasons": list(each.reasons)}
            for each in result.dropped
        ],
        "ties": result.ties,
        "decidedBy": result.decided_by,
        "clearsNomination": result.clears_nomination,
    }
    for key, value in mine.items():
        if key in expect and value != expect[key]:
            yield key, f"{value}, not {expect[key]}"
    if result.outcome == "preempt" and result.node not in expect["ties"]:
        yield "node", f"{result.node}, not one of {expect['ties']}"
