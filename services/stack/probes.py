"""One question in each server's own protocol; an answer means that it can be used, an open port does not.

Written on bare sockets, so that waiting for a server needs no client of it. Each returns when the server can be used and raises
`NotReady` with what is missing otherwise.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

ANSWER_SECONDS = 2.0
"""Longest wait for one answer."""

_METADATA = 3
_METADATA_VERSION = 1
_CLIENT = b"penstock"
_PG_PROTOCOL = 3 << 16
_TEMPORAL = b"temporal.api.workflowservice.v1.WorkflowService"
_SERVING = b"\x08\x01"


class NotReady(Exception):
    """The server cannot be used yet; the message says what is missing."""


async def redis_answers(host: str, port: int) -> None:
    """Return when `PING` is answered: not while Redis loads its data."""
    async with _asked(host, port) as (reader, writer):
        writer.write(b"PING\r\n")
        answer = await reader.readline()
    if answer.strip() not in {b"+PONG", b"-NOAUTH Authentication required."}:
        raise NotReady(answer.decode(errors="replace").strip() or "the connection was closed")


async def kafka_answers(host: str, port: int) -> None:
    """Return when `Metadata` names a broker: the broker is registered with its controller and not fenced."""
    head = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, len(_CLIENT)) + _CLIENT
    request = head + struct.pack(">i", 0)  # no topics
    async with _asked(host, port) as (reader, writer):
        writer.write(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = await reader.readexactly(size)
    (brokers,) = struct.unpack_from(">i", answer, 4)
    if brokers < 1:
        raise NotReady("no broker is registered with the controller yet")


async def postgres_answers(host: str, port: int, *, user: str, database: str) -> None:
    """Return when a session can begin; a server that wants a password answers too."""
    words = b"\0".join(text.encode() for text in ("user", user, "database", database)) + b"\0\0"
    async with _asked(host, port) as (reader, writer):
        writer.write(struct.pack(">ii", len(words) + 8, _PG_PROTOCOL) + words)
        kind, size = struct.unpack(">ci", await reader.readexactly(5))
        body = await reader.readexactly(size - 4)
        writer.write(b"X\0\0\0\4")
    if kind != b"R":
        raise NotReady(_postgres_error(body))


async def temporal_answers(host: str, port: int, *, namespace: str) -> None:
    """Return when the frontend is SERVING and knows the namespace."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        try:
            health = await channel.unary_unary("/grpc.health.v1.Health/Check")(_text(_TEMPORAL), timeout=ANSWER_SECONDS)
            if health != _SERVING:
                raise NotReady("the frontend is not SERVING yet")
            describe = f"/{_TEMPORAL.decode()}/DescribeNamespace"
            await channel.unary_unary(describe)(_text(namespace.encode()), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise NotReady(f"{error.code().name}: {(error.details() or '')[:120]}") from None


@asynccontextmanager
async def _asked(host: str, port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                yield reader, writer
            finally:
                writer.close()
    except TimeoutError:
        raise NotReady(f"no answer within {ANSWER_SECONDS:g} s") from None
    except asyncio.IncompleteReadError:
        raise NotReady("the connection was closed") from None
    except OSError as error:
        raise NotReady(error.strerror or str(error)) from None


def _text(value: bytes) -> bytes:
    """Return a message whose first field is this text (protobuf: field 1, length-delimited)."""
    return b"\x0a" + bytes([len(value)]) + value


def _postgres_error(body: bytes) -> str:
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    return fields.get(b"M", b"refused").decode(errors="replace")
