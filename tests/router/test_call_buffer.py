import asyncio
import time

import pytest

from penstock.contracts.errors import Draining, InvalidInput, Overloaded
from services.router.call_buffer import CallBuffer, Sender


async def test_calls_of_one_turn_of_the_loop_make_one_wave():
    buffer = CallBuffer()
    for payload in (b"a", b"b", b"c"):
        buffer.submit(payload)

    assert buffer.recv_wave(10).payloads == [b"a", b"b", b"c"]
    assert buffer.recv_wave(10).payloads == []


async def test_payloads_are_handed_over_without_a_copy():
    buffer, payload = CallBuffer(), bytes(1000)
    buffer.submit(payload)

    assert buffer.recv_wave(10).payloads[0] is payload


async def test_a_call_left_before_it_was_received_is_delivered_with_its_cancellation():
    buffer = CallBuffer()
    buffer.submit(b"a").cancel()
    wave = buffer.recv_wave(10)

    assert wave.cancelled == wave.call_ids
    assert buffer.in_flight == 0


async def test_cancelling_the_task_that_awaits_a_call_leaves_it():
    buffer = CallBuffer()

    async def caller() -> None:
        await buffer.submit(b"a")

    task = asyncio.ensure_future(caller())
    await asyncio.sleep(0)
    [call_id] = buffer.recv_wave(10).call_ids
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert buffer.recv_wave(10).cancelled == [call_id]


async def test_an_answered_call_is_not_reported_as_left():
    buffer = CallBuffer()
    call = buffer.submit(b"a")
    buffer.respond_many(buffer.recv_wave(10).call_ids, [b"A"])
    assert not call.cancel()

    assert await call == b"A"
    assert buffer.recv_wave(10).cancelled == []


async def test_calls_that_nobody_receives_are_bounded_even_when_their_callers_leave():
    buffer = CallBuffer(limit=2)
    for _ in range(2):
        buffer.submit(b"a").cancel()

    with pytest.raises(Overloaded) as refused:
        buffer.submit(b"a")
    assert refused.value.retry_after_seconds is not None


async def test_a_draining_buffer_refuses_at_the_door():
    buffer = CallBuffer()
    await buffer.drain(time.monotonic() + 20)

    with pytest.raises(Draining):
        buffer.submit(b"a")


async def test_closing_refuses_what_is_open_and_may_be_repeated():
    buffer = CallBuffer()
    call = buffer.submit(b"a")
    buffer.close()
    buffer.close()

    with pytest.raises(Draining):
        await call
    assert buffer.recv_wave(10).payloads == [b"a"]


async def test_one_error_may_refuse_many_calls():
    buffer, error = CallBuffer(), InvalidInput("no")
    calls = [buffer.submit(b"a") for _ in range(3)]
    buffer.fail_many(buffer.recv_wave(10).call_ids, [error] * 3)

    assert await asyncio.gather(*calls, return_exceptions=True) == [error] * 3


async def test_columns_of_different_lengths_are_a_mistake_that_shows():
    buffer = CallBuffer()
    buffer.submit(b"a")
    with pytest.raises(ValueError, match="shorter"):
        buffer.respond_many(buffer.recv_wave(10).call_ids, [])


class Told:
    """A caller that keeps what it is told, and may break at it."""

    def __init__(self, *, breaks=False):
        self.told = []
        self._breaks = breaks

    def set_result(self, result, /):
        self.told.append(result)
        if self._breaks:
            raise RuntimeError("a caller's own mistake")

    def set_exception(self, exception, /):
        self.set_result(exception)


def test_a_caller_that_needs_no_future_is_told_at_once():
    buffer, one, other, error = CallBuffer(), Told(), Told(), InvalidInput("no")
    buffer.enter(one, b"a", 5.0, Sender(key="k"))
    buffer.enter(other, b"b", 6.0, Sender())
    wave = buffer.recv_wave(10)
    buffer.respond_many(wave.call_ids[:1], [b"A"])
    buffer.fail_many(wave.call_ids[1:], [error])

    assert (wave.payloads, wave.keys, wave.deadlines) == ([b"a", b"b"], ["k", None], [5.0, 6.0])
    assert (one.told, other.told) == ([b"A"], [error])


def test_a_caller_that_breaks_does_not_keep_others_from_their_answers():
    buffer, callers = CallBuffer(), [Told(breaks=True), Told(), Told(breaks=True), Told()]
    for caller in callers:
        buffer.enter(caller, b"a", 5.0, Sender())
    call_ids = buffer.recv_wave(10).call_ids
    buffer.respond_many(call_ids[:2], [b"A", b"B"])
    buffer.fail_many(call_ids[2:], [InvalidInput("no")] * 2)

    assert [len(caller.told) for caller in callers] == [1, 1, 1, 1]
    assert buffer.in_flight == 0


def test_a_caller_that_left_is_told_nothing():
    buffer, caller = CallBuffer(), Told()
    call_id = buffer.enter(caller, b"a", 5.0, Sender())
    buffer.leave(call_id)
    buffer.leave(call_id)
    wave = buffer.recv_wave(10)
    buffer.respond_many(wave.call_ids, [b"A"])

    assert (wave.call_ids, wave.cancelled, caller.told) == ([call_id], [call_id], [])
