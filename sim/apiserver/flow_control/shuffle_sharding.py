"""Shuffle sharding: each flow is dealt a small hand of a level's queues, so that few flows share all of theirs.

Source: Kubernetes enhancement 1040 and 1.20 source, apiserver shufflesharding package.
"""

from __future__ import annotations

import hashlib
from math import log2

HASH_BITS = 60
"""Bits of the hash that a deal may use up: queues ** hand_size must stay below 2 ** 60."""


def dealable(queues: int, hand_size: int) -> bool:
    """Whether a 64-bit hash has enough entropy to deal such hands."""
    return 0 < hand_size <= queues and log2(queues) * hand_size <= HASH_BITS


def flow_hash(schema: str, distinguisher: str) -> int:
    """The 64-bit number from which a flow's hand is dealt; a flow is a schema and what it tells flows apart by."""
    digest = hashlib.sha256(schema.encode() + b"\0" + distinguisher.encode()).digest()
    return int.from_bytes(digest[:8], "little")


def deal(hashed: int, queues: int, hand_size: int) -> tuple[int, ...]:
    """`hand_size` different queues of 0 … queues - 1 for one flow, in the order dealt.

    The hash is taken apart in the mixed radix queues, queues - 1, …; each digit counts among the queues not dealt yet.
    """
    hand: list[int] = []
    for dealt in range(hand_size):
        hashed, card = divmod(hashed, queues - dealt)
        for taken in sorted(hand):
            if card >= taken:
                card += 1
        hand.append(card)
    return tuple(hand)
