"""The way of a new object through admission: what is known of it before the run, then webhooks, then quotas."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simpy.events import Event

from sim.apiserver.admission.catalog import Refusal, admit
from sim.apiserver.admission.objects import AdmissionObjects
from sim.apiserver.admission.patches import patched
from sim.apiserver.admission.reading import read_admission_objects
from sim.apiserver.admission.resource_quota import Charge, QuotaEvaluator, Quotas
from sim.apiserver.admission.spec import AdmissionSpec
from sim.apiserver.admission.webhooks import Webhooks, WebhookServer, in_order, matches
from sim.apiserver.request import CREATE_POD, Operation
from sim.base.errors import Problems, near_miss
from sim.engine.meter import Meter
from sim.state.objects import Pairs, PodSpec
from sim.workload import Load

FORBIDDEN = 403


@dataclass(slots=True, eq=False)
class NewPod:
    """What creating a pod of one template meets."""

    refusal: Refusal | None = None
    """It is always refused."""
    webhooks: tuple[WebhookServer, ...] = ()
    charge: Charge = ()
    variants: Mapping[frozenset[str], int] = field(default_factory=dict)
    """Templates that its pods have where webhooks were passed over, by their names."""
    stored_as: int = -1
    """Of one pod: the template that it was stored with, if it is another."""

    def of_one(self) -> NewPod:
        """For one request; a copy where the pod's template is decided while it is served."""
        return replace(self) if self.variants else self


@dataclass(frozen=True)
class Admitted:
    """What admission makes of a load's templates before the run."""

    refused: Mapping[int, Refusal] = field(default_factory=dict)
    labels: Sequence[Pairs] = ()
    """Of each template as it is posted."""
    variants: Mapping[int, Mapping[frozenset[str], int]] = field(default_factory=dict)
    own: AdmissionObjects = field(default_factory=AdmissionObjects)
    """The scenario's objects, those of the load aside."""

    def check_namespaces(self, known: Collection[str]) -> None:
        """Raise `InputError` where the scenario's objects are about namespaces that nobody has."""
        problems = Problems("scenario")
        names = {*known, *(each.name for each in self.own.namespaces)}
        for kind, objects in (("ResourceQuota", self.own.quotas), ("LimitRange", self.own.limit_ranges)):
            for each in objects:
                if each.namespace not in names:
                    named = f"{kind} {each.namespace}/{each.name}"
                    hint = near_miss(each.namespace, names)
                    problems.add("apiserver.admission.objects", named, "is about a namespace that nobody has", hint)
        problems.raise_if_any()


def admitted(
    templates: tuple[PodSpec, ...], objects: AdmissionObjects, plugins: tuple[str, ...]
) -> tuple[tuple[PodSpec, ...], dict[int, Refusal]]:
    """The templates as their pods are stored; and those whose pods are refused, by their place."""
    stored: list[PodSpec] = []
    refused: dict[int, Refusal] = {}
    for place, template in enumerate(templates):
        answer = admit(template, objects, plugins)
        if isinstance(answer, Refusal):
            refused[place] = answer
            answer = template
        stored.append(answer)
    return tuple(stored), refused


def admitted_load(load: Load, spec: AdmissionSpec, base_dir: str) -> tuple[Load, Admitted]:
    """A load whose pods are as they are stored, with the scenario's own objects beside those it brings. Templates that pods
    have only where a webhook was passed over come after the others. base_dir: where relative paths start."""
    objects = load.admission
    own = read_admission_objects(spec.paths(base_dir)) if spec.objects else AdmissionObjects()
    objects = objects.with_over(own)
    posted, refused = admitted(load.templates, objects, spec.plugins)
    patches = {name: server.patch for name, server in spec.webhooks.items() if server.patch.changes}
    templates, variants = list(posted), {}
    hooks = in_order(objects.webhooks) if patches else []
    for place, template in enumerate(posted):
        asked = [hook for hook in hooks if matches(hook, CREATE_POD, template.namespace, template.labels, objects)]
        made = patched(template, asked, patches)
        templates[place] = made.pod
        if made.without:
            variants[place] = {missed: len(templates) + row for row, missed in enumerate(made.without)}
            templates += made.without.values()
    labels = [template.labels for template in posted]
    return replace(load, templates=tuple(templates), admission=objects), Admitted(refused, labels, variants, own)


class Admission:
    """Admission of one cluster: what all API servers know."""

    def __init__(self, quotas: Quotas, webhooks: Webhooks, admitted: Admitted) -> None:
        self.quotas = quotas
        self.webhooks = webhooks
        self._admitted = admitted
        self._servers: list[ServerAdmission] = []
        self.terminating: set[str] = set()
        """Namespaces that are being deleted, or have been."""

    def namespace_ends(self, namespace: str, templates: Sequence[PodSpec]) -> None:
        """NamespaceLifecycle: a namespace's deletion is stored, nothing new is admitted to it. templates: the load's."""
        self.terminating.add(namespace)
        refusal = NewPod(Refusal(f"namespace {namespace} is being terminated"))
        for place, template in enumerate(templates):
            if template.namespace == namespace:
                self._of_template[place] = refusal
        for server in self._servers:
            server.hooked = True

    def new_pods(self, templates: tuple[PodSpec, ...]) -> list[NewPod | None]:
        """What the pods of each template meet; None: nothing."""
        found: list[NewPod | None] = []
        posted = self._admitted.labels
        for place, template in enumerate(templates):
            refusal = self._admitted.refused.get(place)
            if refusal is None and (missing := self.quotas.missing(template)):
                refusal = Refusal(missing)
            labels = posted[place] if place < len(posted) else template.labels
            hooks = tuple(self.webhooks.asked_about(CREATE_POD, template.namespace, labels))
            variants = self._admitted.variants.get(place, {})
            new = NewPod(refusal, hooks, self.quotas.charge_of(template), variants)
            found.append(new if refusal or hooks or new.charge else None)
        self._of_template = found
        return found

    def charge_of(self, template: int) -> Charge:
        """What a pod of a template counts."""
        new = self._of_template[template]
        return new.charge if new is not None else ()

    def begin_with(self, template: int, count: int) -> str:
        """Before the run: charge `count` pods of a template. Returns the first limit that they exceed, "" if there is none."""
        for quota, amounts in self.charge_of(template):
            all_pods = {name: amount * count for name, amount in amounts.items()}
            if over := quota.refusal(all_pods, quota.used):
                return f"{quota.namespace}/{quota.name}: {over}"
            quota.add(all_pods)
        return ""

    def meters(self, servers: Sequence[Any]) -> list[Meter]:
        """Of the webhooks' servers, and of the API servers' evaluation of quotas where there are quotas."""
        evaluators = [server.admission.evaluator for server in servers] if self.quotas.of else []
        return [*self.webhooks.meters, *(evaluator.meter for evaluator in evaluators)]

    def of_server(self, evaluator: QuotaEvaluator) -> ServerAdmission:
        """Admission as one API server does it."""
        server = ServerAdmission(self, evaluator)
        self._servers.append(server)
        return server


class ServerAdmission:
    """Admission in one API server."""

    def __init__(self, admission: Admission, evaluator: QuotaEvaluator) -> None:
        self._admission = admission
        self.evaluator = evaluator
        self.hooked = bool(admission.webhooks.servers)
        """Whether requests other than for new pods may meet a webhook, or a namespace that is being deleted."""

    def admit_pod(self, new: NewPod) -> Generator[Event, Any, int]:
        """A new pod that meets something; ends with 0 or the code of the answer that refuses it."""
        if new.refusal is not None:
            return new.refusal.code
        charge = new.charge
        if new.webhooks:
            missed: set[str] = set()
            code = yield from self._admission.webhooks.review(new.webhooks, missed)
            if code:
                return code
            if new.variants:
                new.stored_as = new.variants.get(frozenset(missed), -1)
                if new.stored_as >= 0:
                    charge = self._admission.charge_of(new.stored_as)
        if charge:
            code = yield from self.evaluator.evaluate(charge)
            return code
        return 0

    def admit(self, operation: Operation, namespace: str) -> Generator[Event, Any, int]:
        """Any other changing request, where there are webhooks."""
        if operation.verb == "POST" and namespace in self._admission.terminating:
            return FORBIDDEN
        servers = self._admission.webhooks.asked_about(operation, namespace)
        if not servers:
            return 0
        return (yield from self._admission.webhooks.review(servers, set()))

    def lose(self) -> None:
        """The server has died."""
        self.evaluator.lose()

    def not_stored(self, new: NewPod) -> None:
        """A pod that was admitted could not be stored."""
        stored_as = new.stored_as
        self._admission.quotas.forgo(new.charge if stored_as < 0 else self._admission.charge_of(stored_as))
