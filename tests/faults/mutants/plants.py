"""All plants by name: the tap that the harness needs, and the bugs that it has to find."""

from __future__ import annotations

from tests.faults.mutants.bugs import BUGS
from tests.faults.mutants.plant import Plant

LINK_TAP = Plant(
    name="link-tap",
    module="services.mesh.dispatch",
    old="address=status.link_address,",
    new='address=__import__("tests.faults.mutants.link_tap", fromlist=["tapped"]).tapped(status.worker_id, status.link_address),',
)
"""Routers reach workers by way of the harness's proxies."""

PLANTS: dict[str, Plant] = {plant.name: plant for plant in (LINK_TAP, *(bug.plant for bug in BUGS))}
