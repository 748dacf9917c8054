"""How long a version that was rolled back goes on answering, seen by callers of every router.

A change's time runs from when the client asked for it to the last answer by the old version at any router. An answer to a call that was
sent after the confirmation of all routers, and that the old version gave, is counted apart: there must be none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.arena import Arena
from bench.figures import Figures
from bench.mesh import MODEL, VERSIONS, Mesh, Shape, mesh
from bench.mesh_load import SteadyLoad, Told
from bench.report import say
from penstock.client.control import Control

SHAPE = Shape(routers=4, workers=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change that every router was to confirm; times are monotonic seconds."""

    kind: str
    """`rollback` or `flip`."""
    old: str
    asked_at: float
    confirmed_at: float
    confirmations: int

    def seconds(self, told: Sequence[Told], until: float) -> float:
        """Return the time to the last answer by the old version; what was answered after `until` is another change's."""
        late = [one.answered_at for one in told if one.version == self.old and self.asked_at < one.answered_at < until]
        return max(late, default=self.asked_at) - self.asked_at

    def after(self, told: Sequence[Told], until: float) -> int:
        """Return how many calls, sent after the confirmation, the old version answered."""
        return sum(one.version == self.old and self.confirmed_at < one.sent_at < until for one in told)


def rollback(arena: Arena) -> None:
    """Flip and roll back under load, so often as the arena says."""
    folder = arena.work / "rollback"
    folder.mkdir()
    with mesh(folder, SHAPE) as running:
        changes, load = flipped(running, arena.flips)
    note(arena.figures, changes, load.told, SHAPE.routers)
    say(f"rollback: {arena.flips} times there and back, {len(load.told)} calls; load of the machine {os.getloadavg()[0]:.1f}")


def flipped(running: Mesh, times: int) -> tuple[list[Change], SteadyLoad]:
    """Move all the traffic to the second version and roll it back, again and again, under load."""
    changes: list[Change] = []
    with running.control() as control, SteadyLoad(running.router_addresses, MODEL) as load:
        load.settled(time.monotonic())
        for _ in range(times):
            changes.append(_changed("flip", "v1", lambda: _flip(control)))
            load.settled(changes[-1].confirmed_at)
            changes.append(_changed("rollback", "v2", lambda: control.rollback(MODEL)))
            load.settled(changes[-1].confirmed_at)
    return changes, load


def _flip(control: Control) -> Any:
    return control.set_traffic(MODEL, {"v1": 0, "v2": 10_000})


def _changed(kind: str, old: str, change: Callable[[], Any]) -> Change:
    asked_at = time.monotonic()
    answer = change()
    confirmations = sum(one.seconds >= 0 for one in answer.confirmations)
    return Change(kind=kind, old=old, asked_at=asked_at, confirmed_at=time.monotonic(), confirmations=confirmations)


def note(figures: Figures, changes: Sequence[Change], told: Sequence[Told], routers: int) -> None:
    """Sum up a run."""
    ends = [*(one.asked_at for one in changes[1:]), float("inf")]
    for kind, place in (("rollback", "rollback"), ("flip", "rollback.flip")):
        mine = [(change, end) for change, end in zip(changes, ends, strict=True) if change.kind == kind]
        seconds = sorted(change.seconds(told, end) for change, end in mine)
        figures.add(f"{place}.p50_seconds", seconds[len(seconds) // 2], "s")
        figures.add(f"{place}.p99_seconds", seconds[min(len(seconds) * 99 // 100, len(seconds) - 1)], "s")
        figures.add(f"{place}.after_confirmation", sum(change.after(told, end) for change, end in mine), "calls")
        answered = sorted(change.confirmed_at - change.asked_at for change, _ in mine)
        figures.add(f"{place}.confirmed_p99_seconds", answered[min(len(answered) * 99 // 100, len(answered) - 1)], "s")
    figures.add("rollback.failed_requests", sum(bool(one.failure) for one in told), "calls")
    figures.add("rollback.wrong_answers", sum(not one.failure and VERSIONS[one.version] != one.value for one in told), "calls")
    figures.add("rollback.unconfirmed", sum(change.confirmations < routers for change in changes), "changes")
