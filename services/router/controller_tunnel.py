"""How gRPC's calls reach a controller over TLS, or by name: through a socket that nobody but this process may enter.

gRPC's own TLS asks for authority and name and for nothing else: not what a certificate is for, not for lists of revoked ones. It takes
SHA-1 and short keys, and has a resolver of its own. So gRPC speaks in the clear to a socket of Linux's abstract names, and each
connection is carried on by one of ours, which is verified before a byte is passed. The kernel says who enters: nobody else may.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from services.chassis.certificates import FollowedTls, named_client_side

if TYPE_CHECKING:
    import ssl

    from services.chassis.certificates import CertificateFiles

CONNECT_SECONDS = 5.0
"""Longest wait for a connection that is verified; a machine that is overrun may need some of it."""
BLOCK_BYTES = 1 << 16

log = structlog.get_logger(__name__)


@asynccontextmanager
async def tunnel(address: str, files: CertificateFiles | None) -> AsyncGenerator[str]:
    """Carry connections to `host:port` while the block lasts; gives out what gRPC is to call in the clear.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key that fit.
        KeyExposed: others may read the key.
    """
    far = _Far(address, FollowedTls(files, _for_grpc) if files is not None else None)
    name = f"penstock-{secrets.token_hex(16)}"
    async with asyncio.TaskGroup() as group:
        carried: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = group.create_task(_carry(reader, writer, far))
            carried.add(task)
            task.add_done_callback(carried.discard)

        server = await asyncio.start_unix_server(accept, f"\0{name}")
        try:
            yield f"unix-abstract:{name}"
        finally:
            server.close()
            for task in carried:
                task.cancel()


class _Far:
    """The other end."""

    def __init__(self, address: str, tls: FollowedTls | None) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._tls = tls

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, and look who answers.

        Raises:
            OSError: nobody does, or somebody else.
        """
        tls = self._tls.context() if self._tls is not None else None
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(self._host, self._port, ssl=tls)


def _for_grpc(files: CertificateFiles) -> ssl.SSLContext:
    context = named_client_side(files)
    context.set_alpn_protocols(["h2"])
    return context


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: _Far) -> None:
    try:
        if not _is_of_this_process(writer.get_extra_info("socket")):
            log.warning("stranger_turned_away", reason="a tunnel to a controller is for this process alone")
            return
        far_reader, far_writer = await far.open()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, far_writer))
                both.create_task(_pass(far_reader, writer))
        finally:
            far_writer.transport.abort()
    except (OSError, RuntimeError, ValueError) as error:  # the last two: a connection that was reset, a name that can be none
        log.debug("controller_not_reached", reason=type(error).__name__)
    finally:
        writer.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side ends, which ends the other."""
    try:
        while block := await source.read(BLOCK_BYTES):
            sink.write(block)
            await sink.drain()
    except (OSError, RuntimeError) as error:  # the latter is uvloop's word for writing to what was reset
        log.debug("controller_connection_lost", reason=type(error).__name__)
    finally:
        sink.close()


def _is_of_this_process(connection: Any) -> bool:
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process_id, user_id, _ = struct.unpack("3i", said)
    return process_id == os.getpid() and user_id == os.geteuid()
