"""What images are made of: layers by digest, shared between images. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.base.errors import Problems, near_miss
from sim.images.spec import ImageSpec


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed archive of files, named by its content."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest: layers from the lowest up."""

    name: str
    layers: tuple[Layer, ...]
    pushed_at_s: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Compressed size of all layers."""
        return sum(layer.size_bytes for layer in self.layers)


def build_images(specs: Mapping[str, ImageSpec]) -> dict[str, Image]:
    """Every image with its layers. InputError lists all that does not go together."""
    problems = Problems("images")
    images = read_images(specs, "images", problems)
    problems.raise_if_any()
    return images


def read_images(specs: Mapping[str, ImageSpec], path: str, problems: Problems) -> dict[str, Image]:
    """As `build_images`, but adds to `problems` what is wrong; then the answer is of no use."""
    sizes: dict[str, tuple[int, str]] = {}
    known: dict[str, tuple[Layer, ...]] = {}

    def layers_of(name: str, above: tuple[str, ...]) -> tuple[Layer, ...]:
        if name in known:
            return known[name]
        spec = specs[name]
        below: tuple[Layer, ...] = ()
        if spec.base in (*above, name):
            problems.add(
                f"{path}.{name}.base", spec.base, "leads back to the image itself", "an image is built on others"
            )
        elif spec.base and spec.base not in specs:
            problems.add(f"{path}.{name}.base", spec.base, "is no image of the scenario", near_miss(spec.base, specs))
        elif spec.base:
            below = layers_of(spec.base, (*above, name))
        listed = tuple(Layer(layer.digest, layer.size_bytes) for layer in spec.layers)
        for number, layer in enumerate(listed):
            where = f"{path}.{name}.layers[{number}]"
            before = sizes.setdefault(layer.digest, (layer.size_bytes, where))
            if before[0] != layer.size_bytes:
                rule = f"is not the size of the same layer at {before[1]} ({before[0]})"
                problems.add(f"{where}.size_bytes", layer.size_bytes, rule, "a digest names one content")
        found = tuple({layer.digest: layer for layer in (*below, *listed)}.values())
        own = spec.size_bytes - sum(layer.size_bytes for layer in found)
        if own < 0:
            problems.add(
                f"{path}.{name}.size_bytes",
                spec.size_bytes,
                f"is less than its layers together ({spec.size_bytes - own})",
                "it is the whole image's size, base and layers included",
            )
        if own > 0 or not found:
            found = (*found, Layer(f"{name}#own", max(0, own)))
        known[name] = found
        return found

    return {name: Image(name, layers_of(name, ()), spec.pushed_at_s) for name, spec in specs.items()}
