"""System calls that Python has no function for, by ctypes; Linux only."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""What came after the numbers were made the same on all machines."""

PR_SET_NO_NEW_PRIVS = 38
PR_SET_DUMPABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What differs from machine to machine."""

    audit_arch: int
    """As a filter of system calls sees it."""
    numbers: dict[str, int]


X86_64 = Machine(
    audit_arch=0xC000003E,
    numbers={
        "open": 2, "socket": 41, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
        "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "setresuid": 117, "capset": 126,
        "rt_sigqueueinfo": 129, "mknod": 133, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166,
        "init_module": 175, "tkill": 200, "tgkill": 234, "kexec_load": 246, "add_key": 248, "request_key": 249,
        "keyctl": 250, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "unlinkat": 263, "renameat": 264,
        "linkat": 265, "symlinkat": 266, "fchmodat": 268, "unshare": 272, "rt_tgsigqueueinfo": 297, "perf_event_open": 298,
        "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313,
        "renameat2": 316, "seccomp": 317, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    },
)  # fmt: skip
AARCH64 = Machine(
    audit_arch=0xC00000B7,
    numbers={
        "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39,
        "mount": 40, "pivot_root": 41, "truncate": 45, "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54,
        "fchown": 55, "openat": 56, "capset": 91, "unshare": 97, "kexec_load": 104, "init_module": 105, "ptrace": 117,
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "setresuid": 147, "socket": 198, "socketpair": 199,
        "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "finit_module": 273, "renameat2": 276, "seccomp": 277, "bpf": 280, "execveat": 281, "userfaultfd": 282,
    },
)  # fmt: skip
EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": OPEN_TREE, "move_mount": MOVE_MOUNT, "fsopen": 430,
    "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": MOUNT_SETATTR,
    "landlock_create_ruleset": LANDLOCK_CREATE_RULESET, "fchmodat2": 452,
}  # fmt: skip


def this_machine() -> Machine:
    """Return the numbers of this machine.

    Raises:
        OSError: they are not known.
    """
    known = {"x86_64": X86_64, "aarch64": AARCH64}.get(platform.machine())
    if known is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(errno.ENOSYS, f"the system calls of {platform.machine()} are not known here")
    return Machine(audit_arch=known.audit_arch, numbers=known.numbers | EVERYWHERE)


def call(number: int, *arguments: object) -> int:
    """Make a system call.

    Raises:
        OSError: it failed.
    """
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def control(option: int, *arguments: object) -> int:
    """Call prctl(2).

    Raises:
        OSError: it failed.
    """
    filled = (*arguments, *(ctypes.c_ulong(0) for _ in range(4 - len(arguments))))
    return _checked(_libc.prctl(option, *filled))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones.

    Raises:
        OSError: it is not allowed.
    """
    _checked(_libc.unshare(flags))


def drop_capabilities() -> None:
    """Give up all powers that a user has beyond its files, root's as well.

    Raises:
        OSError: it failed.
    """
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call(this_machine().numbers["capset"], ctypes.byref(header), ctypes.byref(sets))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
