"""client-go's back-off: a wait by key that doubles with every failure."""

from __future__ import annotations


class BackOff:
    """Kubernetes' flowcontrol.Backoff. A key that has not failed for twice the longest wait begins anew."""

    def __init__(self, initial_s: float, longest_s: float) -> None:
        self._initial_s = initial_s
        self._longest_s = longest_s
        self._entries: dict[object, tuple[float, float]] = {}
        """Key -> (wait, time of the last failure)."""

    def failed(self, key: object, now_s: float) -> float:
        """Note a failure; returns the wait that begins."""
        entry = self._entries.get(key)
        anew = entry is None or now_s - entry[1] > 2 * self._longest_s
        wait_s = self._initial_s if entry is None or anew else min(2 * entry[0], self._longest_s)
        self._entries[key] = (wait_s, now_s)
        return wait_s

    def waits(self, key: object, now_s: float) -> bool:
        """Whether the wait after the last failure still lasts."""
        entry = self._entries.get(key)
        return entry is not None and now_s - entry[1] < entry[0]

    def forget(self, key: object) -> None:
        """The key is of no more use."""
        self._entries.pop(key, None)
