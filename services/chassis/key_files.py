"""Files of private keys: a key that others may read is not used.

The rule is that of PostgreSQL's clients: mode 0600 or less, or 0640 where the file is root's. A process that is not root has no other way
to a key that root gives it (Kubernetes mounts a secret as root's, for the pod's `fsGroup` to read; Debian keeps keys for the group
ssl-cert), and who is in a group of root's files is for root to say.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from services.chassis.process import CannotStart

Stamps = tuple[tuple[int, int, int, int], ...]


class KeyExposed(CannotStart, PermissionError):
    """Others than its owner may read a private key; at start it ends the process, later the key before it stays in force."""


def check_key(path: Path) -> None:
    """Refuse a key that others may read.

    Raises:
        KeyExposed: they may.
        OSError: there is no such file.
    """
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if is_exposed(mode, found.st_uid):
        raise KeyExposed(f"the private key {path} has mode {mode:04o}, so that others may read it: chmod 600 {path}")


def is_exposed(mode: int, owner_id: int) -> bool:
    """Pure: whether a file of this mode and owner is open to others than those a key is for."""
    allowed = stat.S_IRWXU | stat.S_IRGRP if owner_id == 0 else stat.S_IRWXU
    return mode & 0o777 & ~allowed != 0


def stamps(paths: Iterable[Path | None]) -> Stamps:
    """Return what changes when one of the files is replaced, written or given another mode.

    Raises:
        OSError: a file is not there.
    """
    found = (path.stat() for path in paths if path is not None)
    # The size too: what is written in two steps within a tick of the clock has one time.
    return tuple((one.st_mtime_ns, one.st_ino, one.st_mode, one.st_size) for one in found)
