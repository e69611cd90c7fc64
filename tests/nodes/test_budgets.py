"""PodDisruptionBudgets: the controller's arithmetic, and evictions and preemption that keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.scenario import Scenario
from sim.simulate import simulate
from sim.state.budgets import PodDisruptionBudget

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: c, image: base, resources: {{requests: {{cpu: 100m}}}}}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web, namespace: shop}}
spec: {{{budget}, selector: {{matchLabels: {{app: web}}}}}}
"""


@pytest.mark.parametrize(
    ("budget", "expected", "healthy", "allowed"),
    [
        ({"min_available": 3}, 4, 4, 1),
        ({"min_available": 3}, 4, 3, 0),
        ({"min_available": "50%"}, 5, 5, 2),
        ({"max_unavailable": "25%"}, 5, 5, 2),
        ({"max_unavailable": 0}, 4, 4, 0),
        ({"max_unavailable": 9}, 4, 2, 2),
        ({"min_available": 0}, 0, 0, 0),
    ],
)
def test_what_a_budget_allows(budget: dict[str, int | str], expected: int, healthy: int, allowed: int) -> None:
    """Shares are rounded up: 50 % of 5 is 3 that must stay, 25 % of 5 is 2 that may go."""
    assert PodDisruptionBudget("shop", "web", None, **budget).allowed(expected, healthy) == allowed


def drained(tmp_path: Path, budget: str, count: int) -> tuple[int, int]:
    """(pods evicted, pods that run at the end) of a drain of one of `count` nodes."""
    (tmp_path / "web.yaml").write_text(MANIFEST.format(budget=budget))
    scenario = Scenario.load("quick").replace(
        {
            "workload": {"type": "manifests", "paths": [str(tmp_path / "web.yaml")]},
            "nodes.pools.general.count": count,
            "faults": [{"type": "node-drain", "at_s": [10], "nodes": ["general-0"]}],
        }
    )
    phase = simulate(scenario, seed=1).pods.phase
    return int((phase == "Deleted").sum()), int((phase == "Running").sum())


def test_a_drain_waits_for_the_budget_of_a_manifest(tmp_path: Path) -> None:
    """On one node what was evicted cannot run again, so no more may go than the budget says; with room elsewhere all come again."""
    assert drained(tmp_path, "minAvailable: 3", 1) == (1, 3)
    assert drained(tmp_path, "maxUnavailable: 0", 1) == (0, 4)
    assert drained(tmp_path, "maxUnavailable: 100%", 1) == (4, 0)
    assert drained(tmp_path, "minAvailable: 3", 3)[1] == 4


POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}, creationTimestamp: "2024-01-01T00:00:{second:02}Z"}}
spec: {{priorityClassName: {priority}, containers: [{{name: c, image: base, resources: {{requests: {{cpu: "7"}}}}}}]}}
"""


@pytest.mark.parametrize(("guarded", "victim"), [("web", "batch"), ("batch", "web")])
def test_preemption_spares_the_pods_of_a_budget(tmp_path: Path, guarded: str, victim: str) -> None:
    """Two full nodes; a pod of high priority takes the one whose pod no budget keeps."""
    classes = "".join(
        f"\n---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {name}}}\nvalue: {value}\n"
        for name, value in (("low", 1), ("high", 1000))
    )
    pods = [("web", 0, "low"), ("batch", 1, "low"), ("urgent", 20, "high")]
    text = "".join(POD.format(name=name, second=second, priority=priority) for name, second, priority in pods)
    budget = f"""
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: kept, namespace: shop}}
spec: {{maxUnavailable: 0, selector: {{matchLabels: {{app: {guarded}}}}}}}
"""
    (tmp_path / "pods.yaml").write_text(classes + text + budget)
    scenario = Scenario.load("quick").replace(
        {
            "workload": {"type": "manifests", "paths": [str(tmp_path / "pods.yaml")], "creation_times": True},
            "nodes.pools.general.count": 2,
        }
    )
    pods_at_end = simulate(scenario, seed=1).pods
    place = ["web", "batch", "urgent"].index(victim)
    assert pods_at_end.phase.tolist() == ["Deleted" if row == place else "Running" for row in range(3)]
