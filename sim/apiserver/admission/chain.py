"""The way of a new object through admission: what is known of it before the run, then webhooks, then quotas."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simpy.events import Event

from sim.apiserver.admission.catalog import Refusal, admit
from sim.apiserver.admission.objects import AdmissionObjects
from sim.apiserver.admission.reading import read_admission_objects
from sim.apiserver.admission.resource_quota import Charge, QuotaEvaluator, Quotas
from sim.apiserver.admission.spec import AdmissionSpec
from sim.apiserver.admission.webhooks import Webhooks, WebhookServer
from sim.apiserver.request import CREATE_POD, Operation
from sim.state.objects import PodSpec
from sim.workload import Load


@dataclass(frozen=True, slots=True, eq=False)
class NewPod:
    """What creating a pod of one template meets."""

    refusal: Refusal | None = None
    """It is always refused."""
    webhooks: tuple[WebhookServer, ...] = ()
    charge: Charge = ()


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


def admitted_load(load: Load, spec: AdmissionSpec, base_dir: str) -> tuple[Load, dict[int, Refusal]]:
    """A load whose pods are as they are stored, with the scenario's own objects beside those it brings; and the templates
    whose pods are refused. base_dir: where relative paths start."""
    objects = load.admission
    if spec.objects:
        objects = objects.with_over(read_admission_objects(spec.paths(base_dir)))
    templates, refused = admitted(load.templates, objects, spec.plugins)
    return replace(load, templates=templates, admission=objects), refused


class Admission:
    """Admission of one cluster: what all API servers know."""

    def __init__(self, quotas: Quotas, webhooks: Webhooks, refused: Mapping[int, Refusal] | None = None) -> None:
        self.quotas = quotas
        self.webhooks = webhooks
        self._refused = refused or {}

    def new_pods(self, templates: tuple[PodSpec, ...]) -> list[NewPod | None]:
        """What the pods of each template meet; None: nothing."""
        found: list[NewPod | None] = []
        for place, template in enumerate(templates):
            refusal = self._refused.get(place)
            if refusal is None and (missing := self.quotas.missing(template)):
                refusal = Refusal(missing)
            hooks = tuple(self.webhooks.asked_about(CREATE_POD, template.namespace, template.labels))
            new = NewPod(refusal, hooks, self.quotas.charge_of(template))
            found.append(new if refusal or hooks or new.charge else None)
        return found

    def of_server(self, evaluator: QuotaEvaluator) -> ServerAdmission:
        """Admission as one API server does it."""
        return ServerAdmission(self, evaluator)


class ServerAdmission:
    """Admission in one API server."""

    def __init__(self, admission: Admission, evaluator: QuotaEvaluator) -> None:
        self._admission = admission
        self.evaluator = evaluator
        self.hooked = bool(admission.webhooks.servers)
        """Whether requests other than for new pods may meet a webhook."""

    def admit_pod(self, new: NewPod) -> Generator[Event, Any, int]:
        """A new pod that meets something; ends with 0 or the code of the answer that refuses it."""
        if new.refusal is not None:
            return new.refusal.code
        if new.webhooks:
            code = yield from self._admission.webhooks.review(new.webhooks)
            if code:
                return code
        if new.charge:
            code = yield from self.evaluator.evaluate(new.charge)
            return code
        return 0

    def admit(self, operation: Operation, namespace: str) -> Generator[Event, Any, int]:
        """Any other changing request, where there are webhooks."""
        servers = self._admission.webhooks.asked_about(operation, namespace)
        if not servers:
            return 0
        return (yield from self._admission.webhooks.review(servers))

    def lose(self) -> None:
        """The server has died."""
        self.evaluator.lose()

    def not_stored(self, new: NewPod) -> None:
        """A pod that was admitted could not be stored."""
        self._admission.quotas.forgo(new.charge)
