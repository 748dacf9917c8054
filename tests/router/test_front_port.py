"""One suite for every front: whoever passes it may stand behind the port."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from penstock.contracts.errors import (
    BY_REASON,
    FINER_REASONS,
    STATUS,
    CallerLeft,
    Draining,
    Internal,
    InvalidInput,
    Overloaded,
    QuotaExceeded,
    ServingError,
    error_from,
)
from penstock.contracts.status import GrpcCode
from tests.router.front_cases import CASES, FrontCase, Limits, Refusal, answer_to, id_of, request

Opener = Callable[[Limits], AbstractAsyncContextManager[FrontCase]]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=list(CASES))
def opener(request: pytest.FixtureRequest) -> Opener:
    return CASES[request.param]


@pytest.fixture
async def case(opener: Opener) -> AsyncIterator[FrontCase]:
    async with opener(Limits()) as opened:
        yield opened


async def test_a_call_arrives_as_one_position_of_every_column(case: FrontCase):
    before = time.monotonic()
    call = asyncio.ensure_future(case.call(request("r1"), key="secret", timeout_seconds=20, trace=TRACE))
    [(call_id, payload, key, deadline, trace)] = await case.reader.receive()
    case.front.respond_many([call_id], [answer_to(payload)])

    assert (key, trace) == ("secret", TRACE)
    assert before + 18 < deadline < time.monotonic() + 20.1
    assert id_of(await call) == "r1"


async def test_what_the_caller_did_not_send_is_none(case: FrontCase):
    call = asyncio.ensure_future(case.call(request()))
    [(call_id, payload, key, _, trace)] = await case.reader.receive()
    case.front.respond_many([call_id], [answer_to(payload)])
    await call

    assert (key, trace) == (None, None)


async def test_a_thousand_calls_at_once_each_get_their_own_answer(case: FrontCase):
    calls = [asyncio.ensure_future(case.call(request(f"r{number}"))) for number in range(1000)]
    for call_id, payload, *_ in reversed(await case.reader.receive(1000)):
        case.front.respond_many([call_id], [answer_to(payload)])

    assert [id_of(response) for response in await asyncio.gather(*calls)] == [f"r{number}" for number in range(1000)]


async def test_many_answers_go_in_one_call(case: FrontCase):
    calls = [asyncio.ensure_future(case.call(request(f"r{number}"))) for number in range(20)]
    received = await case.reader.receive(20)
    case.front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])

    assert {id_of(response) for response in await asyncio.gather(*calls)} == {f"r{number}" for number in range(20)}


@pytest.mark.parametrize("kind", [kind for kind in STATUS if kind is not CallerLeft], ids=lambda kind: kind.__name__)
async def test_every_error_reaches_the_caller_with_its_status_and_reason(case: FrontCase, kind: type[ServingError]):
    seen = await refused_with(case, kind("what, where, which limit – and the next step"))

    assert (seen.code, seen.reason) == (int(STATUS[kind].grpc), kind.reason)
    assert seen.message == "what, where, which limit – and the next step"


@pytest.mark.parametrize("reason", sorted(FINER_REASONS))
async def test_finer_reasons_travel_under_their_own_name(opener: Opener, reason: str):
    async with opener(Limits()) as case:
        seen = await refused_with(case, error_from(reason, "because"))

    assert (seen.code, seen.reason) == (int(STATUS[BY_REASON[reason]].grpc), reason)


async def test_a_refusal_says_when_to_come_back(case: FrontCase):
    seen = await refused_with(case, QuotaExceeded("the quota is used up", retry_after_seconds=1.5))

    assert seen.retry_after_ms is None or seen.retry_after_ms >= 1500
    assert seen.retry_after_ms is not None or not case.carries_details


async def test_messages_with_line_breaks_and_long_ones_stay_one_line_within_the_limit(case: FrontCase):
    seen = await refused_with(case, InvalidInput("a\r\nb" + "x" * 2000))

    assert seen.message is not None
    assert seen.message.startswith("a\\r\\nb")
    assert len(seen.message) <= 512


async def test_a_mixed_wave_of_answers_and_refusals_reaches_the_right_callers(case: FrontCase):
    calls = {name: asyncio.ensure_future(case.call(request(name))) for name in ("good", "bad")}
    for call_id, payload, *_ in await case.reader.receive(2):
        if id_of(answer_to(payload)) == "good":
            case.front.respond_many([call_id], [answer_to(payload)])
        else:
            case.front.fail_many([call_id], [InvalidInput("no")])

    assert id_of(await calls["good"]) == "good"
    with pytest.raises(Refusal):
        await calls["bad"]


async def test_a_caller_who_cancels_is_reported_and_a_late_answer_is_harmless(case: FrontCase):
    call = asyncio.ensure_future(case.call(request()))
    [(call_id, payload, *_)] = await case.reader.receive()
    call.cancel()

    assert await case.reader.cancellations() == [call_id]
    case.front.respond_many([call_id], [answer_to(payload)])
    case.front.fail_many([call_id], [Internal("late")])
    assert await round_trip(case) == "next"


async def test_a_client_that_disconnects_leaves_all_its_calls(case: FrontCase):
    calls = [asyncio.ensure_future(case.call(request(f"r{number}"))) for number in range(5)]
    received = await case.reader.receive(5)
    await case.disconnect()

    assert sorted(await case.reader.cancellations(5)) == sorted(call_id for call_id, *_ in received)
    await asyncio.gather(*calls, return_exceptions=True)


async def test_answering_twice_is_harmless(case: FrontCase):
    call = asyncio.ensure_future(case.call(request("once")))
    [(call_id, payload, *_)] = await case.reader.receive()
    case.front.respond_many([call_id, call_id], [answer_to(payload), answer_to(request("twice"))])
    case.front.fail_many([call_id], [Internal("thrice")])

    assert id_of(await call) == "once"
    assert await round_trip(case) == "next"


async def test_an_unknown_call_id_is_ignored(case: FrontCase):
    case.front.respond_many([10**6], [b""])
    case.front.fail_many([10**6], [Internal("nobody")])

    assert await round_trip(case) == "next"


# Callers of the buffer have read their messages already, within limits of their own.
@pytest.mark.parametrize("opener", [name for name in CASES if name != "call_buffer"], indirect=True)
async def test_a_message_over_the_limit_is_refused_and_never_handed_over(opener: Opener):
    async with opener(Limits(message_bytes=10_000)) as case:
        with pytest.raises(Refusal) as refused:
            await case.call(request(size=20_000))
        assert await round_trip(case) == "next"

    assert refused.value.code == GrpcCode.RESOURCE_EXHAUSTED
    assert refused.value.reason in ("REQUEST_TOO_LARGE", None)


async def test_a_message_just_under_the_limit_passes(opener: Opener):
    async with opener(Limits(message_bytes=20_000)) as case:
        assert await round_trip(case, size=19_000) == "next"


async def test_calls_beyond_the_limit_of_open_ones_are_refused_as_overload(opener: Opener):
    async with opener(Limits(open_calls=4)) as case:
        calls = [asyncio.ensure_future(case.call(request(f"r{number}"))) for number in range(4)]
        received = await case.reader.receive(4)
        with pytest.raises(Refusal) as refused:
            await case.call(request("fifth"))
        case.front.respond_many([call_id for call_id, *_ in received], [answer_to(payload) for _, payload, *_ in received])
        await asyncio.gather(*calls)
        assert await round_trip(case) == "next"

    assert (refused.value.code, refused.value.reason) == (GrpcCode.RESOURCE_EXHAUSTED, Overloaded.reason)


async def test_a_wave_is_empty_when_nothing_has_arrived(case: FrontCase):
    case.reader.stop()
    wave = case.front.recv_wave(10)

    assert (wave.call_ids, wave.cancelled) == ([], [])
    assert not is_readable(case)


async def test_the_descriptor_stays_readable_until_everything_is_taken(case: FrontCase):
    case.reader.stop()
    calls = [asyncio.ensure_future(case.call(request(f"r{number}"))) for number in range(7)]
    seen: list[int] = []
    sizes: list[int] = []
    while len(seen) < 7:
        await readable(case)
        wave = case.front.recv_wave(3)
        sizes.append(len(wave.call_ids))
        seen += wave.call_ids
        case.front.respond_many(wave.call_ids, [answer_to(payload) for payload in wave.payloads])
    await asyncio.gather(*calls)

    assert max(sizes) <= 3
    assert len(set(seen)) == 7
    case.front.recv_wave(3)
    assert not is_readable(case)


async def test_a_drain_answers_what_is_in_flight_and_refuses_what_is_new(case: FrontCase):
    call = asyncio.ensure_future(case.call(request("old")))
    [(call_id, payload, *_)] = await case.reader.receive()
    drain = asyncio.ensure_future(case.front.drain(time.monotonic() + 20))
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as refused:
        await case.call(request("new"))
    assert not drain.done()
    case.front.respond_many([call_id], [answer_to(payload)])

    assert id_of(await call) == "old"
    await drain
    assert (refused.value.code, refused.value.reason) == (GrpcCode.UNAVAILABLE, Draining.reason)


async def test_a_drain_ends_when_the_last_caller_leaves(case: FrontCase):
    call = asyncio.ensure_future(case.call(request()))
    await case.reader.receive()
    drain = asyncio.ensure_future(case.front.drain(time.monotonic() + 20))
    await asyncio.sleep(0)
    call.cancel()

    await asyncio.wait_for(drain, 10)


async def test_a_drain_of_an_idle_front_returns_at_once(case: FrontCase):
    await asyncio.wait_for(case.front.drain(time.monotonic() + 20), 30)


async def test_a_drain_gives_up_at_its_deadline(case: FrontCase):
    call = asyncio.ensure_future(case.call(request()))
    await case.reader.receive()

    await asyncio.wait_for(case.front.drain(time.monotonic() + 0.05), 30)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def refused_with(case: FrontCase, error: ServingError) -> Refusal:
    call = asyncio.ensure_future(case.call(request()))
    [(call_id, *_)] = await case.reader.receive()
    case.front.fail_many([call_id], [error])
    with pytest.raises(Refusal) as refused:
        await call
    return refused.value


async def round_trip(case: FrontCase, size: int = 8) -> str:
    call = asyncio.ensure_future(case.call(request("next", size)))
    [(call_id, payload, *_)] = await case.reader.receive()
    case.front.respond_many([call_id], [answer_to(payload)])
    return id_of(await call)


def is_readable(case: FrontCase) -> bool:
    poller = select.poll()
    poller.register(case.front.fileno(), select.POLLIN)
    return bool(poller.poll(0))


async def readable(case: FrontCase) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(case.front.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(case.front.fileno())
