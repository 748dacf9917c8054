"""Folders of state: made for their owner only, and used by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from services.chassis.process import CannotStart

SOCKET_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux (sockaddr_un without its zero)."""


def check_socket_paths(path: Path, longest: str) -> None:
    """Refuse a folder in which the path of a Unix socket would be too long.

    Args:
        path: the folder of state.
        longest: the longest name of a socket, from that folder on.

    Raises:
        CannotStart: with the bytes that it would need.
    """
    needed = len(os.fsencode(path / longest))
    if needed > SOCKET_PATH_BYTES:
        message = f"the state folder {path} is too long: Unix sockets in it would need {needed} of {SOCKET_PATH_BYTES} bytes"
        raise CannotStart(message + "; name a shorter one with --state-dir")


def make_private(path: Path) -> None:
    """Make a folder that only its owner may enter.

    Raises:
        CannotStart: it cannot be made, belongs to somebody else, or is a link.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_ours = path.lstat().st_uid == os.geteuid() and not path.is_symlink()
        if is_ours:
            path.chmod(0o700)
    except OSError as error:
        raise CannotStart(f"cannot make the folder {path}: {error.strerror}; name another one with --state-dir") from None
    if not is_ours:
        raise CannotStart(f"the folder {path} belongs to somebody else or is a link: name another one with --state-dir")


@contextmanager
def locked(path: Path, user: str) -> Generator[None]:
    """Hold a folder until the block ends, by flock on its `.lock`, which a killed process lets go of.

    Args:
        path: the folder.
        user: what uses it, for the error: "serve", "up".

    Raises:
        CannotStart: another process holds it.
    """
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"another {user} uses the folder {path}: stop it, or name another one with --state-dir") from None
        yield
    finally:
        os.close(descriptor)
