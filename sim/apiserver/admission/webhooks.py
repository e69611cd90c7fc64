"""Admission webhooks: servers of others that the API server asks before it stores an object.

Mutating ones are asked one after another, those that wish so again when a later one has changed the object; validating
ones all at once. Who does not answer in time, or not at all, is passed over or refuses the request, as its failurePolicy
says.

Source: Kubernetes 1.20 source, apiserver admission/plugin/webhook (generic, mutating, validating, rules).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.admission.objects import AdmissionObjects, Webhook, WebhookRule
from sim.apiserver.admission.patches import PatchSpec
from sim.apiserver.flow_control.targets import GROUPS
from sim.apiserver.remote import Remote, RemoteSpec
from sim.apiserver.request import Operation
from sim.base.errors import Problems, near_miss
from sim.base.rand import Streams
from sim.base.spec import param
from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.state.objects import LabelSelector, Pairs
from sim.state.selectors import selector_of

REFUSED, SERVER_ERROR = 403, 500
OPERATIONS = {"POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


class WebhookSpec(RemoteSpec):
    """The server behind a webhook, and what it decides."""

    denied_share: float = param(0.0, "share of the requests that it refuses, evenly spread", ge=0, le=1)
    changes_objects: bool = param(True, "a mutating webhook changes what it sees, so that others are asked again")
    patch: PatchSpec = PatchSpec()


def in_order(hooks: Iterable[Webhook]) -> list[Webhook]:
    """As they are asked: by their configurations' names."""
    return sorted(hooks, key=lambda hook: hook.configuration)


def matches(hook: Webhook, operation: Operation, namespace: str, labels: Pairs, objects: AdmissionObjects) -> bool:
    """Whether a webhook is asked about such a request. labels: of the object."""
    if not any(_rule_matches(rule, operation, namespace) for rule in hook.rules):
        return False
    of_namespace = objects.namespace(namespace).labels if namespace else ()
    if namespace and hook.namespace_selector is not None and not _selects(hook.namespace_selector, of_namespace):
        return False
    return hook.object_selector is None or _selects(hook.object_selector, labels)


def _rule_matches(rule: WebhookRule, operation: Operation, namespace: str) -> bool:
    resource, _, subresource = operation.resource.partition("/")
    asked = (
        "CONNECT" if subresource in ("exec", "attach", "proxy", "portforward") else OPERATIONS.get(operation.verb, "")
    )
    if subresource == "binding":
        asked = "CREATE"
    return (
        asked != ""
        and ("*" in rule.operations or asked in rule.operations)
        and ("*" in rule.groups or GROUPS.get(resource, "") in rule.groups)
        and any(_resource_matches(pattern, resource, subresource) for pattern in rule.resources)
        and rule.scope in ("*", "Namespaced" if namespace else "Cluster")
    )


def _resource_matches(pattern: str, resource: str, subresource: str) -> bool:
    """`pods`, `pods/status`, `pods/*`, `*` (no subresource), `*/status`, `*/*`."""
    wanted, slash, inner = pattern.partition("/")
    if wanted not in ("*", resource):
        return False
    return inner in ("*", subresource) if slash else not subresource


def _selects(selector: LabelSelector, labels: Pairs) -> bool:
    return selector_of(selector).matches(dict(labels))


class WebhookServer:
    """A webhook and the server behind it."""

    def __init__(self, clock: Clock, hook: Webhook, spec: WebhookSpec, streams: Streams) -> None:
        self.hook = hook
        self.spec = spec
        timed = spec.model_copy(update={"timeout_s": hook.timeout_s})
        self.remote = Remote(clock, timed, f"webhook {hook.name}", streams)
        self.passed_over = self.denied = 0
        self._due = 0.0

    def ask(self, missed: set[str]) -> Generator[Event, Any, int]:
        """Ends with 0 or the code of the answer that refuses the request. missed: gets its name when it is passed over."""
        answered = yield from self.remote.ask()
        if not answered:
            if self.hook.fails_closed:
                return SERVER_ERROR
            self.passed_over += 1
            missed.add(self.hook.name)
            return 0
        self._due += self.spec.denied_share
        if self._due >= 1:
            self._due -= 1
            self.denied += 1
            return REFUSED
        return 0


class Webhooks:
    """All webhooks of the cluster; every API server asks the same."""

    def __init__(
        self, clock: Clock, objects: AdmissionObjects, specs: Mapping[str, WebhookSpec], streams: Streams
    ) -> None:
        self._clock = clock
        self._objects = objects
        hooks = in_order(objects.webhooks)
        problems = Problems("scenario")
        names = {hook.name for hook in hooks}
        for name in specs:
            if name not in names:
                problems.add("apiserver.admission.webhooks", name, "is no webhook", near_miss(name, names))
        for hook in hooks:
            if not hook.mutating and hook.name in specs and specs[hook.name].patch.changes:
                path = f"apiserver.admission.webhooks.'{hook.name}'.patch"
                problems.add(path, specs[hook.name].patch.model_dump(), "belongs to a webhook that only validates")
        problems.raise_if_any()
        self.servers = {
            hook.name: WebhookServer(clock, hook, specs.get(hook.name) or DEFAULT_SERVER, streams) for hook in hooks
        }
        self._asked: dict[tuple[Operation, str, Pairs], list[WebhookServer]] = {}

    @property
    def meters(self) -> list[Meter]:
        return [server.remote.meter for server in self.servers.values()]

    def asked_about(self, operation: Operation, namespace: str, labels: Pairs = ()) -> list[WebhookServer]:
        """Those that are asked about such a request, mutating ones first."""
        key = (operation, namespace, labels)
        found = self._asked.get(key)
        if found is None:
            found = [
                server
                for server in self.servers.values()
                if matches(server.hook, operation, namespace, labels, self._objects)
            ]
            found.sort(key=lambda server: not server.hook.mutating)
            self._asked[key] = found
        return found

    def review(self, servers: Sequence[WebhookServer], missed: set[str]) -> Generator[Event, Any, int]:
        """Ask them; ends with 0 or the code of the answer that refuses the request. missed: gets the names of those passed over."""
        mutating = [server for server in servers if server.hook.mutating]
        changed_at = -1
        for place, server in enumerate(mutating):
            code = yield from server.ask(missed)
            if code:
                return code
            if server.spec.changes_objects:
                changed_at = place
        for place, server in enumerate(mutating):
            if server.hook.reinvoked and place < changed_at:
                code = yield from server.ask(missed)
                if code:
                    return code
        validating = [self._clock.start(server.ask(missed)) for server in servers if not server.hook.mutating]
        waiting = [answer for answer in validating if answer.callbacks is not None]
        if waiting:
            yield AllOf(self._clock, waiting)
        return next((answer.value for answer in validating if answer.value), 0)


DEFAULT_SERVER = WebhookSpec(workers=16)
"""Behind webhooks that the scenario does not describe."""
