"""What is the pygrpc-native front's own: its pump, and what it counts."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.contracts.errors import GrpcCode
from services.router.front import Wave
from services.router.native_front import NativeFront, NativeFrontOptions
from tests.router.front_cases import Limits, Reader, Refusal, answer_to, grpc_client, id_of, native_case, request


@pytest.fixture
async def front() -> AsyncIterator[NativeFront]:
    async with NativeFront(NativeFrontOptions(port=0)) as opened:
        yield opened


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
