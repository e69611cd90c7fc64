"""Small services: web front ends, APIs, caches, workers."""

from workloads.shapes import MIXES, Mix, Shape

MIXES.register("web")(
    Mix(
        description="Small services as teams run them, with few modal sizes. Our own choice, not a published fit.",
        shapes=(
            Shape(cpu="50m", memory="64Mi", weight=20),
            Shape(cpu="100m", memory="128Mi", weight=30),
            Shape(cpu="250m", memory="256Mi", weight=20),
            Shape(cpu="250m", memory="512Mi", weight=10),
            Shape(cpu="500m", memory="1Gi", weight=12),
            Shape(cpu="1", memory="2Gi", weight=6),
            Shape(cpu="2", memory="4Gi", weight=2),
        ),
    )
)
