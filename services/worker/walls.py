"""The walls around an examination, raised by the examining process around itself before it reads a byte of the version.

    limits             memory, processor time, open files, no file grows, no core is written
    own_namespaces     no network but its own, which is empty; IPC and mounts of its own
    own_view           it sees Python, its packages, the machine's libraries, the one model folder, /proc/self; all read-only
    own_user           a user id that nobody else has: where the service is root
    own_task_limit     processes and threads, counted for this process alone
    landlock           reads below the paths of own_view alone, whatever is mounted
    system_calls       no process, program, socket, signal to others, writing
    no_new_privileges

A kernel, a container or a plain user does not have all of them. Each is tried; what stands and what does not, and why, is told.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis.parentage import die_with_parent
from services.worker.landlock import read_only_below
from services.worker.own_view import go_apart, see_only
from services.worker.system_call_filter import filter_examination
from services.worker.system_calls import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, control, drop_capabilities

FIRST_USER = 2_000_000_000
"""User ids from here are in no range that systems give out; one is this plus the process id."""
FALLBACK_USER = 65534
"""Where user ids end early, as in containers of plain users: nobody's."""
LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")
OF_THE_MACHINE = ("/sys/devices/system/cpu", "/dev/null", "/dev/urandom")
CODE = Path(__file__).absolute().parents[2]


@dataclass(slots=True)
class Walls:
    """Which walls stand."""

    standing: list[str] = field(default_factory=list[str])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """Why, by name."""

    def raised(self, name: str, work: Callable[[], object]) -> bool:
        """Try to raise one, and say whether it stands."""
        try:
            work()
        except OSError as error:
            self.missing[name] = error.strerror or str(error)
            return False
        self.standing.append(name)
        return True


def raise_walls(folder: Path, limits: Mapping[str, int]) -> Walls:
    """Give up what an examination of a folder does not need, never to be had back; tell which walls stand.

    The process must have one thread. `limits` are memory_bytes, cpu_seconds, open_files and tasks.
    """
    walls, paths = Walls(), visible_paths(folder)
    user = _lent(folder)
    if walls.raised("own_namespaces", go_apart):
        walls.raised("own_view", lambda: see_only(paths))
    else:
        walls.missing["own_view"] = walls.missing["own_namespaces"]
    walls.raised("own_user", lambda: _become(user, paths))
    die_with_parent()  # another user is not bound to the parent any more
    walls.raised("limits", lambda: lower_limits(limits))
    walls.raised("own_task_limit", lambda: _limit_tasks(limits["tasks"]))
    walls.raised("no_new_privileges", _end_privileges)
    walls.raised("landlock", lambda: read_only_below(paths, listed=(str(CODE),)))
    walls.raised("system_calls", filter_examination)
    return walls


def visible_paths(folder: Path) -> tuple[str, ...]:
    """Return what an examination has to read: libraries, Python and its packages, this code, the folder; none within another."""
    known = sysconfig.get_paths()
    python = [Path(sys.prefix, "lib"), Path(sys.base_prefix, "lib"), *(Path(known[one]) for one in ("stdlib", "platstdlib"))]
    # A checkout holds more than packages, perhaps even the service's state: of it only what is imported.
    packages = [Path(one) for one in sys.path if one and Path(one).absolute() != CODE]
    packages += [Path(known["purelib"]), Path(known["platlib"]), CODE / "services", CODE / "penstock"]
    paths = [*map(Path, (*LIBRARIES, *OF_THE_MACHINE)), *python, *packages, folder]
    wanted = {os.path.abspath(path) for path in paths if _is_there(path)} - {"/"}  # noqa: PTH100  links on the way stay
    return tuple(path for path in sorted(wanted) if not any(str(above) in wanted for above in Path(path).parents))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def lower_limits(limits: Mapping[str, int]) -> None:
    """Lower what this process may use of the machine."""
    _lower(resource.RLIMIT_AS, limits["memory_bytes"])
    _lower(resource.RLIMIT_CPU, limits["cpu_seconds"])
    _lower(resource.RLIMIT_NOFILE, limits["open_files"])
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    lowest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _lent(folder: Path) -> int | None:
    """Let a user that owns nothing read a folder as its group, and return its id; None when this process may not."""
    if os.geteuid() != 0:
        return None
    user = FIRST_USER + os.getpid() if _has_group(folder, FIRST_USER + os.getpid()) else FALLBACK_USER
    try:
        for path in (folder, *folder.rglob("*")):
            _lend(path, user)
    except OSError:
        return None  # a link, for example: whoever examines says so
    return user


def _has_group(folder: Path, group: int) -> bool:
    try:
        os.chown(folder, -1, group)
    except OSError:
        return False
    return True


def _lend(path: Path, group: int) -> None:
    """Let a group read a path; its owner and what its owner may stay."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode | (mode & 0o500) >> 3)
    finally:
        os.close(descriptor)


def _become(user: int | None, paths: Iterable[str]) -> None:
    """Become that user.

    Raises:
        OSError: this process may not, or the user could not read what an examination needs.
    """
    if user is None:
        raise PermissionError(1, "the service is not root, or may not lend the folder")
    os.setgroups(())
    _check_readable(paths, user)
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    control(PR_SET_DUMPABLE, ctypes.c_ulong(1))  # else /proc/self stays root's; a core is not written all the same


def _check_readable(paths: Iterable[str], user: int) -> None:
    """Refuse a user that could not read what the examination has to.

    Raises:
        OSError: it could not.
    """
    os.setegid(user)
    os.seteuid(user)
    try:
        unreadable = [path for path in paths if not os.access(path, os.R_OK, effective_ids=True)]
    finally:
        os.seteuid(0)
        os.setegid(0)
    if unreadable:
        raise PermissionError(13, f"another user could not read {unreadable[0]}")


def _limit_tasks(most: int) -> None:
    """Limit processes and threads, if the kernel counts this process's own alone.

    It counts by user, and since Linux 5.14 within a user namespace. A count that others share would refuse threads here because of what
    they do, and root is not limited at all: so both is tried out before the limit counts for a wall.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if _can_fork(1, hard):
        raise PermissionError(1, "the kernel does not limit this user")
    if not _can_fork(2, hard):
        raise PermissionError(1, "other processes count for this user, too")
    _lower(resource.RLIMIT_NPROC, most)


def _can_fork(limit: int, hard: int) -> bool:
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
    try:
        child = os.fork()
    except BlockingIOError:
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def _end_privileges() -> None:
    drop_capabilities()
    control(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
