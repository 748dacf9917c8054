"""Checks of the machine: interpreter, processors, memory, clock, limits, disks.

Each `judge_…` is given the figures and decides; the functions at the end read them from the system.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.cli.findings import Finding, broken, fine, note, warning

OLDEST_PYTHON = (3, 11)
FILES_WANTED = 4096
"""Open files: a connection takes one, and a router has thousands of them."""
MEMORY_WANTED = 1 << 30
SHARED_MEMORY = "/dev/shm"  # noqa: S108  looked at, not used
SHARED_MEMORY_WANTED = 64 << 20
DISK_WANTED, DISK_NEEDED = 1 << 30, 100 << 20

_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
_GIB = 1 << 30


def machine_findings(folder: Path) -> Iterator[Finding]:
    """Check this machine; `folder` is where servers keep their sockets and records."""
    yield judge_python(sys.version_info[:3])
    yield judge_platform(platform.system(), platform.machine())
    yield judge_cores(len(os.sched_getaffinity(0)), cpu_quota())
    yield judge_memory(*memory_bytes())
    yield judge_clock(clock_state())
    yield judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield judge_shared_memory(free_bytes(Path(SHARED_MEMORY)))
    by_device = {path.stat().st_dev: path for path in (existing(folder), existing(Path.cwd()))}
    for path in by_device.values():
        yield judge_disk(path, free_bytes(path))


def judge_python(version: tuple[int, ...]) -> Finding:
    """Judge the interpreter."""
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return broken("python", f"{text} is too old", f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return fine("python", text)


def judge_platform(system: str, machine: str) -> Finding:
    """Judge operating system and architecture."""
    text = f"{system} on {machine}"
    if system != "Linux":
        return broken("platform", f"{text}: servers run on Linux", "serve on Linux or in a Linux container; the client runs here")
    if machine not in {"x86_64", "aarch64"}:
        return warning("platform", f"{text}: packages may lack wheels", "use x86_64 or aarch64")
    return fine("platform", text)


def judge_cores(usable: int, quota: float | None) -> Finding:
    """Judge the processors; `quota` is the container's limit in cores."""
    text = f"{usable} usable" + (f", limited to {quota:g} by the container" if quota is not None else "")
    if min(usable, quota or usable) < 2:
        return warning("cores", f"{text}: router and worker share one", "give the container or the machine 2 cores or more")
    return fine("cores", text)


def judge_memory(available: int, total: int) -> Finding:
    """Judge the memory in bytes."""
    text = f"{available / _GIB:.1f} of {total / _GIB:.1f} GiB available"
    return (
        fine("memory", text)
        if available >= MEMORY_WANTED
        else warning("memory", text, "free memory, or bound models with --memory-budget-bytes")
    )


def judge_clock(state: int | None) -> Finding:
    """Judge what adjtimex returned; None where it cannot be asked."""
    if state is None:
        return note("clock", "cannot be asked here")
    if state == _UNSYNCHRONISED:
        # Deadlines run on the monotonic clock; only logs and traces of several machines suffer.
        return warning("clock", "not synchronised: times of logs and traces differ between machines", "timedatectl set-ntp true")
    return fine("clock", "synchronised")


def judge_open_files(soft: int, hard: int) -> Finding:
    """Judge the limit of open files."""
    if soft != resource.RLIM_INFINITY and soft < FILES_WANTED:
        reachable = FILES_WANTED * 4 if hard == resource.RLIM_INFINITY else max(min(hard, FILES_WANTED * 4), soft)
        return warning("open files", f"at most {soft}: so many connections, less some", f"ulimit -n {reachable}")
    return fine("open files", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def judge_shared_memory(free: int | None) -> Finding:
    """Judge the shared memory by its free bytes; None when there is none."""
    if free is None:
        return warning(SHARED_MEMORY, "is not there", f"mount a tmpfs at {SHARED_MEMORY}")
    text = f"{free / (1 << 20):,.0f} MiB free"
    if free < SHARED_MEMORY_WANTED:
        return warning(SHARED_MEMORY, text, "docker run --shm-size=256m, or empty it")
    return fine(SHARED_MEMORY, text)


def judge_disk(path: Path, free: int | None) -> Finding:
    """Judge the disk of a folder by its free bytes."""
    if free is None:
        return broken("disk", f"{path} cannot be read", f"ls -ld {path}")
    text = f"{free / _GIB:.1f} GiB free at {path}"
    if free < DISK_NEEDED:
        return broken("disk", text, f"make room: du -xh --max-depth=1 {path} | sort -h")
    return fine("disk", text) if free >= DISK_WANTED else warning("disk", text, f"make room: du -xh --max-depth=1 {path} | sort -h")


# --- figures ----------------------------------------------------------------------------------------------------------------------


def cpu_quota() -> float | None:
    """Return the container's limit in cores; None when there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory_bytes() -> tuple[int, int]:
    """Return available and total memory, within the container's limit."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available, total = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available, total
    return min(available, max(limit - used, 0)), min(total, limit)


def clock_state() -> int | None:
    """Return the state that adjtimex(2) tells; None where there is no such call."""
    try:
        # Larger than struct timex on any platform; modes 0 only reads.
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


def free_bytes(path: Path) -> int | None:
    """Return the free bytes of a file system; None when the folder is not there."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def existing(path: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((one for one in (path, *path.parents) if one.exists()), path)
