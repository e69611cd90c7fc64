"""What clients ask of etcd."""

from __future__ import annotations

from simpy.events import Event


class Write:
    """`count` puts or deletions in a request. `event` fires with `OK` or an error text."""

    __slots__ = ("count", "counted", "event", "keys", "member", "size_bytes")

    def __init__(self, event: Event, member: int, count: int, keys: int, size_bytes: float) -> None:
        self.event = event
        self.member = member
        """The member that the client is connected to; it answers when it has applied the write."""
        self.count = count
        self.keys = keys
        self.size_bytes = size_bytes
        self.counted = False
        """Whether the database has it."""

    @property
    def open(self) -> bool:
        """Not answered yet."""
        return self.event.callbacks is not None


class Read:
    """`count` ranges of one key each, or of many that are `size_bytes` large. `event` fires with `OK` or an error text."""

    __slots__ = ("count", "event", "member", "size_bytes")

    def __init__(self, event: Event, member: int, count: int, size_bytes: float = 0.0) -> None:
        self.event = event
        self.member = member
        self.count = count
        self.size_bytes = size_bytes

    @property
    def open(self) -> bool:
        """Not answered yet."""
        return self.event.callbacks is not None
