"""Reads RBAC objects from manifests: Role, ClusterRole, RoleBinding, ClusterRoleBinding, and lists of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.apiserver.authorization.policy import Binding, Policy, Role, Rule, Subject
from sim.base.documents import read_documents
from sim.base.errors import InputError, Problems, near_miss

API_GROUP = "rbac.authorization.k8s.io"
KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
SUBJECT_KINDS = ("User", "Group", "ServiceAccount")


def manifest_files(place: Path) -> list[Path]:
    """The file, or the YAML and JSON files of the folder, by name."""
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.suffix in (".yaml", ".yml", ".json"))
    return [place]


def read_policy(place: Path, policy: Policy, problems: Problems) -> None:
    """Add the RBAC objects of a file or folder to `policy`; other kinds of objects are passed over.

    What cannot be used goes to `problems`, by file and field.
    """
    for path in manifest_files(place):
        try:
            documents = read_documents(path)
        except InputError as error:
            problems.add(str(path), path.name, f"cannot be used: {error}")
            continue
        for where, thing in _objects(documents):
            if str(thing.get("apiVersion", "")).partition("/")[0] == API_GROUP:
                _Reader(f"{path}{where}", problems).add(thing, policy)


def _objects(documents: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, document in enumerate(documents):
        if not isinstance(document, dict):
            continue
        if str(document.get("kind", "")).endswith("List") or isinstance(document.get("items"), list):
            for index, item in enumerate(document.get("items") or []):
                if isinstance(item, dict):
                    yield f"[{number}].items[{index}]", item
        else:
            yield f"[{number}]", document


class _Reader:
    """One object; problems get its place in front."""

    def __init__(self, place: str, problems: Problems) -> None:
        self._place = place
        self._problems = problems

    def add(self, thing: dict[str, Any], policy: Policy) -> None:
        kind = thing.get("kind")
        if kind not in KINDS:
            self._problem("kind", kind, "is no kind of RBAC object", near_miss(str(kind), KINDS))
            return
        meta = thing.get("metadata") or {}
        name = meta.get("name") if isinstance(meta, dict) else None
        if not isinstance(name, str) or not name:
            self._problem("metadata.name", name, "must be a name")
            return
        namespace = "" if kind.startswith("Cluster") else str(meta.get("namespace") or "default")
        if kind.endswith("Binding"):
            self._binding(thing, name, namespace, policy)
        else:
            labels = frozenset((str(key), str(value)) for key, value in (meta.get("labels") or {}).items())
            policy.add_role(Role(name, self._rules(thing), namespace, labels, self._aggregates(thing)))

    def _rules(self, thing: dict[str, Any]) -> tuple[Rule, ...]:
        rules = []
        for number, item in enumerate(self._list(thing, "rules")):
            path = f"rules[{number}]"
            if not isinstance(item, dict):
                self._problem(path, item, "must be a mapping")
                continue
            verbs = self._texts(item, "verbs", path)
            urls = self._texts(item, "nonResourceURLs", path)
            resources = self._texts(item, "resources", path)
            if not verbs:
                self._problem(f"{path}.verbs", item.get("verbs"), "must have at least one entry")
            if not urls and not resources:
                self._problem(path, item, "must name resources or nonResourceURLs")
            rules.append(
                Rule(
                    frozenset(verbs),
                    frozenset(self._texts(item, "apiGroups", path)),
                    frozenset(resources),
                    frozenset(self._texts(item, "resourceNames", path)),
                    tuple(urls),
                )
            )
        return tuple(rules)

    def _aggregates(self, thing: dict[str, Any]) -> tuple[frozenset[tuple[str, str]], ...]:
        rule = thing.get("aggregationRule") or {}
        selectors = []
        for number, selector in enumerate(rule.get("clusterRoleSelectors") or []):
            if selector.get("matchExpressions"):
                self._problem(
                    f"aggregationRule.clusterRoleSelectors[{number}].matchExpressions",
                    selector["matchExpressions"],
                    "is not supported",
                    "use matchLabels",
                )
            selectors.append(frozenset((str(k), str(v)) for k, v in (selector.get("matchLabels") or {}).items()))
        return tuple(selectors)

    def _binding(self, thing: dict[str, Any], name: str, namespace: str, policy: Policy) -> None:
        ref = thing.get("roleRef")
        if not isinstance(ref, dict) or not ref.get("name"):
            self._problem("roleRef", ref, "must name a role")
            return
        kind = ref.get("kind")
        allowed = ("Role", "ClusterRole") if namespace else ("ClusterRole",)
        if kind not in allowed:
            self._problem("roleRef.kind", kind, f"must be {' or '.join(allowed)}", near_miss(str(kind), allowed))
            return
        subjects = []
        for number, item in enumerate(self._list(thing, "subjects")):
            path = f"subjects[{number}]"
            if not isinstance(item, dict) or item.get("kind") not in SUBJECT_KINDS or not item.get("name"):
                self._problem(path, item, "must have a name and a kind", f"one of {', '.join(SUBJECT_KINDS)}")
                continue
            home = str(item.get("namespace") or "")
            if item["kind"] == "ServiceAccount" and not home:
                self._problem(f"{path}.namespace", item.get("namespace"), "must be given for a service account")
            subjects.append(Subject(item["kind"], str(item["name"]), home))
        policy.add_binding(Binding(name, str(ref["name"]), tuple(subjects), namespace, kind == "ClusterRole"))

    def _list(self, thing: dict[str, Any], field: str) -> list[Any]:
        value = thing.get(field) or []
        if not isinstance(value, list):
            self._problem(field, value, "must be a list")
            return []
        return value

    def _texts(self, item: dict[str, Any], field: str, path: str) -> list[str]:
        value = item.get(field) or []
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            self._problem(f"{path}.{field}", value, "must be a list of text")
            return []
        return value

    def _problem(self, field: str, value: object, rule: str, hint: str = "") -> None:
        self._problems.add(f"{self._place}.{field}", value, rule, hint)


def missing_roles(policy: Policy, place: str, problems: Problems) -> None:
    """Add the bindings whose role does not exist."""
    for binding in policy.cluster_bindings.values():
        if policy.role_of(binding) is None:
            hint = near_miss(binding.role, policy.cluster_roles)
            problems.add(
                f"{place}: ClusterRoleBinding {binding.name}.roleRef.name", binding.role, "is no ClusterRole", hint
            )
    for namespace, bindings in policy.bindings.items():
        here = [name for home, name in policy.roles if home == namespace]
        for binding in bindings.values():
            if policy.role_of(binding) is None:
                known = policy.cluster_roles if binding.of_cluster_role else here
                rule = "is no ClusterRole" if binding.of_cluster_role else f"is no Role of the namespace '{namespace}'"
                where = f"{place}: RoleBinding {namespace}/{binding.name}.roleRef.name"
                problems.add(where, binding.role, rule, near_miss(binding.role, known))
