"""ABAC: a file of policies, one JSON object a line, scanned in order until one allows.

Source: Kubernetes documentation "Using ABAC Authorization" and 1.20 source (abac authorizer).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.apiserver.authorization.attributes import READING, Attributes
from sim.apiserver.authorization.catalog import AUTHORIZERS, Authorizer, AuthorizerSpec, Bench, Opinion
from sim.apiserver.identity import CONTROLLER_MANAGER, NODES, SCHEDULER, SERVICE_ACCOUNTS, Identity
from sim.base.errors import Problems, near_miss
from sim.base.spec import param

API_VERSIONS = ("abac.authorization.kubernetes.io/v0", "abac.authorization.kubernetes.io/v1beta1")
FIELDS = {
    "user": str,
    "group": str,
    "namespace": str,
    "resource": str,
    "apiGroup": str,
    "nonResourcePath": str,
    "readonly": bool,
}
ALL = "*"


@dataclass(frozen=True, slots=True)
class Line:
    """One policy. Empty text matches nothing but the absent, `*` everything."""

    user: str = ""
    group: str = ""
    namespace: str = ""
    resource: str = ""
    api_group: str = ""
    path: str = ""
    readonly: bool = False

    def allows(self, asked: Attributes) -> bool:
        if not self._is_for(asked.user) or (self.readonly and asked.verb not in READING):
            return False
        if asked.path:
            return self.path in (ALL, asked.path) or (self.path.endswith(ALL) and asked.path.startswith(self.path[:-1]))
        return (
            self.namespace in (ALL, asked.namespace)
            and self.resource in (ALL, asked.resource)
            and self.api_group in (ALL, asked.group)
        )

    def _is_for(self, user: Identity) -> bool:
        """User and group must both fit where both are given; a line with neither is for nobody."""
        if self.user and self.user not in (ALL, user.name):
            return False
        if self.group and self.group != ALL and self.group not in user.groups:
            return False
        return bool(self.user or self.group)


COMPONENT_LINES = (
    *(
        Line(user=name, namespace=ALL, resource=ALL, api_group=ALL, path=ALL)
        for name in (SCHEDULER, CONTROLLER_MANAGER)
    ),
    Line(group=NODES, namespace=ALL, resource=ALL, api_group=ALL, path=ALL),
    Line(group=f"{SERVICE_ACCOUNTS}:kube-system", namespace=ALL, resource=ALL, api_group=ALL, path=ALL),
)


class Abac(Authorizer):
    """Scans the lines of components, then one line for each tenant's namespace, then `lines`.

    owners: namespace -> user whom its line is for, in the order of the lines; empty: there are no such lines.
    """

    def __init__(
        self, before: Sequence[Line], owners: Mapping[str, str], lines: Sequence[Line], line_cpu_s: float
    ) -> None:
        self._before = before
        self._owners = owners
        self._rank = {namespace: rank for rank, namespace in enumerate(owners)}
        self._lines = lines
        self._line_cpu_s = line_cpu_s

    def opinion(self, asked: Attributes) -> tuple[Opinion, float]:
        allowed, scanned = self.scan(asked)
        return (Opinion.ALLOW if allowed else Opinion.NONE), scanned * self._line_cpu_s

    def scan(self, asked: Attributes) -> tuple[bool, int]:
        """(allowed, lines scanned)."""
        for number, line in enumerate(self._before, start=1):
            if line.allows(asked):
                return True, number
        scanned = len(self._before)
        if not asked.path and self._owners.get(asked.namespace) == asked.user.name:
            return True, scanned + self._rank[asked.namespace] + 1
        scanned += len(self._owners)
        for number, line in enumerate(self._lines, start=1):
            if line.allows(asked):
                return True, scanned + number
        return False, scanned + len(self._lines)


def tenant_line(namespace: str, user: str) -> Line:
    """The line that gives a tenant one of its namespaces: what `Abac` counts without making it."""
    return Line(user=user, namespace=namespace, resource=ALL, api_group=ALL)


def read_lines(text: str, subject: str, problems: Problems) -> list[Line]:
    """The policies of a file; comments (#) and empty lines are passed over. Problems carry `subject` and the line's number."""
    lines = []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        line = _read_line(row, f"{subject}:{number}", problems)
        if line is not None:
            lines.append(line)
    return lines


def _read_line(row: str, place: str, problems: Problems) -> Line | None:
    try:
        thing = json.loads(row)
    except json.JSONDecodeError as error:
        problems.add(f"{place}:{error.colno}", row.strip(), f"is not JSON: {error.msg}", "one object a line")
        return None
    if not isinstance(thing, dict):
        problems.add(place, thing, "must be an object", '{"apiVersion": …, "kind": "Policy", "spec": {…}}')
        return None
    version = thing.get("apiVersion")
    if version is None and thing.get("kind") is None:
        return _unversioned(thing, place, problems)
    before = len(problems.found)
    if version not in API_VERSIONS:
        problems.add(
            f"{place}.apiVersion", version, "is no version of ABAC policies", near_miss(str(version), API_VERSIONS)
        )
    if thing.get("kind") != "Policy":
        problems.add(f"{place}.kind", thing.get("kind"), "must be Policy")
    if len(problems.found) > before:
        return None
    if version == API_VERSIONS[0]:
        return _unversioned(
            {key: item for key, item in thing.items() if key not in ("apiVersion", "kind")}, place, problems
        )
    spec = thing.get("spec")
    if not isinstance(spec, dict):
        problems.add(f"{place}.spec", spec, "must be an object")
        return None
    if not _fields_fit(spec, FIELDS, f"{place}.spec", problems):
        return None
    return Line(
        spec.get("user", ""), spec.get("group", ""), spec.get("namespace", ""), spec.get("resource", ""),
        spec.get("apiGroup", ""), spec.get("nonResourcePath", ""), spec.get("readonly", False),
    )  # fmt: skip


def _unversioned(thing: dict[str, Any], place: str, problems: Problems) -> Line | None:
    """The old form, in which what is not said means everything, and nobody named means every authenticated user."""
    known = {name: FIELDS[name] for name in ("user", "group", "readonly", "resource", "namespace")}
    if not _fields_fit(thing, known, place, problems):
        return None
    user, group = thing.get("user", ""), thing.get("group", "")
    resource, namespace = thing.get("resource", ""), thing.get("namespace", "")
    if not user and not group:
        group = "system:authenticated"
    path = ALL if not resource and not namespace else ""
    return Line(user, group, namespace or ALL, resource or ALL, ALL, path, thing.get("readonly", False))


def _fields_fit(thing: dict[str, Any], known: Mapping[str, type], place: str, problems: Problems) -> bool:
    before = len(problems.found)
    for name, value in thing.items():
        if name not in known:
            problems.add(f"{place}.{name}", value, "is not a field of a policy", near_miss(name, known))
        elif not isinstance(value, known[name]):
            problems.add(f"{place}.{name}", value, "must be true or false" if known[name] is bool else "must be text")
    return len(problems.found) == before


@AUTHORIZERS.register("abac")
class AbacSpec(AuthorizerSpec):
    """`--authorization-mode=ABAC --authorization-policy-file`."""

    policy_file: str | None = param(None, "policies, one JSON object a line, scanned after the generated ones")
    component_lines: bool = param(True, "first lines that allow everything to each component")
    tenant_lines: bool = param(True, "then one line for each tenant's namespace that allows it everything there")
    line_cpu_s: float = param(2.0e-7, "per line scanned", source="our estimate", unverified=True, ge=0, le=0.01)

    def build(self, bench: Bench, name: str) -> Authorizer:
        problems = Problems("ABAC")
        lines = self._read(bench.base_dir, "policy_file", problems)
        problems.raise_if_any()
        return Abac(
            COMPONENT_LINES if self.component_lines else (),
            bench.owners if self.tenant_lines else {},
            lines,
            self.line_cpu_s,
        )

    def check(self, path: str, problems: Problems) -> None:
        if self.policy_file is None and not self.component_lines and not self.tenant_lines:
            problems.add(f"{path}.policy_file", None, "must be given: no line allows anything")

    def check_files(self, path: str, version: str, base_dir: str, problems: Problems) -> None:
        self._read(base_dir, f"{path}.policy_file", problems)

    def _read(self, base_dir: str, path: str, problems: Problems) -> list[Line]:
        if self.policy_file is None:
            return []
        file = Path(base_dir) / self.policy_file
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            hint = f"relative paths start at {Path(base_dir).resolve()}"
            problems.add(path, self.policy_file, "is not a file that can be read", hint)
            return []
        return read_lines(text, str(file), problems)
