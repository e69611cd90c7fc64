"""What a container's program does, which no API object says: how soon it answers, when it ends, what it uses.

In a mix's shape it stands as `behaviour`, in a manifest as the pod's annotation `kubedes.io/behaviour`: a mapping from container
name to the same fields, as JSON or YAML text.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import yaml
from pydantic import ValidationError, model_validator

from sim.base.errors import Problems, near_miss
from sim.base.spec import Spec, param
from sim.state.objects import Behaviour, PodSpec, Probe

ANNOTATION = "kubedes.io/behaviour"


class CoursePoint(Spec):
    """One point of what is used over a run of the container; linear between points, the last amount from then on."""

    age_s: float = param(..., "since the container's start", ge=0)
    amount_bytes: float = param(..., "what is used then", ge=0, le=2**60)


class BehaviourSpec(Spec):
    """One container's program."""

    starts_in_s: float = param(0.0, "from the container's start until it answers its probes", ge=0, le=1e6)
    exits_after_s: float | None = param(None, "it ends by itself after this; null: it does not", ge=0, le=1e9)
    exit_code: int = param(0, "with this code; any but 0 is a failure", ge=0, le=255)
    hangs_after_s: float | None = param(None, "it answers no more from this age on; null: it always does", ge=0, le=1e9)
    faulty_runs: int | None = param(
        None, "only so many first runs end or hang like this, later ones do not; null: all do", ge=0, le=1_000_000
    )
    stops_in_s: float | None = param(None, "from SIGTERM to its end; null: drawn from kubelet.kill_s", ge=0, le=1e6)
    memory: tuple[CoursePoint, ...] = param((), "memory used by age; none: what the container requests")
    disk: tuple[CoursePoint, ...] = param((), "disk written by age; none: nothing")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for name in ("memory", "disk"):
            ages = [point.age_s for point in getattr(self, name)]
            if ages != sorted(set(ages)):
                raise ValueError(f"{name}: ages must rise from point to point, not {ages}")
        return self

    def build(self) -> Behaviour:
        """As the kubelet takes it."""
        return Behaviour(
            self.starts_in_s,
            self.exits_after_s,
            self.exit_code,
            self.hangs_after_s,
            self.faulty_runs,
            self.stops_in_s,
            tuple((point.age_s, point.amount_bytes) for point in self.memory),
            tuple((point.age_s, point.amount_bytes) for point in self.disk),
        )


class ProbeSpec(Spec):
    """A probe; fields and defaults of a v1 Probe."""

    initial_delay_s: int = param(0, "no look before this age", ge=0, le=86400)
    period_s: int = param(10, "between looks", ge=1, le=86400)
    timeout_s: int = param(1, "a look without an answer takes this long", ge=1, le=86400)
    success_threshold: int = param(1, "good looks in a row that count", ge=1, le=1000)
    failure_threshold: int = param(3, "bad looks in a row that count", ge=1, le=100_000)
    grace_s: int | None = param(None, "grace period when this probe has it killed; null: the pod's", ge=1, le=86400)

    def build(self) -> Probe:
        return Probe(**self.model_dump())


def with_behaviours(spec: PodSpec, annotations: Any, path: str, problems: Problems) -> PodSpec:
    """The pod spec with the behaviours that its annotation gives to its containers."""
    text = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
    if text is None:
        return spec
    where = f"{path}.metadata.annotations[{ANNOTATION}]"
    try:
        given = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError:
        given = None
    if not isinstance(given, dict):
        problems.add(where, text, "must be a mapping from container name to its behaviour, as JSON or YAML text")
        return spec
    names = [container.name for container in (*spec.init_containers, *spec.containers)]
    found: dict[str, Behaviour] = {}
    for name, fields in given.items():
        if name not in names:
            problems.add(f"{where}.{name}", name, "is no container of the pod", near_miss(str(name), names))
            continue
        try:
            found[name] = BehaviourSpec.model_validate(fields).build()
        except ValidationError as error:
            for fault in error.errors():
                place = ".".join(map(str, fault["loc"]))
                problems.add(f"{where}.{name}.{place}", fault["input"], fault["msg"].lower())
    return replace(
        spec,
        init_containers=tuple(replace(each, behaviour=found.get(each.name)) for each in spec.init_containers),
        containers=tuple(replace(each, behaviour=found.get(each.name)) for each in spec.containers),
    )
