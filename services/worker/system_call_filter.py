"""Refuses system calls to this process and all its threads, for good: a seccomp filter, which needs no power and no namespace.

It is a list of what an examination never does: new processes and programs, sockets, signals to others, opening for writing and other
changes of files, mounts, other processes' memory. What is not on it stays allowed, or every new libc would break it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from services.worker.system_calls import PR_SET_NO_NEW_PRIVS, call, control, this_machine

REFUSED = (
    *("fork", "vfork", "execve", "execveat", "socket", "socketpair", "io_uring_setup"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd"),
    *("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"),
    *("creat", "truncate", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen", "mount_setattr"),
    *("bpf", "perf_event_open", "userfaultfd", "open_by_handle_at", "add_key", "request_key", "keyctl"),
    *("init_module", "finit_module", "kexec_load"),
)
ABSENT = ("clone3", "openat2")
"""Their arguments lie in memory, which a filter cannot read: libc does it by the older call."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_OTHER_NUMBERS = 0x40000000
"""Of the 32-bit numbers on 64-bit machines."""
_CLONE_THREAD = 0x10000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_SET_FILTER = 1

Step = tuple[int, int, int, int]
"""Code, jump when true, jump when false, operand."""


def filter_examination() -> None:
    """Refuse everything that an examination does not need.

    Raises:
        OSError: this kernel has no filters, or the machine's numbers are not known.
    """
    numbers = this_machine().numbers
    own = os.getpid()
    steps = _refusing(REFUSED, errno.EPERM) + _refusing(ABSENT, errno.ENOSYS)
    steps += _guarded(numbers["clone"], 0, (_ANY_BIT, 1, 0, _CLONE_THREAD))
    for name in ("kill", "tgkill"):
        steps += _guarded(numbers[name], 0, (_EQUAL, 1, 0, own))
    for name, place in (("open", 1), ("openat", 2)):
        if name in numbers:
            steps += _guarded(numbers[name], place, (_ANY_BIT, 0, 1, _WRITING))
    install(steps)


def refuse_calls(names: Iterable[str], error: int = errno.EPERM) -> None:
    """Refuse the system calls of those names with an error number.

    Raises:
        OSError: this kernel has no filters, or the machine's numbers are not known.
    """
    install(_refusing(names, error))


def install(steps: list[Step]) -> None:
    """Put the steps, each of which finds the number loaded and leaves it so, before every system call from now on.

    Raises:
        OSError: this kernel has no filters, or the machine's numbers are not known.
    """
    head: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, this_machine().audit_arch),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _OTHER_NUMBERS),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
    ]
    program = [*head, *steps, (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    control(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    call(this_machine().numbers["seccomp"], ctypes.c_uint(_SET_FILTER), ctypes.c_uint(0), described)


def _refusing(names: Iterable[str], error: int) -> list[Step]:
    """Pure: refuse calls; a name that this machine does not have is a call that it does not have either."""
    known = this_machine().numbers
    steps: list[Step] = []
    for name in names:
        if name in known:
            steps += [(_EQUAL, 0, 1, known[name]), (_RETURN, 0, 0, _ERROR | error)]
    return steps


def _guarded(number: int, place: int, test: Step) -> list[Step]:
    """Pure: allow one call only when the test of an argument's low half jumps one step forward, over the refusal."""
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * place),
        test,
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
