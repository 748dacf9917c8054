"""A child and its parent: dying together, and telling a living process from a stranger that was given its id later.

Run as a file, `python -I -S parentage.py [--user NAME] [--nice N] -- COMMAND …`, it becomes a program of others that dies with its
parent. What such a program cannot do for itself is done before it: it takes the user's rights, binds itself to the parent, and only
then is executed, under the same process id. The standard library is all that this file may import.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PARENT_VARIABLE = "PENSTOCK_PARENT_PID"
"""Environment variable in which a parent tells its children that they are to die with it."""

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHANED = 1
_EXIT_NOT_EXECUTABLE = 127


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
    """Return when a process started, in clock ticks since the machine did; 0 when it is gone, or only its parent has yet to look."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])


def bound(command: Sequence[str], *, user: str | None = None, nice: int = 0) -> tuple[str, ...]:
    """Return the command that runs `command` bound to its parent, as another user and with less of the machine where told."""
    options = (*(("--user", user) if user else ()), *(("--nice", str(nice)) if nice else ()))
    return (sys.executable, "-I", "-S", str(Path(__file__).absolute()), *options, "--", *command)


def python_path() -> str:
    """Return PYTHONPATH for children: the folder that holds `services`, before what is there already."""
    root = str(Path(__file__).absolute().parents[2])
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != root]
    return os.pathsep.join([root, *others])


def launch(arguments: Sequence[str]) -> None:
    """Become the command; returns only by exiting when it cannot be executed."""
    options, command = _split(arguments)
    if "--nice" in options:
        os.nice(int(options["--nice"]))
    if "--user" in options:
        _become(options["--user"])
    die_with_parent()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored stays so across exec
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell: arguments stay what they are
    except OSError as error:
        sys.stderr.write(f"error: cannot run {command[0]}: {error.strerror}\n")
        sys.exit(_EXIT_NOT_EXECUTABLE)


def _split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    at = arguments.index("--")
    return dict(zip(arguments[:at:2], arguments[1:at:2], strict=True)), list(arguments[at + 1 :])


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.chdir("/")  # the present folder may be one that the user cannot enter
    os.environ.update(HOME="/", USER=user, LOGNAME=user)


if __name__ == "__main__":
    launch(sys.argv[1:])
