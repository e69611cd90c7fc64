"""What TCP and UDP make of a path: slow start of short flows, the rate that losses allow, what an overrun queue drops.

Sources: RFC 6928 (initial window of ten segments), RFC 5681 (slow start doubles a round), RFC 8312 and Mathis et al. 1997 (rate and
loss), Linux (handshake of one round trip before the first request).
"""

from __future__ import annotations

from math import ceil, inf, log2, sqrt

INITIAL_WINDOW = 10
"""Segments of the first flight."""


def slow_start_rounds(size_bytes: float, mss_bytes: float, window_bytes: float = inf) -> int:
    """Round trips that a transfer waits for acknowledgements while its window is smaller than `window_bytes` (rate x round trip).

    0: everything goes out in the first flight, or the path is full from the start.
    """
    segments = ceil(size_bytes / mss_bytes)
    enough = ceil(min(window_bytes / mss_bytes, segments)) if window_bytes < inf else segments
    if segments <= INITIAL_WINDOW or enough <= INITIAL_WINDOW:
        return 0
    by_size = ceil(log2(segments / INITIAL_WINDOW + 1)) - 1  # flights of 10, 20, 40, ... segments
    by_window = ceil(log2(enough / INITIAL_WINDOW))
    return min(by_size, by_window)


def slow_start_s(
    size_bytes: float, mss_bytes: float, round_trip_s: float, rate_bytes_per_s: float, handshake: bool = True
) -> float:
    """Time that a transfer takes longer than its bytes at `rate_bytes_per_s`: handshake and the rounds of a small window."""
    rounds = slow_start_rounds(size_bytes, mss_bytes, rate_bytes_per_s * round_trip_s)
    sent_meanwhile = mss_bytes * INITIAL_WINDOW * (2**rounds - 1)
    waiting_s = max(0.0, rounds * round_trip_s - sent_meanwhile / rate_bytes_per_s)
    return waiting_s + (round_trip_s if handshake else 0.0)


def loss_of_rate(rate_bytes_per_s: float, mss_bytes: float, round_trip_s: float) -> float:
    """Share of segments that must be lost for TCP to settle at this rate (square-root law): what a full queue drops."""
    window = max(1.0, rate_bytes_per_s * round_trip_s / mss_bytes)
    return min(1.0, 1.5 / window**2)


def rate_of_loss(loss: float, mss_bytes: float, round_trip_s: float) -> float:
    """The square-root law the other way round, bytes/s."""
    return inf if loss <= 0 else mss_bytes / round_trip_s * sqrt(1.5 / loss)


def retransmitted_bytes(
    size_bytes: float, rate_bytes_per_s: float, mss_bytes: float, round_trip_s: float, held_by_queue: bool
) -> float:
    """Bytes that are sent again: only where a queue, not the sender or a limit of its own, holds the flow back."""
    return size_bytes * loss_of_rate(rate_bytes_per_s, mss_bytes, round_trip_s) if held_by_queue else 0.0
