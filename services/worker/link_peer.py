"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct


def is_same_user(peer: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket runs as this process's user, or as root."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user_id, _ = struct.unpack("3i", credentials)
    return user_id in (os.getuid(), 0)
