"""ResourceQuota: what a namespace may ask for, checked before a pod is stored."""

from __future__ import annotations

from sim.state.objects import PodSpec


def charges(spec: PodSpec) -> dict[str, int]:
    """What one pod counts against a quota, by the quota's resource names. Init containers count by their maximum."""
    total: dict[str, int] = {}
    for container in spec.containers:
        for name, amount in container.requests:
            total[name] = total.get(name, 0) + amount
    for container in spec.init_containers:
        for name, amount in container.requests:
            total[name] = max(total.get(name, 0), amount)
    charged = {"pods": 1, "count/pods": 1}
    for name, amount in total.items():
        charged[f"requests.{name}"] = amount
        if name in ("cpu", "memory"):
            charged[name] = amount
    return charged


class Quota:
    """One namespace's quota: hard limits and what is used. Never exceeded; released once for each pod charged."""

    __slots__ = ("hard", "used")

    def __init__(self, hard: dict[str, int]) -> None:
        self.hard = hard
        self.used = dict.fromkeys(hard, 0)

    def charge(self, amounts: dict[str, int]) -> str:
        """Take `amounts` if all fit and return "", else take nothing and return the first resource that does not fit."""
        for name, hard in self.hard.items():
            if self.used[name] + amounts.get(name, 0) > hard:
                return name
        for name in self.hard:
            self.used[name] += amounts.get(name, 0)
        return ""

    def release(self, amounts: dict[str, int]) -> None:
        """Give back what one pod was charged."""
        for name in self.hard:
            self.used[name] -= amounts.get(name, 0)
