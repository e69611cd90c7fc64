"""Calico's IPAM keeps blocks, affinities and handles as objects of the API: what a plug-in asks for each pod and each block.

Source: Calico libcalico-go lib/ipam and its Kubernetes datastore: a claim creates an affinity and a block and confirms the affinity;
an address is a handle that is created and a block that is updated, both undone when it is given back. Reads are left out: the
plug-in's are few beside these and answered from the watch cache.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.request import Operation

Send = Callable[[Operation], Generator[Event, Any, int]]
"""Sends one request and ends with its status."""

CREATE_AFFINITY = Operation("POST", "blockaffinities", "create_cpu_s", writes=1, keys=1)
CREATE_BLOCK = Operation("POST", "ipamblocks", "create_cpu_s", writes=1, keys=1)
CONFIRM_AFFINITY = Operation("PUT", "blockaffinities", "patch_cpu_s", writes=1)
CREATE_HANDLE = Operation("POST", "ipamhandles", "create_cpu_s", writes=1, keys=1)
UPDATE_BLOCK = Operation("PUT", "ipamblocks", "patch_cpu_s", writes=1)
DELETE_HANDLE = Operation("DELETE", "ipamhandles", "delete_cpu_s", writes=1, keys=-1)
DELETE_BLOCK = Operation("DELETE", "ipamblocks", "delete_cpu_s", writes=1, keys=-1)
DELETE_AFFINITY = Operation("DELETE", "blockaffinities", "delete_cpu_s", writes=1, keys=-1)


class IpamStore:
    """The plug-in's side of the datastore. `requests` counts what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.requests = 0

    def assign(self, new_block: bool) -> Generator[Event, Any, None]:
        """An address for a pod; new_block: its node claims one first."""
        if new_block:
            yield from self._all(CREATE_AFFINITY, CREATE_BLOCK, CONFIRM_AFFINITY)
        yield from self._all(CREATE_HANDLE, UPDATE_BLOCK)

    def release(self, block_emptied: bool) -> Generator[Event, Any, None]:
        """An address is given back; block_emptied: its block is, too."""
        yield from self._all(UPDATE_BLOCK, DELETE_HANDLE)
        if block_emptied:
            yield from self._all(DELETE_BLOCK, DELETE_AFFINITY)

    def _all(self, *operations: Operation) -> Generator[Event, Any, None]:
        for operation in operations:
            self.requests += 1
            yield from self._send(operation)
