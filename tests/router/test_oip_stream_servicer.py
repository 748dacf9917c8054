import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.contracts.errors import DeadlineExceeded, Draining, Overloaded
from penstock.oip.v2 import inference_pb2 as pb
from services.router.call_buffer import CallBuffer
from services.router.oip_stream_servicer import IN_FLIGHT_LIMIT, InferenceStreams
from tests.router.front_cases import answer_to, request


class FakeContext:
    """A stream's client: sends what it is given, and reads when it is let."""

    def __init__(self, **metadata: str) -> None:
        self.sent = 0
        self.got: list[pb.ModelStreamInferResponse] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._metadata = tuple(metadata.items())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def time_remaining(self) -> float | None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    async def write(self, message: bytes) -> None:
        await self.may_read.wait()
        self.got.append(pb.ModelStreamInferResponse.FromString(message))

    async def requests(self, count: int, *, size: int = 8) -> AsyncIterator[bytes]:
        payload = request("r", size)
        for _ in range(count):
            self.sent += 1
            yield payload


def serve(streams: InferenceStreams, context: FakeContext, requests: AsyncIterator[bytes]) -> asyncio.Task[None]:
    fake: Any = context
    return asyncio.ensure_future(streams.serve(requests, fake))


async def turns(count: int = 20) -> None:
    """Let everything that can go on go on; nothing here waits for anything outside the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def answer_all(buffer: CallBuffer) -> int:
    wave = buffer.recv_wave(1_000_000)
    buffer.respond_many(wave.call_ids, [answer_to(payload) for payload in wave.payloads])
    return len(wave.call_ids)


async def test_the_reader_stops_at_a_thousand_requests_and_goes_on_when_answers_are_sent():
    buffer, context = CallBuffer(), FakeContext()
    stream = serve(InferenceStreams(buffer), context, context.requests(2500))
    await turns()
    assert context.sent == IN_FLIGHT_LIMIT

    while not stream.done():
        answer_all(buffer)
        await turns()
    await stream
    assert (context.sent, len(context.got)) == (2500, 2500)


async def test_the_reader_stops_at_the_limit_of_bytes():
    buffer, context = CallBuffer(), FakeContext()
    stream = serve(InferenceStreams(buffer), context, context.requests(10, size=20 << 20))
    await turns()

    assert context.sent == 4
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)


async def test_a_client_that_reads_nothing_fills_its_own_line_only_and_is_cut():
    buffer, context = CallBuffer(), FakeContext()
    context.may_read.clear()
    stream = serve(InferenceStreams(buffer, write_seconds=0.02), context, context.requests(2500))
    while not stream.done():
        answer_all(buffer)
        await asyncio.wait([stream], timeout=0.001)

    with pytest.raises(DeadlineExceeded):
        await stream
    assert context.sent == IN_FLIGHT_LIMIT
    assert buffer.in_flight == 0


async def test_a_stream_that_is_left_leaves_all_its_calls():
    buffer, context = CallBuffer(), FakeContext()
    stream = serve(InferenceStreams(buffer), context, context.requests(5))
    await turns()
    assert buffer.in_flight == 5
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)

    assert buffer.in_flight == 0
    assert len(buffer.recv_wave(100).cancelled) == 5


async def test_a_refusal_at_the_door_is_told_like_any_other():
    buffer, context = CallBuffer(limit=2), FakeContext()
    stream = serve(InferenceStreams(buffer), context, context.requests(3))
    await turns()
    answer_all(buffer)
    await stream

    assert [bool(one.error_message) for one in context.got] == [False, False, True]


async def test_a_refusal_at_the_door_ends_the_stream_for_who_wants_statuses():
    buffer, context = CallBuffer(limit=2), FakeContext(triton_grpc_error="true")
    stream = serve(InferenceStreams(buffer), context, context.requests(3))
    await turns()
    answer_all(buffer)

    with pytest.raises(Overloaded):
        await stream


async def test_a_draining_router_takes_no_new_stream():
    streams = InferenceStreams(CallBuffer())
    streams.begin_drain()

    with pytest.raises(Draining):
        await serve(streams, FakeContext(), FakeContext().requests(1))


async def test_what_a_reader_raises_ends_the_stream():
    async def broken() -> AsyncIterator[bytes]:
        raise RuntimeError("the transport broke")
        yield b""

    with pytest.raises(RuntimeError, match="the transport broke"):
        await serve(InferenceStreams(CallBuffer()), FakeContext(), broken())
