"""Ends children that are alive and do nothing any more: stopped, or in native code that keeps the GIL.

Routers notice such a worker within half a second and send its requests elsewhere, but nobody except its parent can end it. A router
that hangs is worse: the kernel goes on giving it its share of new connections (SO_REUSEPORT knows of no health), and only its end takes
it out of the group. So every child beats (`services/chassis/heartbeat.py`), and one that has not for `limit_seconds` is killed and
started again like any other that died.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.chassis.child import Child
from services.chassis.clock import Clock
from services.chassis.death import Death
from services.chassis.heartbeat import Beat

LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pulse:
    """How long a child has given no sign. Pure: counts looks, not seconds, for a machine that was frozen froze the child as well."""

    beat: Beat | None = None
    quiet_looks: int = 0

    def look(self, process_id: int | None, beat: Beat | None) -> float:
        """Take what the file says now; return the seconds of silence, 0 for a life that has not begun to beat."""
        if beat is None or beat.process_id != process_id or beat != self.beat:
            self.beat, self.quiet_looks = beat, 0
        else:
            self.quiet_looks += 1
        return self.quiet_looks * LOOK_SECONDS


class HangWatch:
    """Looks at the children's signs of life."""

    def __init__(self, children: Sequence[Child], read: Callable[[str], Beat | None], clock: Clock, *, limit_seconds: float) -> None:
        """Store the arguments; `read` returns the last beat of a child by its name, a limit of 0 never kills."""
        self._pulses = [(child, Pulse()) for child in children]
        self._read = read
        self._clock = clock
        self._limit_seconds = limit_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        while self._limit_seconds:
            await self._clock.sleep(LOOK_SECONDS)
            for child, pulse in self._pulses:
                silent_seconds = pulse.look(child.process_id, self._read(child.spec.name))
                if silent_seconds >= self._limit_seconds:
                    pulse.quiet_looks = 0
                    self._end(child, silent_seconds)

    def _end(self, child: Child, silent_seconds: float) -> None:
        cause = Death.STOPPED if is_stopped(child.process_id) else Death.HUNG
        log.error("child_hung", child=child.spec.name, silent_seconds=silent_seconds, cause=cause.value)
        child.kill(cause)


def is_stopped(process_id: int | None) -> bool:
    """Say whether somebody has stopped a process (SIGSTOP, a debugger): then nothing that it runs is to blame."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
    except OSError:
        return False
