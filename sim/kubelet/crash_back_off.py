"""CrashLoopBackOff: how long a container that has ended waits before it is started again."""

from __future__ import annotations


class CrashBackOff:
    """One container's wait: none after the first end, then `first_s`, doubled with every restart up to `longest_s`.

    A container that ran for longer than `sound_s` since its last start begins anew. Source: Kubernetes 1.20 source, doBackOff of
    the runtime manager and client-go's flowcontrol.Backoff.
    """

    __slots__ = ("_first_s", "_longest_s", "_restarted_s", "_sound_s", "wait_s")

    def __init__(self, first_s: float, longest_s: float, sound_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._sound_s = sound_s
        self._restarted_s: float | None = None
        self.wait_s = 0.0
        """What the next end will have to wait for."""

    def until_s(self, finished_s: float) -> float:
        """When a container that ended at `finished_s` may be started again."""
        return finished_s if self._is_sound(finished_s) else finished_s + self.wait_s

    def restarted(self, finished_s: float, now_s: float) -> None:
        """It is started again now."""
        self.wait_s = self._first_s if self._is_sound(finished_s) else min(2 * self.wait_s, self._longest_s)
        self._restarted_s = now_s

    def _is_sound(self, finished_s: float) -> bool:
        return self._restarted_s is None or finished_s - self._restarted_s > self._sound_s
