"""How a life of a child process ended, in values and in words."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum


class Death(Enum):
    """Why a life ended."""

    ENDED = "ended when it was asked to"
    CRASHED = "crashed"
    KILLED = "killed from outside"
    OUT_OF_MEMORY = "killed for lack of memory"
    HUNG = "hung: its event loop stood still"
    STOPPED = "stopped by somebody and not continued in time"


OUTSIDE_SIGNALS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that a person or the machine sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How one life of a child ended."""

    name: str
    process_id: int
    status: int
    """Exit code, or minus the signal."""
    lived_seconds: float
    out_of_memory_kills: int
    """Processes that the kernel killed for lack of memory, on the whole machine, during this life."""
    killed_for: Death | None = None
    """Why the supervisor itself killed it; None when it did not."""

    @property
    def death(self) -> Death:
        """Why it ended, as far as can be seen from outside."""
        if self.killed_for is not None:
            return self.killed_for
        if self.status == -signal.SIGKILL and self.out_of_memory_kills > 0:
            return Death.OUT_OF_MEMORY
        if self.status == 0:
            return Death.ENDED
        return Death.KILLED if -self.status in OUTSIDE_SIGNALS else Death.CRASHED

    @property
    def cause(self) -> str:
        """The same in words."""
        return describe(self.status) if self.death in _PLAIN else self.death.value


_PLAIN = frozenset({Death.ENDED, Death.CRASHED, Death.KILLED})


def describe(status: int) -> str:
    """Return the signal's name or the exit code in words."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
