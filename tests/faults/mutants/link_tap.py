"""Names the harness's proxy instead of a worker's own address, where there is one: PENSTOCK_LINK_TAPS=worker-0=4711,worker-1=4712."""

from __future__ import annotations

import os

_PORTS = dict(pair.split("=") for pair in os.environ.get("PENSTOCK_LINK_TAPS", "").split(",") if pair)


def tapped(worker_id: str, address: str) -> str:
    """Return where the router is to connect."""
    port = _PORTS.get(worker_id)
    return f"tcp:127.0.0.1:{port}" if port else address
