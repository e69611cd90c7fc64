"""Work estimates: how many seats a request takes, and for how long it keeps them when it is done.

Source: Kubernetes 1.34 source, apiserver flowcontrol/request (list and mutating work estimators).
"""

from __future__ import annotations

from math import ceil


def list_seats(stored: int, limit: int, from_cache: bool, selects: bool, objects_per_seat: float) -> int:
    """Seats of a LIST by the objects it looks at. stored: objects of the resource; limit: of one page, 0: none; selects: it
    has a selector. From the cache all are looked at; from etcd a page, or all where a selector picks from them, and what is
    answered counts again."""
    page = limit if 0 < limit < stored else stored
    looked_at = stored if from_cache else stored + page if selects else 2 * page
    return max(1, ceil(looked_at / objects_per_seat))


def fan_out(watchers: int, watchers_per_seat: float, event_s: float, widest: int) -> tuple[int, float]:
    """(seats kept after a change, for how long): the work of telling the watchers, made narrower where it is too wide."""
    if watchers < watchers_per_seat:
        return 0, 0.0
    seats = ceil(watchers / watchers_per_seat)
    return (seats, event_s) if seats <= widest else (widest, seats * event_s / widest)


def widest_request(nominal: int, hand_size: int, share: float, most: int) -> int:
    """The most seats of one request at a level: a share of the level's, and no more than all of its hand's queues can have
    at once."""
    if not hand_size:
        return most
    return min(most, int(max(1.0, min(ceil(nominal * share), nominal // hand_size))))
