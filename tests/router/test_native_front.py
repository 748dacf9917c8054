"""What is the native front's own: limits, its pump, and what happens to it under a rude client."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from penstock.contracts.errors import GrpcCode
from services.router.front import Wave
from services.router.native_front import NativeFront, NativeFrontOptions
from tests.router.front_cases import Limits, Reader, Refusal, answer_to, grpc_client, id_of, native_case, request


@pytest.fixture
async def front() -> AsyncIterator[NativeFront]:
    async with NativeFront(NativeFrontOptions(port=0)) as opened:
        yield opened


async def test_closing_with_calls_in_flight_ends_them_as_unavailable_and_late_answers_are_harmless():
    front = await NativeFront(NativeFrontOptions(port=0)).__aenter__()
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
async def test_closing_after_a_drain_loses_no_answer(free_port: int, size: int):
    async with grpc_client(f"127.0.0.1:{free_port}") as (call, _):
        async with NativeFront(NativeFrontOptions(port=free_port)) as front:
            reader = Reader(front)
            calls = [asyncio.ensure_future(call(request(f"r{number}", size))) for number in range(300)]
            received = await reader.receive(300)
            drain = asyncio.ensure_future(front.drain(time.monotonic() + 20))
            await asyncio.sleep(0)
            front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])
            await drain
            reader.stop()

        assert [id_of(answer) for answer in await asyncio.gather(*calls)] == [f"r{number}" for number in range(300)]


async def test_a_deadline_that_has_passed_is_told_by_the_front_itself_and_the_call_is_left(front: NativeFront):
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


async def test_a_wave_that_the_pump_adds_while_the_loop_looks_wakes_the_loop_again(front: NativeFront, monkeypatch: pytest.MonkeyPatch):
    read, poller = os.eventfd_read, select.poll()
    poller.register(front.fileno(), select.POLLIN)

    def read_with_the_pump_in_between(descriptor: int) -> int:
        monkeypatch.setattr(os, "eventfd_read", read)
        pump_adds(front, 2)
        return read(descriptor)

    pump_adds(front, 1)
    monkeypatch.setattr(os, "eventfd_read", read_with_the_pump_in_between)
    assert front.recv_wave(10).call_ids == [1, 2]
    pump_adds(front, 3)

    assert poller.poll(0)
    assert front.recv_wave(10).call_ids == [3]


def pump_adds(front: NativeFront, call_id: int) -> None:
    """Do what the pump thread does with a wave of one call."""
    front._waves.append(Wave(call_ids=[call_id], payloads=[b""], keys=[None], deadlines=[0.0], traces=[None]))
    front._signal()


async def test_refusals_before_the_router_are_counted_by_reason():
    async with native_case(Limits(message_bytes=1000)) as case:
        for _ in range(3):
            with pytest.raises(Refusal):
                await case.call(request(size=2000))
        assert isinstance(case.front, NativeFront)

        assert case.front.refused == {"REQUEST_TOO_LARGE": 3}
        assert case.front.in_flight == 0


async def test_a_mistake_in_the_pump_refuses_its_batch_and_the_pump_goes_on(front: NativeFront):
    reader, columns, failures = Reader(front), front._columns, [ZeroDivisionError("boom")]

    def once(events: list[Any], now: float) -> Any:
        if failures:
            raise failures.pop()
        return columns(events, now)

    front._columns = once  # type: ignore[method-assign]
    async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
        with pytest.raises(Refusal) as refused:
            await call(request())
        waiting = asyncio.ensure_future(call(request("next")))
        [(call_id, payload, *_)] = await reader.receive()
        front.respond_many([call_id], [answer_to(payload)])

        assert id_of(await waiting) == "next"
    reader.stop()
    assert (refused.value.code, refused.value.message) == (GrpcCode.INTERNAL, "internal error")


async def test_garbage_on_the_port_harms_nobody(front: NativeFront):
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


async def test_metadata_over_the_limit_is_refused_before_it_arrives(front: NativeFront):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError):
            await infer(request(), metadata=(("x-filler", "x" * 20_000),))

    assert front.in_flight == 0


async def test_answers_of_many_clients_never_mix(front: NativeFront):
    reader = Reader(front)

    async def client(number: int) -> list[str]:
        async with grpc_client(f"127.0.0.1:{front.port}") as (call, _):
            return [id_of(one) for one in await asyncio.gather(*(call(request(f"{number}-{index}")) for index in range(50)))]

    clients = [asyncio.ensure_future(client(number)) for number in range(8)]
    for call_id, payload, *_ in await reader.receive(400):
        front.respond_many([call_id], [answer_to(payload)])

    assert await asyncio.gather(*clients) == [[f"{number}-{index}" for index in range(50)] for number in range(8)]
    reader.stop()


async def test_calls_that_are_answered_or_left_are_forgotten(front: NativeFront):
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
