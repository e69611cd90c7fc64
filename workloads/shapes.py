"""What a pod asks for: tables of request shapes, because real requests are modal, not smooth.

A mix is a named table (`web`, `batch`, `openb`, …), or one written out in the scenario.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from sim.base.errors import Problems, near_miss
from sim.base.plugin import Catalog
from sim.base.spec import Spec, param
from sim.base.units import format_amount, parse_amount
from sim.state.names import is_extended_resource
from sim.state.objects import Container, Quantities, quantities
from sim.workload import Setting
from workloads.images import check_image
from workloads.lives import BehaviourSpec, ProbeSpec

GPU = "nvidia.com/gpu"
"""The extended resource of whole GPUs."""


def _text(value: Any) -> Any:
    """Quantities may be bare numbers in YAML; they are kept as text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _amount(resource: str) -> AfterValidator:
    def check(text: str) -> str:
        amount = parse_amount(resource, text)
        if amount < 0:
            raise ValueError("must not be negative")
        return text

    return AfterValidator(check)


CpuAmount = Annotated[str, BeforeValidator(_text), _amount("cpu")]
MemoryAmount = Annotated[str, BeforeValidator(_text), _amount("memory")]


class Shape(Spec):
    """One row of a mix: the requests of a pod, as Kubernetes quantities, and how often it is drawn."""

    cpu: CpuAmount = param("100m", "CPU request, a Kubernetes quantity: 250m, 2")
    memory: MemoryAmount = param("128Mi", "memory request, a Kubernetes quantity: 512Mi, 4Gi")
    gpus: int = param(0, f"whole GPUs ({GPU})", ge=0, le=64)
    extended: dict[str, int] = param({}, "other extended resources by name: whole numbers")
    image: str = param("", "image of the scenario; empty: drawn by the images' popularity")
    weight: float = param(1.0, "relative frequency in its mix", ge=0, le=1e12)
    behaviour: BehaviourSpec | None = param(None, "what its program does; null: it starts at once and does not fail")
    startup: ProbeSpec | None = param(None, "its startup probe")
    readiness: ProbeSpec | None = param(None, "its readiness probe")
    liveness: ProbeSpec | None = param(None, "its liveness probe")
    post_start_s: float | None = param(None, "run time of its postStart hook; null: it has none", ge=0, le=1e6)
    pre_stop_s: float | None = param(None, "run time of its preStop hook; null: it has none", ge=0, le=1e6)
    memory_limit: MemoryAmount | None = param(None, "memory limit; null: none. Above it the container is killed")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, amount in self.extended.items():
            if not is_extended_resource(name):
                raise ValueError(f"extended: '{name}' is no extended resource; its name needs a domain, like {GPU}")
            if amount < 0:
                raise ValueError(f"extended: {name} must not be negative, not {amount}")
        if self.gpus and GPU in self.extended:
            raise ValueError(f"gpus and extended[{GPU}] name the same resource; give one of them")
        return self

    @property
    def requests(self) -> Quantities:
        """Requests in base units (cpu in millicores, memory in bytes, others counts); zeros left out."""
        amounts = {
            "cpu": parse_amount("cpu", self.cpu),
            "memory": parse_amount("memory", self.memory),
            GPU: self.gpus,
            **self.extended,
        }
        return quantities({name: amount for name, amount in amounts.items() if amount})

    def container(self, image: str) -> Container:
        """The pod's one container. Extended resources have limits equal to their requests, as the API asks."""
        requests = self.requests
        limits = {name: amount for name, amount in requests if is_extended_resource(name)}
        if self.memory_limit is not None:
            limits["memory"] = parse_amount("memory", self.memory_limit)
        return Container(
            "main",
            image,
            requests,
            quantities(limits),
            startup_probe=None if self.startup is None else self.startup.build(),
            readiness_probe=None if self.readiness is None else self.readiness.build(),
            liveness_probe=None if self.liveness is None else self.liveness.build(),
            post_start_s=self.post_start_s,
            pre_stop_s=self.pre_stop_s,
            behaviour=None if self.behaviour is None else self.behaviour.build(),
        )

    def __str__(self) -> str:
        return ", ".join(f"{name} {format_amount(name, amount)}" for name, amount in self.requests) or "no requests"


class Mix(Spec):
    """A table of shapes with their weights."""

    description: str = param("", "what the table stands for, and where it comes from")
    shapes: tuple[Shape, ...] = param(..., "the rows, at least one")

    @model_validator(mode="after")
    def _weighted(self) -> Self:
        if sum(shape.weight for shape in self.shapes) <= 0:
            raise ValueError("shapes: at least one with a weight above 0 is needed")
        return self

    def check(self, setting: Setting, path: str, problems: Problems) -> None:
        """Report images that the scenario does not have."""
        for i, shape in enumerate(self.shapes):
            check_image(shape.image, setting, f"{path}.shapes[{i}].image", problems)


MIXES: Catalog[Mix] = Catalog("mixes", package="workloads.mixes")
"""Every mix that a scenario may name; one file each under workloads/mixes."""


def mix_name(mix: Mix) -> str | None:
    """The name of a mix of the catalog; None for a table of the user's own."""
    return next((name for name in MIXES if MIXES[name] == mix), None)


def _mix(value: Any) -> Any:
    if isinstance(value, str):
        if value not in MIXES:
            raise PydanticCustomError(
                "mix", "is none of the mixes; {hint}", {"hint": f"{near_miss(value, MIXES)} Or give a list of shapes."}
            )
        return MIXES[value]
    return {"shapes": value} if isinstance(value, list | tuple) else value


MixField = Annotated[
    Mix,
    BeforeValidator(_mix, json_schema_input_type=str | list[Shape] | Mix),
    PlainSerializer(lambda mix: mix_name(mix) or mix.model_dump(mode="json", exclude_defaults=True)),
]
"""A field that takes the name of a mix, a list of shapes, or `{description, shapes}`."""
