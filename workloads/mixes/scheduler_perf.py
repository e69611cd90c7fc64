"""The pod of Kubernetes' own scheduler benchmark."""

from workloads.shapes import MIXES, Mix, Shape

MIXES.register("scheduler-perf")(
    Mix(
        description="The default pod of Kubernetes' scheduler benchmark. Source: Kubernetes 1.20 scheduler_perf.",
        shapes=(Shape(cpu="100m", memory="500Mi"),),
    )
)
