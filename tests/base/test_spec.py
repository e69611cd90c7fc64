"""Specs: immutable, strict, units read from names, plugins chosen by name."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import ValidationError

from sim.base.plugin import Catalog
from sim.base.rand import Constant, Dist
from sim.base.spec import Choice, Spec, param, unit_of

SHAPES: Catalog[type[Spec]] = Catalog("shapes")


@SHAPES.register("round")
class Round(Spec):
    radius_bytes: int = param(1, ge=0)


@SHAPES.register("square")
class Square(Spec):
    side_s: float = param(2.0)


class Thing(Spec):
    wait_s: float = param(1.0, "a wait", source="nobody", gt=0)
    size_bytes: int = param(10)
    cpu_millicores: int = param(100)
    link_bytes_per_s: float = param(1.0)
    rate_per_s: float = param(1.0)
    pause_s: Dist = param(Constant(value=1.0))
    shape: Annotated[Spec, Choice(SHAPES)] = param("round", unverified=True)


@pytest.mark.parametrize(("field", "text", "value"), [
    ("wait_s", "1m30s", 90.0), ("wait_s", "250ms", 0.25), ("wait_s", "3", 3.0), ("size_bytes", "64Mi", 64 * 2**20),
    ("cpu_millicores", "250m", 250), ("cpu_millicores", "2", 2), ("link_bytes_per_s", "10Gbit/s", 1.25e9),
])  # fmt: skip
def test_texts_are_read_in_the_unit_of_the_name(field: str, text: str, value: float):
    assert getattr(Thing.model_validate({field: text}), field) == value


@pytest.mark.parametrize(("field", "symbol"), [
    ("wait_s", "s"), ("rate_per_s", "1/s"), ("link_bytes_per_s", "bytes/s"), ("size_bytes", "bytes"),
    ("cpu_millicores", "millicores"), ("workers", ""), ("bits", ""),
])  # fmt: skip
def test_units_by_name(field: str, symbol: str):
    assert unit_of(field).symbol == symbol


def test_a_distribution_has_the_unit_of_its_field():
    assert Thing.model_validate({"pause_s": "2m"}).pause_s == Constant(value=120.0)
    read = Thing.model_validate({"pause_s": {"dist": "exponential", "mean": "1500ms"}})
    assert read.pause_s.model_dump(by_alias=True)["mean"] == 1.5


@pytest.mark.parametrize("values", [
    {"wait": 1}, {"wait_s": 0}, {"wait_s": "soon"}, {"size_bytes": 1.5}, {"size_bytes": "1 parsec"},
    {"shape": "triangle"}, {"shape": {"type": "square", "radius_bytes": 1}}, {"shape": 7}, {"shape": {"side_s": 1}},
])  # fmt: skip
def test_what_is_refused(values: dict):
    with pytest.raises(ValidationError):
        Thing.model_validate(values)


def test_specs_do_not_change():
    with pytest.raises(ValidationError):
        Thing().wait_s = 2.0  # type: ignore[misc]


def test_a_plugin_by_name_by_mapping_and_by_its_parameters_alone():
    assert isinstance(Thing(shape="square").shape, Square)
    assert Thing.model_validate({"shape": {"type": "square", "side_s": "1m"}}).shape == Square(side_s=60)
    assert Thing.model_validate({"shape": {"radius_bytes": 7}}).shape == Round(radius_bytes=7)
    assert Thing().shape == Round()


def test_a_dump_loads_to_the_same():
    thing = Thing.model_validate({"shape": "square", "wait_s": "5s", "pause_s": {"dist": "exponential", "mean": 3}})
    dumped = thing.model_dump(mode="json")
    assert dumped["shape"] == {"type": "square", "side_s": 2.0}
    assert Thing.model_validate(dumped) == thing


def test_schema_offers_the_plugins_and_says_what_is_unverified():
    schema = Thing.model_json_schema()
    names = [one["enum"] for one in schema["properties"]["shape"]["anyOf"] if "enum" in one]
    assert names == [["round", "square"]]
    assert schema["properties"]["wait_s"]["source"] == "nobody"
    assert schema["properties"]["shape"]["unverified"] is True
