"""Work, cancels, deadlines and back-pressure over a real Unix socket."""

from __future__ import annotations

import asyncio
import struct
import threading
from time import monotonic

import numpy as np
import pytest

from penstock.v1 import link_pb2 as pb
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from tests.worker import models
from tests.worker.links import REPLICA, chunk, numbers, on_uvloop, packed
from tests.worker.works import FakeSession, packed_shape, signature
from tests.worker.worlds import world_of


@pytest.fixture
def address(tmp_path) -> str:
    return f"unix:{tmp_path}/link.sock"


@on_uvloop
async def test_every_request_of_a_frame_is_answered_with_its_own_answer(address):
    async with world_of(address, FakeSession()) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(number, [[float(10 * number + at)] for at in range(3)]) for number in range(1, 6)]))
        answers = await end.answers(15)

    assert {one.chunk_id: numbers(one) for one in answers if one.count == 3} == {
        number: [2.0 * (10 * number + at) for at in range(3)] for number in (1, 2, 4, 5)
    }
    assert [numbers(one) for one in answers if one.chunk_id == 3] == [[60.0, 62.0], [64.0]]
    assert all(one.outputs[0].shape == packed_shape(1, 1) for one in answers)
    assert sum(one.execution_rows * (one.count > 0) for one in answers if one.chunk_id in (1, 2)) == 16


@on_uvloop
async def test_answers_of_a_turn_leave_as_one_frame(address):
    async with world_of(address, FakeSession()) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(number, [[1.0]]) for number in range(1, 6)]))

        assert len((await end.receive()).answers) == 5


@on_uvloop
async def test_work_for_a_replica_that_is_gone_is_given_back(address):
    async with world_of(address) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]] * 2)]))
        (answer,) = await end.answers(2)

    assert [(one.index, one.reason) for one in answer.failures] == [(0, "REPLICA_GONE"), (1, "REPLICA_GONE")]


@on_uvloop
async def test_a_chunk_that_cannot_be_read_fails_request_by_request_and_the_link_lives(address):
    async with world_of(address, FakeSession()) as world:
        end = await world.meet()
        bad = chunk(1, [[1.0]] * 3, columns=[pb.InputColumn(raw=bytes(5))])
        mixed = chunk(2, [[1.0]] * 3, columns=[pb.InputColumn(raw=bytes(9), lengths=packed("I", 4, 1, 4))])
        end.send(pb.RouterFrame(chunks=[bad, mixed, chunk(3, [[4.0]])]))
        answers = await end.answers(7)

    failures = {(one.chunk_id, failure.index): failure.reason for one in answers for failure in one.failures}
    assert failures == dict.fromkeys([(1, 0), (1, 1), (1, 2), (2, 1)], "BYTE_COUNT")
    assert [(one.chunk_id, list(one.indices)) for one in answers if one.chunk_id == 2 and one.count] == [(2, list(packed("I", 0, 2)))]
    assert [numbers(one) for one in answers if one.chunk_id == 3] == [[8.0]]


BROKEN = {
    "garbage": b"\x04\x00\x00\x00\xff\xff\xff\xff",
    "a frame of 4 GiB": b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
@on_uvloop
async def test_what_is_no_frame_ends_the_connection(address, stream):
    async with world_of(address) as world:
        end = await world.meet()
        end.writer.write(stream)

        assert await end.closed()


@pytest.mark.parametrize("count", [0, 2**31], ids=["empty", "absurd"])
@on_uvloop
async def test_a_chunk_without_a_sane_number_of_requests_ends_the_connection(address, count):
    async with world_of(address, FakeSession()) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]], count=count)]))

        assert await end.closed()


@on_uvloop
async def test_a_frame_may_arrive_in_any_pieces(address):
    async with world_of(address, FakeSession()) as world:
        end = await world.meet()
        body = pb.RouterFrame(chunks=[chunk(1, [[3.0]])]).SerializeToString()
        stream = struct.pack("<I", len(body)) + body
        for at in range(0, len(stream), 3):
            end.writer.write(stream[at : at + 3])
            await end.writer.drain()
            await asyncio.sleep(0)
        (answer,) = await end.answers(1)

    assert numbers(answer) == [6.0]


@on_uvloop
async def test_a_cancelled_request_does_not_run(address):
    session = FakeSession()
    session.gate = threading.Event()
    async with world_of(address, session, cost=0.001) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]])]))
        await asyncio.to_thread(session.entered.wait, 5)
        end.send(pb.RouterFrame(chunks=[chunk(2, [[2.0]] * 2)], cancels=[pb.Cancel(chunk_id=2, index=0), pb.Cancel(chunk_id=9)], ping=1))
        assert (await end.receive()).pong == 1
        session.gate.set()
        answers = await end.answers(2)

    assert [(one.chunk_id, one.start, one.count) for one in answers] == [(1, 0, 1), (2, 1, 1)]


@on_uvloop
async def test_the_number_of_a_chunk_is_free_again_when_nothing_of_it_is_owed(address):
    session = FakeSession()
    session.gate = threading.Event()
    async with world_of(address, session, cost=0.001) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]])]))
        await asyncio.to_thread(session.entered.wait, 5)
        end.send(pb.RouterFrame(chunks=[chunk(2, [[2.0]] * 2)], cancels=[pb.Cancel(chunk_id=2, index=0)]))
        end.send(pb.RouterFrame(chunks=[chunk(3, [[2.0]])], cancels=[pb.Cancel(chunk_id=3, index=0)], ping=1))
        assert (await end.receive()).pong == 1
        session.gate.set()
        await end.answers(2)
        end.send(pb.RouterFrame(chunks=[chunk(number, [[float(number)]]) for number in (1, 2, 3)]))
        answers = await end.answers(3)
        end.send(pb.RouterFrame(chunks=[chunk(9, [[1.0]]), chunk(9, [[1.0]])]))

        assert sorted(numbers(one) for one in answers) == [[2.0], [4.0], [6.0]]
        assert await end.closed()


@on_uvloop
async def test_a_deadline_on_the_router_s_clock_is_kept(address):
    session = FakeSession()
    session.gate = threading.Event()
    async with world_of(address, session, cost=0.001) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]])]))
        await asyncio.to_thread(session.entered.wait, 5)
        begun = monotonic()
        end.send(pb.RouterFrame(chunks=[chunk(2, [[2.0]], deadlines=packed("Q", int((begun + 0.1) * 1e6)))]))
        (answer,) = await end.answers(1)
        waited = monotonic() - begun
        session.gate.set()

    assert answer.failures[0].reason == "DEADLINE_EXCEEDED"
    assert 0.09 <= waited < 20.0


@on_uvloop
async def test_the_work_of_a_lost_router_is_abandoned(address):
    session = FakeSession()
    session.is_endless = True
    async with world_of(address, session, cost=0.001) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[1.0]]), chunk(2, [[2.0]] * 20)]))
        await asyncio.to_thread(session.entered.wait, 5)
        end.writer.transport.abort()
        batcher = world.batchers[REPLICA]

        assert await batcher.drain(monotonic() + 20)
        assert session.runs == [8]
        assert batcher.statistics.cancelled == 13


@on_uvloop
async def test_a_two_second_model_delays_no_ping(address):
    session = open_session(models.looping(), SessionConfig())
    async with world_of(address, session, cost=0.001) as world:
        end = await world.meet()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[-1.0]], deadlines=packed("Q", int((monotonic() + 2.0) * 1e6)))]))
        longest = 0.0
        answers: list[pb.Answer] = []
        number = 0
        while not answers:
            number += 1
            begun = monotonic()
            end.send(pb.RouterFrame(ping=number))
            frame = await end.receive()
            answers += frame.answers
            while frame.pong != number:
                frame = await end.receive()
                answers += frame.answers
            longest = max(longest, monotonic() - begun)
            await asyncio.sleep(0.02)

    assert answers[0].failures[0].reason == "DEADLINE_EXCEEDED"
    assert number > 10
    assert longest < 0.4  # after which a router gives the worker up


@on_uvloop
async def test_a_router_that_stops_reading_is_not_read_from_and_loses_nothing_when_it_goes_on(address):
    wide = signature(100_000, max_batch_size=1)
    async with world_of(address, FakeSession(), shape=wide) as world:
        end = await world.meet()
        end.reader._transport.pause_reading()
        for number in range(1, 41):
            end.send(pb.RouterFrame(chunks=[chunk(number, [[float(number)] * 100_000])]))
        await asyncio.sleep(0.2)  # it does not read
        answered_before = world.batchers[REPLICA].statistics.success.count
        end.reader._transport.resume_reading()
        answers = await end.answers(40)

    assert answered_before < 40
    assert sorted(one.chunk_id for one in answers) == list(range(1, 41))


@on_uvloop
async def test_a_router_that_never_reads_is_cut_off_before_its_answers_fill_the_memory(address):
    wide = signature(1_000_000, max_batch_size=1)
    session = FakeSession(output=lambda x: np.repeat(x, 1_000_000, axis=1))
    narrow = type(wide)(inputs=signature(1).inputs, outputs=wide.outputs, max_batch_size=8)
    async with world_of(address, session, shape=narrow) as world:
        end = await world.meet()
        end.reader._transport.pause_reading()
        end.send(pb.RouterFrame(chunks=[chunk(number, [[1.0]] * 8) for number in range(1, 9)]))
        async with asyncio.timeout(30):
            while world.server._connections:
                await asyncio.sleep(0.01)

        assert world.batchers[REPLICA].statistics.success.count < 64
