"""Reads the objects that admission goes by, as Kubernetes writes them.

LimitRange, ResourceQuota and Namespace of v1, MutatingWebhookConfiguration and ValidatingWebhookConfiguration of
admissionregistration.k8s.io v1beta1 and v1. Rules and defaults are those of the API server (Kubernetes 1.34 source, core and
admissionregistration validation).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sim.apiserver.admission.objects import (
    AdmissionObjects,
    LimitRange,
    LimitRangeItem,
    NamespaceObject,
    ResourceQuotaObject,
    Webhook,
    WebhookRule,
)
from sim.apiserver.admission.plugins.pod_toleration_restriction import DEFAULTS, WHITELIST
from sim.apiserver.admission.resource_quota import COUNTED, SCOPES
from sim.base.documents import read_documents
from sim.base.errors import InputError, Problems, near_miss
from sim.base.units import parse_amount, parse_quantity
from sim.state.api import Reader
from sim.state.names import dns_subdomain_fault
from sim.state.objects import LabelSelector, pairs, quantities

WEBHOOK_GROUP = "admissionregistration.k8s.io"
WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_WEBHOOK = frozenset(
    {
        "admissionReviewVersions",
        "clientConfig",
        "failurePolicy",
        "matchConditions",
        "matchPolicy",
        "name",
        "namespaceSelector",
        "objectSelector",
        "reinvocationPolicy",
        "rules",
        "sideEffects",
        "timeoutSeconds",
    }
)
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")


def read_admission_objects(paths: Iterable[Path]) -> AdmissionObjects:
    """What files and folders hold of these kinds; other kinds are left out. `InputError` lists all that is wrong."""
    problems = Problems("admission")
    found: dict[str, list[Any]] = {kind: [] for kind in READERS}
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix in (".yaml", ".yml", ".json"))
        for file in files:
            try:
                documents = read_documents(file)
            except InputError as error:
                problems.add(str(file), "", str(error))
                continue
            for number, document in enumerate(documents, 1):
                items = document.get("items") if isinstance(document, dict) and "items" in document else [document]
                for item in items or []:
                    kind = item.get("kind") if isinstance(item, dict) else None
                    if kind in READERS:
                        found[kind].append(READERS[kind](item, f"{file}#{number}", problems))
    problems.raise_if_any()
    return collected(found)


def collected(found: dict[str, list[Any]]) -> AdmissionObjects:
    """Objects by kind, put together."""
    return AdmissionObjects(
        tuple(found.get("LimitRange", ())),
        tuple(found.get("ResourceQuota", ())),
        tuple(found.get("Namespace", ())),
        tuple(hook for kind in WEBHOOK_KINDS for hooks in found.get(kind, ()) for hook in hooks),
    )


def limit_range(content: Any, path: str, problems: Problems) -> LimitRange:
    """A LimitRange."""
    reader, spec, namespace, name = _parts(content, path, problems)
    items = tuple(
        _limit(reader, item, f"{path}.spec.limits[{i}]")
        for i, item in enumerate(reader.items(spec.get("limits"), f"{path}.spec.limits"))
    )
    if not items:
        reader.fault(f"{path}.spec.limits", spec.get("limits"), "must limit something")
    return LimitRange(namespace, name, items)


def _limit(reader: Reader, value: Any, path: str) -> LimitRangeItem:
    known = frozenset({"type", "default", "defaultRequest", "min", "max", "maxLimitRequestRatio"})
    found = reader.fields(value, path, known)
    kind = reader.text(found.get("type"), f"{path}.type")
    if kind not in ("Container", "Pod", "PersistentVolumeClaim"):
        reader.fault(f"{path}.type", kind, "must be one of Container, Pod, PersistentVolumeClaim")
    amounts = {
        key: reader.resource_amounts(found.get(key), f"{path}.{key}")
        for key in ("default", "defaultRequest", "min", "max")
    }
    if kind == "Pod" and (amounts["default"] or amounts["defaultRequest"]):
        reader.fault(path, kind, "may have defaults for Containers only")
    for name, least in amounts["min"].items():
        if amounts["max"].get(name, least) < least:
            reader.fault(f"{path}.min[{name}]", least, "must be at most max")
    defaults, requests = dict(amounts["default"]), dict(amounts["defaultRequest"])
    if kind == "Container":  # as the server fills them in: limits from max, requests from the limits, then from min
        defaults = {**amounts["max"], **defaults}
        requests = {**amounts["min"], **defaults, **requests}
    for name, request in requests.items():
        if name in defaults and request > defaults[name]:
            reader.fault(f"{path}.defaultRequest[{name}]", request, "must be at most default")
    ratios = {}
    for name, written in reader.fields(found.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio").items():
        try:
            ratios[str(name)] = float(parse_quantity(written))
        except ValueError as error:
            reader.problems.add(f"{path}.maxLimitRequestRatio[{name}]", written, str(error))
            continue
        if ratios[str(name)] < 1:
            reader.fault(f"{path}.maxLimitRequestRatio[{name}]", written, "must be at least 1")
    return LimitRangeItem(
        kind,
        quantities(defaults),
        quantities(requests),
        quantities(amounts["min"]),
        quantities(amounts["max"]),
        tuple(sorted(ratios.items())),
    )


def resource_quota(content: Any, path: str, problems: Problems) -> ResourceQuotaObject:
    """A ResourceQuota. Limits on what is not simulated are refused."""
    reader, spec, namespace, name = _parts(content, path, problems)
    hard: dict[str, int] = {}
    for resource, written in reader.fields(spec.get("hard"), f"{path}.spec.hard").items():
        where = f"{path}.spec.hard[{resource}]"
        if not is_counted(str(resource)):
            reader.problems.add(
                where, written, "is nothing that a quota limits here", near_miss(str(resource), COUNTED)
            )
            continue
        try:
            hard[str(resource)] = parse_amount(str(resource).removeprefix("requests.").removeprefix("limits."), written)
        except ValueError as error:
            problems.add(where, written, str(error))
            continue
        if hard[str(resource)] < 0:
            reader.fault(where, written, "must not be negative")
    scopes = reader.strings(spec.get("scopes"), f"{path}.spec.scopes")
    for i, scope in enumerate(scopes):
        reader.choice(scope, f"{path}.spec.scopes[{i}]", SCOPES, None)
    if {"BestEffort", "NotBestEffort"} <= set(scopes) or {"Terminating", "NotTerminating"} <= set(scopes):
        reader.fault(f"{path}.spec.scopes", list(scopes), "must not exclude each other")
    if "BestEffort" in scopes and any(resource not in ("pods", "count/pods") for resource in hard):
        reader.fault(f"{path}.spec.scopes", list(scopes), "may limit only pods with the scope BestEffort")
    if spec.get("scopeSelector") is not None:
        reader.fault(f"{path}.spec.scopeSelector", spec["scopeSelector"], "is not supported; use scopes")
    return ResourceQuotaObject(namespace, name, quantities(hard), scopes)


def is_counted(resource: str) -> bool:
    """Whether a quota's limit on this is simulated."""
    return resource in COUNTED or resource.startswith(("requests.", "limits."))


def namespace(content: Any, path: str, problems: Problems) -> NamespaceObject:
    """A Namespace."""
    reader = Reader(problems)
    metadata = reader.fields(content.get("metadata"), f"{path}.metadata")
    name = reader.name(metadata, f"{path}.metadata")
    labels = {
        **dict(reader.labels(metadata.get("labels"), f"{path}.metadata.labels")),
        "kubernetes.io/metadata.name": name,
    }
    annotations = reader.fields(metadata.get("annotations"), f"{path}.metadata.annotations")
    for key in (DEFAULTS, WHITELIST):
        if key in annotations:
            _check_tolerations(reader, annotations[key], f"{path}.metadata.annotations[{key}]")
    status = reader.fields(content.get("status"), f"{path}.status")
    return NamespaceObject(
        name,
        pairs(labels),
        pairs({str(key): str(value) for key, value in annotations.items()}),
        metadata.get("deletionTimestamp") is not None or status.get("phase") == "Terminating",
    )


def _check_tolerations(reader: Reader, text: Any, path: str) -> None:
    try:
        listed = json.loads(text)
    except (TypeError, json.JSONDecodeError) as error:
        reader.problems.add(path, text, f"must be a JSON list of tolerations: {error}")
        return
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        reader.problems.add(path, text, "must be a JSON list of tolerations")


def webhooks(content: Any, path: str, problems: Problems) -> tuple[Webhook, ...]:
    """The webhooks of a configuration, in its order."""
    reader = Reader(problems)
    group, _, version = str(content.get("apiVersion") or "").rpartition("/")
    if group != WEBHOOK_GROUP or version not in ("v1", "v1beta1"):
        reader.problems.add(f"{path}.apiVersion", content.get("apiVersion"), f"must be {WEBHOOK_GROUP}/v1")
        return ()
    metadata = reader.fields(content.get("metadata"), f"{path}.metadata")
    name = reader.name(metadata, f"{path}.metadata")
    found: list[Webhook] = []
    for i, item in enumerate(reader.items(content.get("webhooks"), f"{path}.webhooks")):
        hook = _webhook(reader, item, f"{path}.webhooks[{i}]", version, content["kind"], name)
        if any(other.name == hook.name for other in found):
            reader.fault(f"{path}.webhooks[{i}].name", hook.name, "stands twice in one configuration")
        found.append(hook)
    return tuple(found)


def _webhook(reader: Reader, value: Any, path: str, version: str, kind: str, configuration: str) -> Webhook:
    found = reader.fields(value, path, _WEBHOOK)
    name = reader.text(found.get("name"), f"{path}.name")
    if dns_subdomain_fault(name) or name.count(".") < 2:
        reader.fault(f"{path}.name", name, "must be a DNS name of at least three parts, such as hook.example.com")
    if found.get("matchConditions"):
        reader.fault(f"{path}.matchConditions", found["matchConditions"], "are not simulated")
    new = version == "v1"
    policy = reader.choice(
        found.get("failurePolicy"), f"{path}.failurePolicy", ("Fail", "Ignore"), "Fail" if new else "Ignore"
    )
    again = reader.choice(found.get("reinvocationPolicy"), f"{path}.reinvocationPolicy", ("Never", "IfNeeded"), "Never")
    timeout_s = reader.integer(found.get("timeoutSeconds"), f"{path}.timeoutSeconds", 10 if new else 30, 1, 30)
    rules = tuple(
        _rule(reader, item, f"{path}.rules[{i}]")
        for i, item in enumerate(reader.items(found.get("rules"), f"{path}.rules"))
    )
    return Webhook(
        name,
        kind == "MutatingWebhookConfiguration",
        rules,
        policy == "Fail",
        float(timeout_s),
        _selector(reader, found.get("namespaceSelector"), f"{path}.namespaceSelector"),
        _selector(reader, found.get("objectSelector"), f"{path}.objectSelector"),
        again == "IfNeeded",
        configuration,
    )


def _selector(reader: Reader, value: Any, path: str) -> LabelSelector | None:
    return reader.label_selector(value, path) if value else None


def _rule(reader: Reader, value: Any, path: str) -> WebhookRule:
    found = reader.fields(value, path, frozenset({"apiGroups", "apiVersions", "operations", "resources", "scope"}))
    for key in ("apiGroups", "apiVersions", "operations", "resources"):
        if not reader.strings(found.get(key), f"{path}.{key}"):
            reader.fault(f"{path}.{key}", found.get(key), "must not be empty")
    operations = reader.strings(found.get("operations"), f"{path}.operations")
    for i, operation in enumerate(operations):
        reader.choice(operation, f"{path}.operations[{i}]", _OPERATIONS, None)
    scope = reader.choice(found.get("scope"), f"{path}.scope", ("Cluster", "Namespaced", "*"), "*")
    return WebhookRule(
        operations,
        reader.strings(found.get("apiGroups"), f"{path}.apiGroups"),
        reader.strings(found.get("resources"), f"{path}.resources"),
        scope or "*",
    )


def _parts(content: Any, path: str, problems: Problems) -> tuple[Reader, dict[str, Any], str, str]:
    """(reader, spec, namespace, name) of a namespaced object."""
    reader = Reader(problems)
    metadata = reader.fields(content.get("metadata"), f"{path}.metadata")
    spec = reader.fields(content.get("spec"), f"{path}.spec")
    return reader, spec, reader.namespace(metadata, f"{path}.metadata"), reader.name(metadata, f"{path}.metadata")


READERS: dict[str, Callable[[Any, str, Problems], Any]] = {
    "LimitRange": limit_range,
    "ResourceQuota": resource_quota,
    "Namespace": namespace,
    **dict.fromkeys(WEBHOOK_KINDS, webhooks),
}
"""By kind."""
