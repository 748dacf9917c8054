"""Namespaces of this process's own, and in them a file system that holds a few folders of the machine's, all read-only."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from services.worker.system_calls import MOUNT_SETATTR, MOVE_MOUNT, OPEN_TREE, call, this_machine, unshare

_NEW_MOUNTS, _NEW_USER, _NEW_IPC, _NEW_HOST, _NEW_NETWORK = 0x20000, 0x10000000, 0x8000000, 0x4000000, 0x40000000
_APART = _NEW_MOUNTS | _NEW_IPC | _NEW_HOST | _NEW_NETWORK
_HERE = -100
_CLONE_TREE, _WHOLE_TREE, _EMPTY_PATH = 1, 0x8000, 0x1000
_READ_ONLY_PLAIN = 0b111
"""Read-only, no set-uid, no devices."""
_RECURSIVELY_PRIVATE = 0x4000 | 1 << 18
_FROM_EMPTY_PATH = 0x4
_DETACH = 2
_ITSELF = "/proc/self"
"""Of processes it sees itself: ONNX Runtime asks /proc/self/fd where a file of weights lies, and takes none without an answer."""
_COVERED = "/proc"
"""Where the new root is mounted before it is the root: a folder that every machine has and nothing here lies in."""


def go_apart() -> bool:
    """Leave the machine's network, mounts and IPC; say whether that took a user namespace.

    Raises:
        OSError: this process may not.
    """
    try:
        unshare(_APART)
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        unshare(_APART | _NEW_USER)
        with suppress(FileNotFoundError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        return True
    return False


def see_only(paths: Iterable[str]) -> None:
    """Make a file system of these paths and of /proc/self the root; all can be read alone. Call it after `go_apart`.

    Raises:
        OSError: the kernel does not do it; nothing of the machine's own file system has changed.
    """
    numbers = this_machine().numbers
    call(numbers["mount"], None, b"/", None, ctypes.c_ulong(_RECURSIVELY_PRIVATE), None)
    trees = [(path, _cloned(path)) for path in paths] + [(_ITSELF, _cloned(f"/proc/{os.getpid()}"))]
    try:
        call(numbers["mount"], b"none", _COVERED.encode(), b"tmpfs", ctypes.c_ulong(0), b"mode=0755,size=1m")
        for path, tree in trees:
            _place(tree, path)
        os.chdir(_COVERED)
        call(numbers["pivot_root"], b".", b".")
        call(numbers["umount2"], b".", ctypes.c_int(_DETACH))
        os.chdir("/")
        _set_read_only(_HERE, b"/", 0)
    finally:
        for _, tree in trees:
            os.close(tree)


def _cloned(path: str) -> int:
    flags = _CLONE_TREE | _WHOLE_TREE | os.O_CLOEXEC
    tree = call(OPEN_TREE, ctypes.c_int(_HERE), path.encode(), ctypes.c_uint(flags))
    _set_read_only(tree, b"", _EMPTY_PATH | _WHOLE_TREE)
    return tree


def _place(tree: int, path: str) -> None:
    target = Path(_COVERED + path)
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    call(MOVE_MOUNT, ctypes.c_int(tree), b"", ctypes.c_int(_HERE), os.fsencode(target), ctypes.c_uint(_FROM_EMPTY_PATH))


def _set_read_only(folder: int, path: bytes, flags: int) -> None:
    wanted = struct.pack("=QQQQ", _READ_ONLY_PLAIN, 0, 0, 0)
    buffer = ctypes.create_string_buffer(wanted, len(wanted))
    call(MOUNT_SETATTR, ctypes.c_int(folder), path, ctypes.c_uint(flags), buffer, ctypes.c_size_t(len(wanted)))
