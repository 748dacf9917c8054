"""A child and its parent: dying together, and telling a living process from a stranger that was given its id later.

Small on purpose: `services.chassis.launch` imports it before it becomes a server that is none of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

PARENT_VARIABLE = "PENSTOCK_PARENT_PID"
"""Environment variable in which a parent tells its children that they are to die with it."""

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHANED = 1


def die_with_parent() -> None:
    """Be killed when the process named in PENSTOCK_PARENT_PID dies; without that variable do nothing.

    Call it first of all: a parent that died before the call is noticed by the parent id, and ends the process at once. To the kernel
    the parent is the thread that started this process. What changes user or group has to do so before: that unbinds (prctl(2)).
    """
    expected = os.environ.get(PARENT_VARIABLE)
    if expected is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if str(os.getppid()) != expected:
        os.write(2, f"error: the parent process {expected} ({PARENT_VARIABLE}) is gone\n".encode())
        os._exit(_EXIT_ORPHANED)


def start_ticks(process_id: int) -> int:
    """Return when a process started, in clock ticks since the machine did; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
