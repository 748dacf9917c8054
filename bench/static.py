"""What callers notice when bus, Redis, database and controller are killed: nothing; and how soon a change goes through afterwards.

Each is killed by SIGKILL and stays down for a time, alone and then all together, while calls go through every router. They have converged
when a change of traffic that is asked for after their return is confirmed by every router and seen by callers of each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.arena import Arena
from bench.killable import Killable, is_to_be_had
from bench.mesh import MODEL, VERSIONS, Mesh, Shape, confirmed, mesh, restart
from bench.mesh_load import SteadyLoad
from bench.report import say
from penstock.client.control import Control
from services.stack.postgres_database import Postgres

SHAPE = Shape(routers=4, workers=2, has_postgres=True, has_redis=True)
UNUSED = "no process of the mesh talks to it, so its death would prove nothing"


def static(arena: Arena) -> None:
    """Kill what decides, one by one and all together, under load."""
    shape = SHAPE if is_to_be_had(Postgres()) else replace(SHAPE, has_postgres=False)
    if not shape.has_postgres:
        arena.figures.leave_out("static_stability.database", "PostgreSQL is not installed; the catalogue was the controller's SQLite file")
    folder = arena.work / "static"
    folder.mkdir()
    arena.figures.leave_out("static_stability.temporal", UNUSED)
    with mesh(folder, shape) as running, running.control() as control, SteadyLoad(running.router_addresses, MODEL) as load:
        load.settled(time.monotonic())
        for name, victims in outages(running).items():
            _measured(arena, Outage(running=running, control=control, load=load), name, victims)
    figures = arena.figures
    figures.add("static_stability.failed_requests", len(load.failures), "calls")
    figures.add("static_stability.requests", len(load.told), "calls")
    say(f"static: {len(load.told)} calls; load of the machine {os.getloadavg()[0]:.1f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A mesh under load from which something is taken."""

    running: Mesh
    control: Control
    load: SteadyLoad

    def endure(self, victims: Sequence[Killable], seconds: float) -> None:
        """Kill, wait, and bring back."""
        for one in victims:
            one.kill()
        time.sleep(seconds)  # the claim is about this time
        restart(victims)

    def converge(self) -> float:
        """Return how long it takes until a change of traffic is seen by callers of every router."""
        began_at = time.monotonic()
        other = next(one.version for one in reversed(self.load.told) if not one.failure)
        to = next(version for version in VERSIONS if version != other)
        confirmed(lambda: self.control.set_traffic(MODEL, {to: 10_000, other: 0}), len(self.running.routers))
        confirmed_at = time.monotonic()
        self.load.settled(confirmed_at)
        if wrong := [one for one in self.load.since(confirmed_at) if one.version != to and not one.failure]:
            raise SystemExit(f"{len(wrong)} calls after the confirmation were answered by {other}")
        return time.monotonic() - began_at


def outages(running: Mesh) -> Mapping[str, Sequence[Killable]]:
    """Return who is killed, in the order in which they have to come back."""
    database, redis = ([one] if one is not None else [] for one in (running.database, running.redis))
    alone = {"kafka": [running.kafka], "redis": redis, "database": database, "controller": running.controllers}
    there = {name: one for name, one in alone.items() if one}
    return {**there, "all": [one for victims in there.values() for one in victims]}


def _measured(arena: Arena, outage: Outage, name: str, victims: Sequence[Killable]) -> None:
    began_at = time.monotonic()
    outage.endure(victims, arena.outage_seconds)
    seconds = outage.converge()
    mine = outage.load.since(began_at)
    failed = [one for one in mine if one.failure]
    arena.figures.add(f"static_stability.{name}.failed_requests", len(failed), "calls")
    arena.figures.add(f"static_stability.{name}.converge_seconds", seconds, "s")
    arena.figures.add("static_stability.converge_seconds", seconds, "s")
    say(f"static: {name} down for {arena.outage_seconds:g} s: {len(failed)} of {len(mine)} calls failed, converged in {seconds:.2f} s")
    for one in failed[:3]:
        say(f"  at router {one.router}: {one.failure}")
