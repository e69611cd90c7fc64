"""Batch work: builds, data jobs, nightly reports."""

from workloads.shapes import MIXES, Mix, Shape

MIXES.register("batch")(
    Mix(
        description="Batch pods, larger than services: half a core to eight. Our own choice, not a published fit.",
        shapes=(
            Shape(cpu="500m", memory="1Gi", weight=30),
            Shape(cpu="1", memory="2Gi", weight=30),
            Shape(cpu="2", memory="4Gi", weight=20),
            Shape(cpu="2", memory="8Gi", weight=10),
            Shape(cpu="4", memory="16Gi", weight=8),
            Shape(cpu="8", memory="32Gi", weight=2),
        ),
    )
)
