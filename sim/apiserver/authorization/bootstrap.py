"""The policy that an API server makes for itself when it starts, by Kubernetes version."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from sim.apiserver.authorization.policy import Binding, Policy, Role, Rule, Subject
from sim.base.yamltext import parse_yaml

FILE = Path(__file__).with_name("bootstrap.yaml")
AGGREGATE_LABEL = "rbac.authorization.k8s.io/aggregate-to-"
CONTROLLER = "system:controller:"
EVENTS = "create update patch: events @ core events.k8s.io"
"""Most controllers' rule, `E` in the file."""
VERBS = {"R": ("get", "list", "watch"), "W": ("create", "update", "patch", "delete", "deletecollection")}


@cache
def bootstrap_policy(version: str) -> Policy:
    """Roles and bindings of a version, aggregated. Shared: do not change it."""
    data = parse_yaml(FILE.read_text(encoding="utf-8"), FILE.name)
    policy = Policy()
    for name, item in _of_version(data["roles"], version):
        rules = [*map(_rule, item.get("rules", ())), *map(_paths, item.get("paths", ()))]
        policy.add_role(
            Role(
                name,
                tuple(rules),
                "",
                _label(item.get("aggregated_to")),
                tuple(filter(None, [_label(item.get("aggregates"))])),
            )
        )
    for name, item in _of_version(data["bindings"], version):
        policy.add_binding(Binding(name, name, tuple(_subjects(item))))
    for name, item in _of_version(data["controllers"], version):
        role = CONTROLLER + name
        policy.add_role(Role(role, tuple(_rule(EVENTS if text == "E" else text) for text in item["rules"])))
        policy.add_binding(Binding(role, role, (Subject("ServiceAccount", name, "kube-system"),)))
    return policy.aggregated()


def node_rules(version: str) -> tuple[Rule, ...]:
    """What the Node authorizer allows every kubelet, before it looks at single objects."""
    return bootstrap_policy(version).cluster_roles["system:node"].rules


def _of_version(entries: dict[str, Any], version: str) -> list[tuple[str, dict[str, Any]]]:
    now = _number(version)
    found = []
    for name, entry in entries.items():
        item: dict[str, Any] = {"rules": entry} if isinstance(entry, list) else entry
        if _number(item.get("since", "0.0")) <= now < _number(item.get("until", "99.0")):
            found.append((name, item))
    return found


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _label(to: str | None) -> frozenset[tuple[str, str]]:
    return frozenset({(AGGREGATE_LABEL + to, "true")} if to else ())


def _verbs(text: str) -> frozenset[str]:
    return frozenset(verb for word in text.split() for verb in VERBS.get(word, (word,)))


def _rule(text: str) -> Rule:
    """`verbs: resources @ groups = names`."""
    verbs, _, rest = text.partition(":")
    rest, _, names = rest.partition(" = ")
    resources, _, groups = rest.partition(" @ ")
    of = frozenset("" if group == "core" else group for group in groups.split()) or frozenset({""})
    return Rule(_verbs(verbs), of, frozenset(resources.split()), frozenset(names.split()))


def _paths(text: str) -> Rule:
    verbs, _, paths = text.partition(":")
    return Rule(_verbs(verbs), paths=tuple(paths.split()))


def _subjects(item: dict[str, Any]) -> list[Subject]:
    accounts = [account.partition("/") for account in item.get("accounts", ())]
    return [
        *(Subject("User", name) for name in item.get("users", ())),
        *(Subject("Group", name) for name in item.get("groups", ())),
        *(Subject("ServiceAccount", name, namespace) for namespace, _, name in accounts),
    ]
