"""Types of fields that several specs share."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from sim.base.units import parse_quantity

T = TypeVar("T")


def _quantity_text(value: Any) -> str:
    if parse_quantity(value) < 0:
        raise ValueError("must not be negative")
    return str(value)


QuantityText = Annotated[str, BeforeValidator(_quantity_text)]
"""A Kubernetes quantity, kept as it is written: "250m", "64Mi", 2."""


def _without_nulls(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


Named = Annotated[dict[str, T], BeforeValidator(_without_nulls)]
"""Things by name. `name: null` takes away what a scenario below has put there."""
