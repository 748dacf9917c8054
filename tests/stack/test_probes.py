"""A probe believes an answer in the server's own protocol, and nothing less."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from services.stack.probes import NotReady, kafka_answers, postgres_answers, redis_answers, temporal_answers

Probe = Callable[[str, int], Awaitable[None]]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """Serve one fixed answer to whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def postgres(host: str, port: int) -> None:
    await postgres_answers(host, port, user="penstock", database="penstock")


async def temporal(host: str, port: int) -> None:
    await temporal_answers(host, port, namespace="default")


def kafka_metadata(brokers: int) -> bytes:
    body = struct.pack(">ii", 1, brokers) + b"\0" * 30
    return struct.pack(">i", len(body)) + body


def postgres_message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


@pytest.mark.parametrize(
    ("probe", "answer"),
    [
        (redis_answers, b"+PONG\r\n"),
        (redis_answers, b"-NOAUTH Authentication required.\r\n"),
        (kafka_answers, kafka_metadata(1)),
        (postgres, postgres_message(b"R", struct.pack(">i", 0))),
        (postgres, postgres_message(b"R", struct.pack(">i", 10) + b"SCRAM-SHA-256\0\0")),
    ],
)
async def test_an_answer_is_believed(probe: Probe, answer: bytes):
    async with answering(answer) as port:
        await probe("127.0.0.1", port)


@pytest.mark.parametrize(
    ("probe", "answer", "missing"),
    [
        (redis_answers, b"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"),
        (redis_answers, b"", "closed"),
        (kafka_answers, kafka_metadata(0), "no broker is registered"),
        (kafka_answers, b"", "closed"),
        (postgres, postgres_message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"), "is starting up"),
        (postgres, b"R", "closed"),
        (temporal, b"HTTP/1.1 400 Bad Request\r\n\r\n", "UNAVAILABLE"),
    ],
)
async def test_anything_else_says_what_is_missing(probe: Probe, answer: bytes, missing: str):
    async with answering(answer) as port:
        with pytest.raises(NotReady, match=missing):
            await probe("127.0.0.1", port)


@pytest.mark.parametrize("probe", [redis_answers, kafka_answers, postgres, temporal])
async def test_nobody_there_is_not_ready(probe: Probe, free_port: int):
    with pytest.raises(NotReady):
        await probe("127.0.0.1", free_port)


async def test_a_temporal_that_does_not_serve_yet_is_not_ready(free_port: int):
    async def not_serving(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return b"\x08\x02"

    server = grpc.aio.server()
    methods = {"Check": grpc.unary_unary_rpc_method_handler(not_serving)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),))
    server.add_insecure_port(f"127.0.0.1:{free_port}")
    await server.start()
    try:
        with pytest.raises(NotReady, match="not SERVING"):
            await temporal("127.0.0.1", free_port)
    finally:
        await server.stop(None)
