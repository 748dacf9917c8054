"""What the fronts with a gRPC listener of their own have in common beyond the port: how they close, and rude clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec

import grpc
import grpc.aio
import pytest

from penstock.contracts.errors import GrpcCode
from services.router.column_front import MODULE, ColumnFront, ColumnFrontOptions
from services.router.native_front import NativeFront, NativeFrontOptions
from tests.router.front_cases import Reader, Refusal, answer_to, grpc_client, id_of, request

Listening = NativeFront | ColumnFront
Listen = Callable[[int], Listening]

LISTENERS: dict[str, Listen] = {"native": lambda port: NativeFront(NativeFrontOptions(port=port))}
if find_spec(MODULE) is not None:
    LISTENERS["columns"] = lambda port: ColumnFront(ColumnFrontOptions(port=port))


@pytest.fixture(params=list(LISTENERS))
def listen(request: pytest.FixtureRequest) -> Listen:
    return LISTENERS[request.param]


@pytest.fixture
async def front(listen: Listen) -> AsyncIterator[Listening]:
    async with listen(0) as opened:
        yield opened


async def test_closing_with_calls_in_flight_ends_them_as_unavailable_and_late_answers_are_harmless(listen: Listen):
    front = await listen(0).__aenter__()
    async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        reader = Reader(front)
        waiting = asyncio.ensure_future(call(request()))
        [(call_id, payload, *_)] = await reader.receive()
        reader.stop()
        await front.__aexit__()
        front.respond_many([call_id], [answer_to(payload)])
        with pytest.raises(Refusal) as refused:
            await waiting

    assert refused.value.code == GrpcCode.UNAVAILABLE


@pytest.mark.parametrize("size", [8, 50_000])
async def test_closing_after_a_drain_loses_no_answer(listen: Listen, free_port: int, size: int):
    async with grpc_client(f"127.0.0.1:{free_port}") as (call, _):
        async with listen(free_port) as front:
            reader = Reader(front)
            calls = [asyncio.ensure_future(call(request(f"r{number}", size))) for number in range(300)]
            received = await reader.receive(300)
            drain = asyncio.ensure_future(front.drain(time.monotonic() + 20))
            await asyncio.sleep(0)
            front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])
            await drain
            reader.stop()

        assert [id_of(answer) for answer in await asyncio.gather(*calls)] == [f"r{number}" for number in range(300)]


async def test_a_deadline_that_has_passed_is_told_by_the_front_itself_and_the_call_is_left(front: Listening):
    reader = Reader(front)
    async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        before = time.monotonic()
        waiting = asyncio.ensure_future(call(request(), timeout_seconds=0.1))
        [(call_id, _, _, deadline, _)] = await reader.receive()
        assert await reader.cancellations() == [call_id]
        with pytest.raises(Refusal) as refused:
            await waiting
    reader.stop()

    assert refused.value.code == GrpcCode.DEADLINE_EXCEEDED
    assert deadline <= before + 0.2
    assert front.in_flight == 0


async def test_garbage_on_the_port_harms_nobody(front: Listening):
    reader = Reader(front)
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 1000):
        _, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(garbage)
        await writer.drain()
        writer.close()
    async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        waiting = asyncio.ensure_future(call(request("next")))
        [(call_id, payload, *_)] = await reader.receive()
        front.respond_many([call_id], [answer_to(payload)])

        assert id_of(await waiting) == "next"
    reader.stop()


async def test_metadata_over_the_limit_is_refused_before_it_arrives(front: Listening):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError):
            await infer(request(), metadata=(("x-filler", "x" * 20_000),))

    assert front.in_flight == 0


async def test_answers_of_many_clients_never_mix(front: Listening):
    reader = Reader(front)

    async def client(number: int) -> list[str]:
        async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
            return [id_of(one) for one in await asyncio.gather(*(call(request(f"{number}-{index}")) for index in range(50)))]

    clients = [asyncio.ensure_future(client(number)) for number in range(8)]
    for call_id, payload, *_ in await reader.receive(400):
        front.respond_many([call_id], [answer_to(payload)])

    assert await asyncio.gather(*clients) == [[f"{number}-{index}" for index in range(50)] for number in range(8)]
    reader.stop()


async def test_calls_that_are_answered_or_left_are_forgotten(front: Listening):
    reader = Reader(front)
    async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        calls = [asyncio.ensure_future(call(request())) for _ in range(20)]
        received = await reader.receive(20)
        for waiting in calls[:10]:
            waiting.cancel()
        gone = set(await reader.cancellations(10))
        left = [(call_id, payload) for call_id, payload, *_ in received if call_id not in gone]
        front.respond_many([call_id for call_id, _ in left], [answer_to(payload) for _, payload in left])
        await asyncio.gather(*calls, return_exceptions=True)
    reader.stop()

    assert front.in_flight == 0
