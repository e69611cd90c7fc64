"""RBAC's objects and rules: roles, bindings, whom a binding applies to, what a rule allows. No clock, no cost.

Source of the semantics: Kubernetes documentation "Using RBAC Authorization" and 1.20 source (rbac authorizer, rule resolver).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sim.apiserver.authorization.attributes import Attributes
from sim.apiserver.identity import SERVICE_ACCOUNT, Identity

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one rule allows: verbs on resources of API groups, or on paths. `*` stands for all."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """Of objects; none: all of them."""
    paths: tuple[str, ...] = ()

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if asked.path:
            return any(_path_fits(path, asked.path) for path in self.paths)
        return (
            (asked.group in self.groups or ALL in self.groups)
            and self._names_resource(asked)
            and (not self.names or asked.name is None or asked.name in self.names)
        )

    def _names_resource(self, asked: Attributes) -> bool:
        resources = self.resources
        if ALL in resources or asked.full_resource in resources:
            return True
        return bool(asked.subresource) and f"{ALL}/{asked.subresource}" in resources


def _path_fits(rule: str, path: str) -> bool:
    return rule in (ALL, path) or (rule.endswith(ALL) and path.startswith(rule.removesuffix(ALL)))


@dataclass(frozen=True, slots=True)
class Role:
    """A Role of a namespace, or a ClusterRole."""

    name: str
    rules: tuple[Rule, ...]
    namespace: str = ""
    """Empty: a ClusterRole."""
    labels: frozenset[tuple[str, str]] = frozenset()
    aggregates: tuple[frozenset[tuple[str, str]], ...] = ()
    """Labels of the ClusterRoles whose rules it gathers; those that carry all labels of any of these sets."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a binding is for."""

    kind: str
    """User, Group or ServiceAccount."""
    name: str
    namespace: str = ""

    @property
    def key(self) -> tuple[bool, str]:
        """(whether it is a group, its name as in identities)."""
        if self.kind == "ServiceAccount":
            return False, f"{SERVICE_ACCOUNT}{self.namespace}:{self.name}"
        return self.kind == "Group", self.name

    def is_user(self, user: Identity) -> bool:
        group, name = self.key
        return name in user.groups if group else name == user.name


@dataclass(frozen=True, slots=True)
class Binding:
    """A RoleBinding of a namespace, or a ClusterRoleBinding."""

    name: str
    role: str
    subjects: tuple[Subject, ...]
    namespace: str = ""
    """Empty: a ClusterRoleBinding."""
    of_cluster_role: bool = True

    def applies_to(self, user: Identity) -> bool:
        return any(subject.is_user(user) for subject in self.subjects)


class BindingIndex:
    """Bindings by those whom they are for: a user's are found without a walk."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self._of: dict[tuple[bool, str], list[Binding]] = {}
        self.count = 0
        for binding in bindings:
            self.count += 1
            for key in {subject.key for subject in binding.subjects}:
                self._of.setdefault(key, []).append(binding)

    def of(self, user: Identity) -> list[Binding]:
        """All bindings that apply to a user, each once."""
        keys = [(False, user.name), *((True, group) for group in user.groups)]
        found = {binding.name: binding for key in keys for binding in self._of.get(key, ())}
        return list(found.values())


@dataclass(slots=True)
class Policy:
    """All roles and bindings of a cluster."""

    cluster_roles: dict[str, Role] = field(default_factory=dict)
    roles: dict[tuple[str, str], Role] = field(default_factory=dict)
    """By (namespace, name)."""
    cluster_bindings: dict[str, Binding] = field(default_factory=dict)
    bindings: dict[str, dict[str, Binding]] = field(default_factory=dict)
    """By namespace, then name."""

    def add_role(self, role: Role) -> None:
        """A role; one of the same name is replaced."""
        if role.namespace:
            self.roles[role.namespace, role.name] = role
        else:
            self.cluster_roles[role.name] = role

    def add_binding(self, binding: Binding) -> None:
        """A binding; one of the same name is replaced."""
        if binding.namespace:
            self.bindings.setdefault(binding.namespace, {})[binding.name] = binding
        else:
            self.cluster_bindings[binding.name] = binding

    def role_of(self, binding: Binding) -> Role | None:
        """The role that a binding gives; None: there is none of that name."""
        if binding.of_cluster_role:
            return self.cluster_roles.get(binding.role)
        return self.roles.get((binding.namespace, binding.role))

    def bindings_in(self, namespace: str) -> Iterator[tuple[Iterable[Binding], int]]:
        """The lists of bindings that are walked for a request, in order, each with its length."""
        yield self.cluster_bindings.values(), len(self.cluster_bindings)
        if namespace:
            here = self.bindings.get(namespace, {})
            yield here.values(), len(here)

    def aggregated(self) -> Policy:
        """The policy after the aggregation controller has filled in the roles that gather others' rules, and theirs in turn."""
        done = Policy(dict(self.cluster_roles), self.roles, self.cluster_bindings, self.bindings)
        changed = True
        while changed:
            changed = False
            for name in sorted(done.cluster_roles):
                role = done.cluster_roles[name]
                if not role.aggregates:
                    continue
                rules = _gathered(role, done.cluster_roles)
                if rules != role.rules:
                    done.cluster_roles[name] = Role(name, rules, "", role.labels, role.aggregates)
                    changed = True
        return done


def _gathered(role: Role, roles: dict[str, Role]) -> tuple[Rule, ...]:
    """Rules of all roles that `role` selects, by name, each rule once."""
    rules: dict[Rule, None] = {}
    for name in sorted(roles):
        other = roles[name]
        if name != role.name and any(labels <= other.labels for labels in role.aggregates):
            rules.update(dict.fromkeys(other.rules))
    return tuple(rules)


def allows(policy: Policy, asked: Attributes) -> bool:
    """Whether any rule of any binding that applies allows the request: the whole decision, without a walk's order."""
    for bindings, _ in policy.bindings_in(asked.namespace):
        for binding in bindings:
            role = policy.role_of(binding)
            if role is not None and binding.applies_to(asked.user) and any(rule.allows(asked) for rule in role.rules):
                return True
    return False
