"""`python -P -S -m services.chassis.launch [--user NAME] [--nice N] -- COMMAND …`: becomes a program of others that dies with its parent.

What such a program cannot do for itself is done before it: it takes the user's rights, binds itself to the parent, and only then is
executed, under the same process id.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from services.chassis.parentage import die_with_parent

EXIT_NOT_EXECUTABLE = 127


def bound(command: Sequence[str], *, user: str | None = None, nice: int = 0) -> tuple[str, ...]:
    """Return the command that runs `command` bound to the parent; its environment needs `python_path()` as PYTHONPATH."""
    options = (*(("--user", user) if user else ()), *(("--nice", str(nice)) if nice else ()))
    return (sys.executable, "-P", "-S", "-m", "services.chassis.launch", *options, "--", *command)


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
        sys.exit(EXIT_NOT_EXECUTABLE)


def _split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    at = arguments.index("--")
    return dict(zip(arguments[:at:2], arguments[1:at:2], strict=True)), list(arguments[at + 1 :])


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME="/", USER=user, LOGNAME=user)


if __name__ == "__main__":
    launch(sys.argv[1:])
