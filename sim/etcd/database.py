"""etcd's database: how large it is, when it is full, and when nothing can be applied to it."""

from __future__ import annotations

from collections.abc import Callable

from sim.etcd.errors import NO_SPACE, OK
from sim.etcd.spec import EtcdSpec

KEY_OVERHEAD_BYTES = 200
"""Per revision beside the value: the key of a Kubernetes object, its metadata and its share of a page
(etcd's memory model and 4 kB pages)."""


class Database:
    """Revisions, bytes and the lock of the backend. It has no clock of its own: callers say what time it is.

    draw_commit_s: duration of one backend commit.
    """

    def __init__(self, spec: EtcdSpec, draw_commit_s: Callable[[], float]) -> None:
        self._spec = spec
        self._draw_commit_s = draw_commit_s
        self.revision = 0
        self.keys = 0
        self.live_bytes = 0.0
        """Of the newest revision of each key."""
        self.history_bytes = 0.0
        """Of older revisions, which the next compaction removes."""
        self.history = 0
        """Number of older revisions."""
        self.file_bytes = 0.0
        """The file never shrinks but by defragmentation."""
        self.alarm = False
        """Set when a write met a full database; cleared by `disarm`."""
        self.commits = 0
        self._pending = 0
        self._due_s = spec.backend_period_s
        self._free_s = 0.0

    def admit(self, size_bytes: float, frees: bool) -> str:
        """`OK`, or the error with which a write of `size_bytes` is refused. frees: a deletion, which is always taken."""
        if frees:
            return OK
        if self.file_bytes + size_bytes > self._spec.quota_bytes:
            self.alarm = True
        return NO_SPACE if self.alarm else OK

    def write(self, count: int, keys: int, size_bytes: float) -> None:
        """`count` puts or deletions were applied; `keys` more keys exist than before, or fewer."""
        self.revision += count
        stored = size_bytes + count * KEY_OVERHEAD_BYTES
        mean = self.live_bytes / self.keys if self.keys else 0.0
        self.keys = max(0, self.keys + keys) if keys else self.keys
        if keys > 0:
            self.live_bytes += stored
        elif keys < 0:
            freed = min(self.live_bytes, mean * -keys)
            self.live_bytes -= freed
            self.history_bytes += freed + count * KEY_OVERHEAD_BYTES
            self.history += count
        else:
            self.history_bytes += stored
            self.history += count
        held_bytes = self.live_bytes + self.history_bytes
        if held_bytes > self.file_bytes:
            self.file_bytes = held_bytes

    def apply_s(self, now_s: float, count: int) -> float:
        """When `count` writes that want to be applied now can be: not while a commit or a maintenance holds the lock.

        Commits are found out here, when something meets them; an idle database makes no events.
        """
        spec = self._spec
        while self._due_s <= now_s:
            if self._pending:
                self._commit(self._due_s)
                self._due_s = self._free_s + spec.backend_period_s
            else:
                periods = int((now_s - self._due_s) / spec.backend_period_s) + 1
                self._due_s += periods * spec.backend_period_s
        start_s = self._free_s if self._free_s > now_s else now_s
        self._pending += count
        if self._pending >= spec.backend_writes:
            self._commit(start_s)
        return start_s

    def _commit(self, at_s: float) -> None:
        self._free_s = max(self._free_s, at_s) + self._draw_commit_s()
        self._pending = 0
        self.commits += 1

    def hold(self, until_s: float) -> None:
        """Nothing is applied before `until_s`."""
        self._free_s = max(self._free_s, until_s)

    def forget(self, revisions: int) -> None:
        """Compaction removed `revisions` old ones."""
        if self.history:
            revisions = min(revisions, self.history)
            self.history_bytes -= self.history_bytes * revisions / self.history
            self.history -= revisions

    def defragment(self) -> float:
        """Rewrite the file without holes; returns how long that takes, in seconds, by what is in it."""
        took_s = self.file_bytes / self._spec.defragment_bytes_per_s
        self.file_bytes = self.live_bytes + self.history_bytes
        return took_s

    def disarm(self) -> None:
        """An operator clears the alarm; it comes back with the next write if the file is still too large."""
        self.alarm = False
