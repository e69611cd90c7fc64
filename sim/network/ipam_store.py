"""Calico's IPAM keeps blocks, affinities and handles as objects of the API: what a plug-in asks for each pod and each block.

Source: Calico libcalico-go lib/ipam and its Kubernetes datastore: a claim creates an affinity and a block and confirms the affinity;
an address is a handle that is created and a block that is updated, both undone when it is given back. Reads are left out: the
plug-in's are few beside these and answered from the watch cache.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.authorization.policy import Binding, Role, Rule, Subject
from sim.apiserver.identity import service_account
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


ACCOUNT = service_account("kube-system", "calico-node")
"""What the plug-in is for the API server."""
ROLE = Role(
    "calico-node",
    (
        Rule(
            frozenset({"get", "list", "watch", "create", "update", "delete"}),
            frozenset({"crd.projectcalico.org"}),
            frozenset({"blockaffinities", "ipamblocks", "ipamhandles"}),
        ),
    ),
)
BINDING = Binding("calico-node", ROLE.name, (Subject("ServiceAccount", "calico-node", "kube-system"),))
"""From Calico's manifest (ClusterRole calico-node): what its IPAM needs."""
CONFLICT = 409
RETRIES = 100
"""Source: Calico libcalico-go lib/ipam, datastoreRetries."""


class IpamStore:
    """The plug-in's side of the datastore.

    `requests` counts what was sent, `failures` what was answered with an error, conflicts apart: another writer was first, and the
    write is made again on the newer object.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.requests = 0
        self.failures = 0
        self.conflicts = 0

    def assign(self, new_block: bool) -> Generator[Event, Any, bool]:
        """An address for a pod; new_block: its node claims one first. Ends with whether it is stored."""
        if new_block and not (yield from self._all(CREATE_AFFINITY, CREATE_BLOCK, CONFIRM_AFFINITY)):
            return False
        return (yield from self._all(CREATE_HANDLE, UPDATE_BLOCK))

    def release(self) -> Generator[Event, Any, bool]:
        """An address is given back. Ends with whether that is stored."""
        return (yield from self._all(UPDATE_BLOCK, DELETE_HANDLE))

    def release_block(self) -> Generator[Event, Any, bool]:
        """A node gives an empty block back. If that fails it keeps it, which does no harm."""
        return (yield from self._all(DELETE_BLOCK, DELETE_AFFINITY))

    def _all(self, *operations: Operation) -> Generator[Event, Any, bool]:
        for operation in operations:
            for _ in range(RETRIES):
                self.requests += 1
                code = yield from self._send(operation)
                if code != CONFLICT:
                    break
                self.conflicts += 1
            if code >= 400:
                self.failures += 1
                return False
        return True
