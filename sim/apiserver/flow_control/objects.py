"""Flow schemas and priority levels: what API Priority and Fairness is configured with, and how manifests say it.

Read are FlowSchema and PriorityLevelConfiguration of flowcontrol.apiserver.k8s.io v1alpha1 to v1, under the rules of the
API server. Source: Kubernetes 1.34 source, apis/flowcontrol (types, defaults, validation).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sim.apiserver.flow_control.shuffle_sharding import HASH_BITS, dealable
from sim.apiserver.identity import Identity
from sim.base.documents import read_documents
from sim.base.errors import InputError, Problems, near_miss
from sim.state.api import Reader
from sim.state.names import dns_subdomain_fault

GROUP = "flowcontrol.apiserver.k8s.io"
SHARES_FIELD = {
    "v1alpha1": "assuredConcurrencyShares",
    "v1beta1": "assuredConcurrencyShares",
    "v1beta2": "assuredConcurrencyShares",
    "v1beta3": "nominalConcurrencyShares",
    "v1": "nominalConcurrencyShares",
}
"""What a level's shares are called, by version of the API."""
EXEMPT, CATCH_ALL = "exempt", "catch-all"
EVERYTHING = "*"
LAST_PRECEDENCE = 10_000
DEFAULT_SHARES = 30
_VERBS = ("get", "list", "create", "update", "patch", "delete", "deletecollection", "watch", "proxy")


@dataclass(frozen=True, slots=True)
class PriorityLevel:
    """A PriorityLevelConfiguration."""

    name: str
    shares: int = DEFAULT_SHARES
    exempt: bool = False
    queues: int = 0
    """0: who finds no seat is refused."""
    hand_size: int = 0
    queue_length: int = 0
    lendable_percent: int = 0
    borrowing_percent: int | None = None
    """None: it may borrow without limit."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a rule is about. kind: User, Group or ServiceAccount."""

    kind: str
    name: str
    namespace: str = ""

    def matches(self, user: Identity) -> bool:
        if self.kind == "User":
            return self.name in (EVERYTHING, user.name)
        if self.kind == "Group":
            return self.name == EVERYTHING or self.name in user.groups
        account = user.service_account
        return account is not None and account[0] == self.namespace and self.name in (EVERYTHING, account[1])


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about, in the words of the API."""

    verb: str
    group: str
    resource: str
    """With its subresource: `pods/status`."""
    namespace: str
    """Empty: the whole cluster."""


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """Which requests for resources a rule is about; `*` stands for all."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    cluster_scope: bool = False

    def matches(self, target: Target) -> bool:
        return self.concerns(target) and (
            _among(target.namespace, self.namespaces) if target.namespace else self.cluster_scope
        )

    def concerns(self, target: Target) -> bool:
        """Whether it matches, wherever the target were."""
        return (
            _among(target.verb, self.verbs)
            and _among(target.group, self.groups)
            and _among(target.resource, self.resources)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Any of these subjects with any of these requests. Requests for no resource (health checks) are not simulated, so a
    rule about them alone matches nothing."""

    subjects: tuple[Subject, ...]
    resource_rules: tuple[ResourceRule, ...]

    def matches(self, user: Identity, target: Target) -> bool:
        return any(subject.matches(user) for subject in self.subjects) and any(
            rule.matches(target) for rule in self.resource_rules
        )


@dataclass(frozen=True, slots=True)
class FlowSchema:
    """A FlowSchema: which requests go to which level, and what tells their flows apart."""

    name: str
    level: str
    precedence: int = 1000
    distinguisher: str = ""
    """ByUser, ByNamespace, or empty: all are one flow."""
    rules: tuple[Rule, ...] = ()

    def matches(self, user: Identity, target: Target) -> bool:
        return any(rule.matches(user, target) for rule in self.rules)

    def picks_namespaces(self, user: Identity, target: Target) -> bool:
        """Whether it matches such a request in some namespaces and not in others."""
        return any(
            bool(rule.namespaces) and EVERYTHING not in rule.namespaces and rule.concerns(target)
            for each in self.rules
            if any(subject.matches(user) for subject in each.subjects)
            for rule in each.resource_rules
        )


@dataclass(frozen=True, slots=True)
class FlowObjects:
    """All objects, the schemas in the order in which they are tried."""

    levels: tuple[PriorityLevel, ...] = ()
    schemas: tuple[FlowSchema, ...] = ()

    def with_over(self, over: FlowObjects) -> FlowObjects:
        """Those of `over` beside these, in place of those with the same name."""
        levels = {level.name: level for level in (*self.levels, *over.levels)}
        schemas = {schema.name: schema for schema in (*self.schemas, *over.schemas)}
        return FlowObjects(tuple(levels.values()), in_order(schemas.values()))

    def schema_of(self, user: Identity, target: Target) -> tuple[FlowSchema, bool]:
        """The first that matches, the last, which is the catch-all, where none does; and whether it would be the same in
        every other namespace."""
        everywhere = True
        for schema in self.schemas:
            everywhere = everywhere and not schema.picks_namespaces(user, target)
            if schema.matches(user, target):
                return schema, everywhere
        return self.schemas[-1], everywhere


def in_order(schemas: Iterable[FlowSchema]) -> tuple[FlowSchema, ...]:
    """By precedence; equal ones by name."""
    return tuple(sorted(schemas, key=lambda schema: (schema.precedence, schema.name)))


def _among(value: str, named: tuple[str, ...]) -> bool:
    return EVERYTHING in named or value in named


@cache
def bootstrap(version: str) -> FlowObjects:
    """The objects that every cluster of this version has: the mandatory and the suggested ones."""
    return read_flow_objects([Path(__file__).parent / "bootstrap" / f"kubernetes-{version}.yaml"])


def flow_objects_of(paths: Iterable[Path], version: str) -> FlowObjects:
    """What the files and folders hold, over the objects of a version. `InputError` lists all that is wrong."""
    paths = list(paths)
    return read_flow_objects(paths, bootstrap(version)) if paths else bootstrap(version)


def read_flow_objects(paths: Iterable[Path], beneath: FlowObjects | None = None) -> FlowObjects:
    """The FlowSchemas and PriorityLevelConfigurations of files and folders, over those `beneath`; other kinds are left out.

    Raises `InputError` with all problems: what the API server would refuse, names defined twice, and schemas that name a
    level which is nowhere.
    """
    beneath = beneath or FlowObjects()
    problems = Problems("flow control")
    places: dict[tuple[str, str], str] = {}
    levels: list[PriorityLevel] = []
    schemas: list[FlowSchema] = []
    for path in paths:
        for file in _files(path, problems):
            try:
                documents = read_documents(file)
            except InputError as error:
                problems.add(str(file), "", str(error))
                continue
            for place, document in _objects(str(file), documents):
                _read_object(place, document, places, levels, schemas, problems)
    found = beneath.with_over(FlowObjects(tuple(levels), tuple(schemas)))
    known = {level.name for level in found.levels}
    for schema in found.schemas:
        if schema.level not in known:
            place = places.get(("FlowSchema", schema.name), schema.name)
            problems.add(
                f"{place}.spec.priorityLevelConfiguration.name",
                schema.level,
                "is no priority level",
                near_miss(schema.level, known),
            )
    problems.raise_if_any()
    return found


def _files(path: Path, problems: Problems) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.suffix in (".yaml", ".yml", ".json"))
        if not found:
            problems.add(str(path), "", "has no .yaml, .yml or .json files")
        return found
    return [path]


def _objects(file: str, documents: list[Any]) -> Iterable[tuple[str, Any]]:
    """Each object and where it stands; the items of lists apart."""
    for number, document in enumerate(documents, 1):
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
            kind = document["kind"].removesuffix("List")
            for i, item in enumerate(document.get("items") or []):
                inherited = {"kind": kind, "apiVersion": document.get("apiVersion")} if kind else {}
                yield f"{file}#{number}.items[{i}]", {**inherited, **item} if isinstance(item, dict) else item
        else:
            yield f"{file}#{number}", document


def _read_object(
    place: str,
    document: Any,
    places: dict[tuple[str, str], str],
    levels: list[PriorityLevel],
    schemas: list[FlowSchema],
    problems: Problems,
) -> None:
    if not isinstance(document, dict) or document.get("kind") not in ("FlowSchema", "PriorityLevelConfiguration"):
        return
    kind = document["kind"]
    group, _, version = str(document.get("apiVersion") or "").rpartition("/")
    if group != GROUP or version not in SHARES_FIELD:
        problems.add(f"{place}.apiVersion", document.get("apiVersion"), f"is none of {kind}", f"write {GROUP}/v1")
        return
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or dns_subdomain_fault(name):
        problems.add(f"{place}.metadata.name", name, "must be the object's name")
        return
    if (kind, name) in places:
        problems.add(f"{place}.metadata.name", name, f"is defined twice: first in {places[kind, name]}")
        return
    places[kind, name] = place
    reader = Reader(problems)
    spec = reader.fields(document.get("spec"), f"{place}.spec")
    if kind == "FlowSchema":
        schemas.append(_flow_schema(reader, name, spec, f"{place}.spec"))
    else:
        levels.append(_priority_level(reader, name, spec, SHARES_FIELD[version], f"{place}.spec"))


def _flow_schema(reader: Reader, name: str, spec: Mapping[str, Any], path: str) -> FlowSchema:
    known = frozenset({"priorityLevelConfiguration", "matchingPrecedence", "distinguisherMethod", "rules"})
    spec = reader.fields(dict(spec), path, known)
    reference = reader.fields(spec.get("priorityLevelConfiguration"), f"{path}.priorityLevelConfiguration")
    level = reader.text(reference.get("name"), f"{path}.priorityLevelConfiguration.name")
    if not level:
        reader.fault(f"{path}.priorityLevelConfiguration.name", level, "must be given")
    precedence = reader.integer(spec.get("matchingPrecedence"), f"{path}.matchingPrecedence", 1000, 1, LAST_PRECEDENCE)
    if precedence == 1 and name != EXEMPT:
        reader.fault(f"{path}.matchingPrecedence", precedence, "is reserved for the schema 'exempt'")
    method = reader.fields(spec.get("distinguisherMethod"), f"{path}.distinguisherMethod", frozenset({"type"}))
    distinguisher = reader.choice(method.get("type"), f"{path}.distinguisherMethod.type", ("ByUser", "ByNamespace"), "")
    rules = tuple(
        _rule(reader, item, f"{path}.rules[{i}]")
        for i, item in enumerate(reader.items(spec.get("rules"), f"{path}.rules"))
    )
    return FlowSchema(name, level, precedence, distinguisher or "", rules)


def _rule(reader: Reader, value: Any, path: str) -> Rule:
    found = reader.fields(value, path, frozenset({"subjects", "resourceRules", "nonResourceRules"}))
    subjects = tuple(
        _subject(reader, item, f"{path}.subjects[{i}]")
        for i, item in enumerate(reader.items(found.get("subjects"), f"{path}.subjects"))
    )
    if not subjects:
        reader.fault(f"{path}.subjects", [], "must name at least one subject")
    resources = tuple(
        _resource_rule(reader, item, f"{path}.resourceRules[{i}]")
        for i, item in enumerate(reader.items(found.get("resourceRules"), f"{path}.resourceRules"))
    )
    others = reader.items(found.get("nonResourceRules"), f"{path}.nonResourceRules")
    for i, item in enumerate(others):
        here = f"{path}.nonResourceRules[{i}]"
        other = reader.fields(item, here, frozenset({"verbs", "nonResourceURLs"}))
        _words(reader, other.get("verbs"), f"{here}.verbs")
        for url in _words(reader, other.get("nonResourceURLs"), f"{here}.nonResourceURLs"):
            if url != EVERYTHING and not url.startswith("/"):
                reader.fault(f"{here}.nonResourceURLs", url, "must begin with '/', or be '*' alone")
    if not resources and not others:
        reader.fault(path, value, "must have resourceRules or nonResourceRules")
    return Rule(subjects, resources)


def _subject(reader: Reader, value: Any, path: str) -> Subject:
    found = reader.fields(value, path, frozenset({"kind", "user", "group", "serviceAccount"}))
    kind = reader.choice(found.get("kind"), f"{path}.kind", ("User", "Group", "ServiceAccount"), None)
    field = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}.get(kind or "")
    if field is None:
        if not kind:
            reader.fault(f"{path}.kind", kind, "must be one of User, Group, ServiceAccount")
        return Subject("User", "")
    inner = reader.fields(found.get(field), f"{path}.{field}")
    name = reader.text(inner.get("name"), f"{path}.{field}.name")
    namespace = reader.text(inner.get("namespace"), f"{path}.{field}.namespace") if kind == "ServiceAccount" else ""
    if not name:
        reader.fault(f"{path}.{field}.name", name, "must be given")
    if kind == "ServiceAccount" and not namespace:
        reader.fault(f"{path}.{field}.namespace", namespace, "must be given")
    return Subject(kind or "", name, namespace)


def _resource_rule(reader: Reader, value: Any, path: str) -> ResourceRule:
    found = reader.fields(value, path, frozenset({"verbs", "apiGroups", "resources", "namespaces", "clusterScope"}))
    verbs = _words(reader, found.get("verbs"), f"{path}.verbs")
    for verb in verbs:
        if verb != EVERYTHING and verb not in _VERBS:
            reader.problems.add(f"{path}.verbs", verb, "is no verb", near_miss(verb, _VERBS))
    cluster = reader.boolean(found.get("clusterScope"), f"{path}.clusterScope")
    namespaces = _words(reader, found.get("namespaces"), f"{path}.namespaces", needed=False)
    if not cluster and not namespaces:
        reader.fault(path, value, "must have clusterScope: true, or namespaces")
    return ResourceRule(
        verbs,
        _words(reader, found.get("apiGroups"), f"{path}.apiGroups"),
        _words(reader, found.get("resources"), f"{path}.resources"),
        namespaces,
        cluster,
    )


def _words(reader: Reader, value: Any, path: str, needed: bool = True) -> tuple[str, ...]:
    words = reader.strings(value, path)
    if needed and not words:
        reader.fault(path, list(words), "must not be empty")
    if EVERYTHING in words and len(words) > 1:
        reader.fault(path, list(words), "must have '*' alone")
    return words


def _priority_level(reader: Reader, name: str, spec: Mapping[str, Any], shares_field: str, path: str) -> PriorityLevel:
    spec = reader.fields(dict(spec), path, frozenset({"type", "limited", "exempt"}))
    kind = reader.choice(spec.get("type"), f"{path}.type", ("Exempt", "Limited"), None)
    if kind is None:
        reader.fault(f"{path}.type", kind, "must be one of Exempt, Limited")
    if (kind == "Exempt") != (name == EXEMPT):
        reader.fault(f"{path}.type", kind, "must be Exempt for the level 'exempt', and Limited for all others")
    if kind == "Exempt":
        if spec.get("limited") is not None:
            reader.fault(f"{path}.limited", spec["limited"], "must not be given with the type Exempt")
        exempt = reader.fields(
            spec.get("exempt"), f"{path}.exempt", frozenset({"nominalConcurrencyShares", "lendablePercent"})
        )
        shares = reader.integer(exempt.get("nominalConcurrencyShares"), f"{path}.exempt.nominalConcurrencyShares", 0, 0)
        lendable = reader.integer(exempt.get("lendablePercent"), f"{path}.exempt.lendablePercent", 0, 0, 100)
        return PriorityLevel(name, shares, exempt=True, lendable_percent=lendable)
    if spec.get("limited") is None:
        reader.fault(f"{path}.limited", None, "must be given with the type Limited")
    here = f"{path}.limited"
    known = frozenset({shares_field, "lendablePercent", "borrowingLimitPercent", "limitResponse"})
    limited = reader.fields(spec.get("limited"), here, known)
    least = 1 if shares_field.startswith("assured") else 0
    shares = reader.integer(limited.get(shares_field), f"{here}.{shares_field}", DEFAULT_SHARES, least)
    lendable = reader.integer(limited.get("lendablePercent"), f"{here}.lendablePercent", 0, 0, 100)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None:
        borrowing = reader.integer(borrowing, f"{here}.borrowingLimitPercent", 0, 0)
    queues, hand_size, queue_length = _limit_response(reader, limited.get("limitResponse"), f"{here}.limitResponse")
    return PriorityLevel(name, shares, False, queues, hand_size, queue_length, lendable, borrowing)


def _limit_response(reader: Reader, value: Any, path: str) -> tuple[int, int, int]:
    """(queues, hand size, queue length); all 0: refuse."""
    response = reader.fields(value, path, frozenset({"type", "queuing"}))
    kind = reader.choice(response.get("type"), f"{path}.type", ("Queue", "Reject"), None)
    if kind is None:
        reader.fault(f"{path}.type", kind, "must be one of Queue, Reject")
    if kind == "Reject":
        if response.get("queuing") is not None:
            reader.fault(f"{path}.queuing", response["queuing"], "must not be given with the type Reject")
        return 0, 0, 0
    here = f"{path}.queuing"
    if kind == "Queue" and response.get("queuing") is None:
        reader.fault(here, None, "must be given with the type Queue")
    queuing = reader.fields(response.get("queuing"), here, frozenset({"queues", "handSize", "queueLengthLimit"}))
    queues = reader.integer(queuing.get("queues"), f"{here}.queues", 64, 1, 10_000_000)
    hand_size = reader.integer(queuing.get("handSize"), f"{here}.handSize", 8, 1)
    queue_length = reader.integer(queuing.get("queueLengthLimit"), f"{here}.queueLengthLimit", 50, 1)
    if hand_size > queues:
        reader.fault(f"{here}.handSize", hand_size, f"must be at most the number of queues, {queues}")
    elif not dealable(queues, hand_size):
        reader.fault(f"{here}.handSize", hand_size, f"needs more than {HASH_BITS} bits to deal from {queues} queues")
    return queues, hand_size, queue_length
