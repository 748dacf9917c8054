"""A rollout step by step, while whoever writes it down is killed around every step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from bench.mesh import MODEL, ONCE, Mesh, until
from bench.mesh_load import SteadyLoad
from penstock.client.control import Control
from penstock.client.writes import Write
from penstock.contracts.errors import ServingError
from tests.faults.figures import record
from tests.faults.test_mesh import RATE, dead, running, writer

__all__ = ["running"]
pytestmark = pytest.mark.timeout(420)

Step = Callable[[Control, Write], object]
STEPS: dict[str, Step] = {
    "a tenth": lambda control, write: control.set_traffic(MODEL, {"v1": 9000, "v2": 1000}, write),
    "everything": lambda control, write: control.set_traffic(MODEL, {"v1": 0, "v2": 10_000}, write),
    "back": lambda control, write: control.rollback(MODEL, write=write),
}


def is_done(mesh: Mesh, step: Step, write: Write, address: str = "") -> bool:
    """Take a step, once; say whether anybody answered for it."""
    with mesh.control(ONCE, address=address) as control:
        try:
            step(control, write)
        except ServingError:
            return False
    return True


def test_p14_a_controller_killed_around_every_step_of_a_rollout_leaves_each_step_done_once(running: Mesh):
    run, answered = f"{time.monotonic_ns()}", 0
    with SteadyLoad(running.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        for name, step in STEPS.items():
            write = Write(reason=f"{run} {name}", idempotency_key=f"{run} {name}")
            number = writer(running)
            told: list[bool] = []
            address = running.controller_addresses[number]
            # It dies before, in the middle of, or after this call: which of them, nobody knows, and nobody needs to.
            first = threading.Thread(target=lambda s=step, w=write, a=address, t=told: t.append(is_done(running, s, w, a)))
            first.start()
            with dead(running.controllers[number]):
                first.join(60)
                until(lambda step=step, write=write: is_done(running, step, write), pause_seconds=0.1)
            answered += sum(told)
        load.settled(time.monotonic())
    with running.control() as control:
        changes = control.changes(subject=f"model/{MODEL}", verify=True)
        route = control.model(MODEL).route

    assert load.failures == []
    assert [sum(one.reason == f"{run} {name}" for one in changes.changes) for name in STEPS] == [1, 1, 1]
    assert {one.version: one.weight_basis_points for one in route.backends} == {"v1": 9000, "v2": 1000}
    assert changes.broken == ""
    record("P14", kills=len(STEPS), answered_by_the_killed=answered)
