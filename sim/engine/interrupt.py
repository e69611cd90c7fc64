"""Ctrl-C between two events instead of in the middle of one, so that an interrupted run's state holds together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Within the block a SIGINT only leaves a mark; the function given raises `KeyboardInterrupt` if there is one.

    A second SIGINT is not deferred. Outside the main thread, where signals cannot be handled, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGINT)
    asked = False

    def mark(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def look() -> None:
        if asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, mark)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, before)
