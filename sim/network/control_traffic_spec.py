"""Parameters of the control plane's own traffic on the underlay."""

from __future__ import annotations

from sim.base.spec import Spec, param


class ControlTrafficSpec(Spec):
    """How the control plane's small messages load the underlay."""

    period_s: float = param(5.0, "counts of bytes become rates this often", ge=0.01, le=3600)
    headers_bytes: int = param(
        600,
        "a request's and its answer's HTTP/2 and TLS headers together",
        source="our estimate: 100 to 300 bytes each way after header compression",
        unverified=True,
        ge=0,
        le=100_000,
    )
    packet_bytes: float = param(
        1500.0, "what a small message waits behind at a busy port", source="MTU of Ethernet", ge=64, le=65535
    )
    flow_bytes: float = param(
        1e6,
        "an answer to a LIST from this size on is a flow; smaller ones are spread over a period",
        source="our choice: below it slow start, not the link, decides",
        ge=1,
        le=1e15,
    )
    least_delay_s: float = param(1e-5, "a way shorter than this does not delay a message", ge=0, le=1)
    least_wait_s: float = param(
        1e-3, "a round trip shorter than this is not waited for by each request: it would cost an event", ge=0, le=1
    )
