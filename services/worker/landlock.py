"""Reading below some paths, and nothing else of the file system, the network or other processes: Landlock, which needs no power."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from services.worker.system_calls import LANDLOCK_ADD_RULE, LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF, call

_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights, by the version that first had so many."""
_NETWORK, _NETWORK_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6


def read_only_below(paths: Iterable[str], listed: Iterable[str] = ()) -> None:
    """Allow this process to read below `paths` and to list folders below `listed`; where the kernel can, refuse TCP and signals to others.

    Raises:
        OSError: this kernel has no Landlock, or does not use it.
    """
    version = call(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    rights = max(value for since, value in _FILE_RIGHTS.items() if since <= version)
    rules = struct.pack("=Q", rights)
    if version >= _NETWORK_SINCE:
        rules += struct.pack("=Q", _NETWORK)
    if version >= _SCOPES_SINCE:
        rules += struct.pack("=Q", _SCOPES)
    ruleset = call(LANDLOCK_CREATE_RULESET, ctypes.create_string_buffer(rules, len(rules)), ctypes.c_size_t(len(rules)), ctypes.c_uint32(0))
    try:
        for path in paths:
            _allow(ruleset, path, _READ_FILE | _READ_FOLDER)
        for path in listed:
            _allow(ruleset, path, _READ_FOLDER)
        call(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be reached needs no right
    try:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = struct.pack("=Qi", rights if is_folder else rights & _READ_FILE, descriptor)
        call(LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.create_string_buffer(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
