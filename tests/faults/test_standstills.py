"""A router that stood still while the traffic was moved away from a version decides nothing by what it knew."""

from __future__ import annotations

import signal
import time

import pytest

from bench.mesh import MODEL, Mesh, until
from bench.mesh_load import SteadyLoad
from services.router.standstill import STILL_SECONDS
from tests.faults.test_mesh import RATE, running, traffic

__all__ = ["running"]
pytestmark = pytest.mark.timeout(420)


def test_a_router_that_stood_still_through_a_change_of_traffic_sends_nobody_by_the_old_shares(running: Mesh):
    with running.control() as control, SteadyLoad(running.router_addresses[:1], MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        running.routers[0].send(signal.SIGSTOP)
        stopped_at = time.monotonic()
        try:
            changed = traffic(control, "v2")
            until(lambda: time.monotonic() > stopped_at + 2 * STILL_SECONDS)
        finally:
            running.routers[0].send(signal.SIGCONT)
        load.settled(time.monotonic())

    held = [one for one in load.told if one.sent_at > stopped_at]
    seconds = {one.router_id: one.seconds for one in changed.confirmations}  # type: ignore[attr-defined]
    assert seconds["router-0"] < 0 <= seconds["router-1"]
    assert load.failures == []
    assert {one.version for one in held} == {"v2"}
