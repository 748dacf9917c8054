"""All plants by name: the tap that the harness needs, fail points, and the bugs that it has to find."""

from __future__ import annotations

from tests.faults.mutants.bugs import BUGS
from tests.faults.mutants.plant import Plant

LINK_TAP = Plant(
    name="link-tap",
    module="services.mesh.link_target",
    old="address=status.link_address,",
    new='address=__import__("tests.faults.mutants.link_tap", fromlist=["tapped"]).tapped(status.worker_id, status.link_address),',
)
"""Routers reach workers by way of the harness's proxies."""

HANG_ON_SIGNAL = Plant(
    name="hang-on-signal",
    module="services.worker.app",
    old="    sys.setswitchinterval(0.0005)\n",
    new="    sys.setswitchinterval(0.0005)\n    __import__('signal').signal(12, lambda *_: __import__('ctypes').PyDLL(None).sleep(600))\n",
)
"""A worker that gets SIGUSR2 sleeps in native code and keeps the GIL: nothing of it runs any more."""

SHORT_LOG_QUEUE = Plant(
    name="short-log-queue", module="services.chassis.line_sink", old="QUEUE_BYTES = 4 << 20", new="QUEUE_BYTES = 4 << 10"
)
"""Lines that nobody reads fill the queue after a few kilobytes."""

PLANTS: dict[str, Plant] = {plant.name: plant for plant in (LINK_TAP, HANG_ON_SIGNAL, SHORT_LOG_QUEUE, *(bug.plant for bug in BUGS))}
