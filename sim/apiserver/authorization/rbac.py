"""RBAC: all bindings are listed from the server's caches and walked until a rule allows; listing is most of what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from pathlib import Path

from sim.apiserver.authorization.attributes import Attributes
from sim.apiserver.authorization.bootstrap import bootstrap_policy
from sim.apiserver.authorization.catalog import AUTHORIZERS, Authorizer, AuthorizerSpec, Bench, Opinion
from sim.apiserver.authorization.manifests import missing_roles, read_policy
from sim.apiserver.authorization.policy import Binding, BindingIndex, Policy, Rule
from sim.base.errors import Problems, near_miss
from sim.base.spec import param

MEASURED = "our measurement of Kubernetes 1.20.2, one client, 2-core AMD EPYC VM"


class Rbac(Authorizer):
    """RBAC at work: the bindings of `policy`, and those of tenants and strangers that are only counted.

    policy: aggregated. owners: namespace -> the user who holds `tenant_role` there by one RoleBinding; empty: none.
    strangers, namespaced_strangers: bindings that are walked past and apply to nobody here.
    """

    def __init__(
        self,
        policy: Policy,
        owners: dict[str, str],
        tenant_role: str,
        strangers: int,
        namespaced_strangers: int,
        binding_cpu_s: float,
        subject_cpu_s: float,
        rule_cpu_s: float,
    ) -> None:
        self._policy = policy
        self._cluster = BindingIndex(policy.cluster_bindings.values())
        self._namespaces = {name: BindingIndex(bindings.values()) for name, bindings in policy.bindings.items()}
        self._owners = owners
        self._tenant_role = policy.cluster_roles.get(tenant_role)
        self._strangers = strangers
        self._namespaced_strangers = namespaced_strangers
        self._binding_cpu_s = binding_cpu_s
        self._subject_cpu_s = subject_cpu_s
        self._rule_cpu_s = rule_cpu_s

    def opinion(self, asked: Attributes) -> tuple[Opinion, float]:
        allowed, listed, walked, rules = self.walk(asked)
        cost_s = listed * self._binding_cpu_s + walked * self._subject_cpu_s + rules * self._rule_cpu_s
        return (Opinion.ALLOW if allowed else Opinion.NONE), cost_s

    def walk(self, asked: Attributes) -> tuple[bool, int, float, float]:
        """(allowed, bindings listed, bindings walked, rules looked at), the last two as means over the order of the bindings.

        The API server lists all of the cluster's bindings from its cache, in an order that is random anew each time (Go's maps),
        and walks the list until a rule allows; if none does, the same with those of the namespace.
        """
        listed = 0
        walked = looked = 0.0
        for index in (self._cluster, *([self._namespaces.get(asked.namespace, NONE)] if asked.namespace else [])):
            applying = [self._look(binding, asked) for binding in index.of(asked.user)]
            count = index.count
            if index is not self._cluster:
                count += self._namespaced_strangers
                if self._tenant_role is not None and asked.namespace in self._owners:
                    count += 1
                    if self._owners[asked.namespace] == asked.user.name:
                        applying.append(_first_allowing(self._tenant_role.rules, asked))
            else:
                count += self._strangers
            listed += count
            allowing = sum(allowed for allowed, _ in applying)
            # the first of k among n stands at (n + 1)/(k + 1) on average; each other binding is before it once in k + 1
            walked += (count + 1) / (allowing + 1) if allowing else count
            for allowed, rules in applying:
                looked += rules / allowing if allowed else rules / (allowing + 1)
            if allowing:
                return True, listed, walked, looked
        return False, listed, walked, looked

    def _look(self, binding: Binding, asked: Attributes) -> tuple[bool, int]:
        role = self._policy.role_of(binding)
        return (False, 0) if role is None else _first_allowing(role.rules, asked)


NONE = BindingIndex(())


def _first_allowing(rules: Iterable[Rule], asked: Attributes) -> tuple[bool, int]:
    """Whether a rule allows, and how many are looked at until then."""
    looked = 0
    for rule in rules:
        looked += 1
        if rule.allows(asked):
            return True, looked
    return False, looked


@AUTHORIZERS.register("rbac")
class RbacSpec(AuthorizerSpec):
    """`--authorization-mode=RBAC`: the version's own policy, one RoleBinding for each tenant in each of its namespaces, and manifests."""

    manifests: tuple[str, ...] = param(
        (), "files or folders with Roles, ClusterRoles and their bindings, which are added to the version's own policy"
    )
    tenant_role: str | None = param(
        "edit", "ClusterRole that each tenant holds in its namespaces; null: only what manifests give"
    )
    other_cluster_role_bindings: int = param(
        0,
        "cluster role bindings, beside the version's own and the manifests', that apply to nobody here",
        ge=0,
        le=10_000_000,
    )
    other_role_bindings: int = param(
        1, "role bindings of each namespace that apply to nobody here", ge=0, le=10_000_000
    )
    binding_cpu_s: float = param(
        6.0e-7, "per binding listed: 500 bindings add 0.26 to 0.43 ms to a GET", source=MEASURED, ge=0, le=0.01
    )
    subject_cpu_s: float = param(
        3.0e-8,
        "per binding walked: see whether it is for the user",
        source="our estimate",
        unverified=True,
        ge=0,
        le=0.01,
    )
    rule_cpu_s: float = param(
        1.0e-7, "per rule of a role that applies", source="our estimate", unverified=True, ge=0, le=0.01
    )

    def build(self, bench: Bench, name: str) -> Authorizer:
        policy = self.policy(bench.version, bench.base_dir)
        if bench.add_ons:
            policy = policy.aggregated()
            policy = Policy(policy.cluster_roles, policy.roles, dict(policy.cluster_bindings), policy.bindings)
            for role, binding in bench.add_ons:
                policy.add_role(role)
                policy.add_binding(binding)
        owners = dict(bench.owners) if self.tenant_role is not None else {}
        return Rbac(
            policy, owners, self.tenant_role or "", self.other_cluster_role_bindings, self.other_role_bindings,
            self.binding_cpu_s, self.subject_cpu_s, self.rule_cpu_s,
        )  # fmt: skip

    def policy(self, version: str, base_dir: str) -> Policy:
        """The version's own policy and the manifests'. `InputError` lists all that is wrong with them."""
        problems = Problems("RBAC")
        policy = self._read(version, base_dir, "manifests", problems)
        problems.raise_if_any()
        return policy

    def check_files(self, path: str, version: str, base_dir: str, problems: Problems) -> None:
        policy = self._read(version, base_dir, f"{path}.manifests", problems)
        if self.tenant_role is not None and self.tenant_role not in policy.cluster_roles:
            hint = near_miss(self.tenant_role, policy.cluster_roles)
            problems.add(f"{path}.tenant_role", self.tenant_role, "is no ClusterRole", hint)

    def _read(self, version: str, base_dir: str, path: str, problems: Problems) -> Policy:
        own = bootstrap_policy(version)
        if not self.manifests:
            return own
        policy = Policy(dict(own.cluster_roles), {}, dict(own.cluster_bindings), {})
        for number, name in enumerate(self.manifests):
            place = Path(base_dir) / name
            if not place.exists():
                hint = f"relative paths start at {Path(base_dir).resolve()}"
                problems.add(f"{path}[{number}]", name, "is neither a file nor a folder", hint)
                continue
            read_policy(place, policy, problems)
        missing_roles(policy, path, problems)
        return policy.aggregated()


def walk_twin(policy: Policy, asked: Attributes) -> tuple[bool, int, float, float]:
    """`Rbac.walk` the slow way: walk the bindings in every order and take the mean. For lists of a few bindings."""
    listed = 0
    walked = looked = 0.0
    for bindings, count in policy.bindings_in(asked.namespace):
        listed += count
        found = False
        ends = []
        for order in permutations(bindings):
            steps = rules = 0
            for binding in order:
                steps += 1
                role = policy.role_of(binding)
                if role is None or not binding.applies_to(asked.user):
                    continue
                allowed, seen = _first_allowing(role.rules, asked)
                rules += seen
                if allowed:
                    found = True
                    break
            ends.append((steps, rules))
        walked += sum(steps for steps, _ in ends) / len(ends)
        looked += sum(rules for _, rules in ends) / len(ends)
        if found:
            return True, listed, walked, looked
    return False, listed, walked, looked
