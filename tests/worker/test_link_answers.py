"""What a worker owes one router."""

from __future__ import annotations

import struct

from penstock.contracts.errors import DeadlineExceeded
from penstock.v1 import link_pb2 as pb
from services.worker.link_answers import AnswerFrame
from services.worker.work import OutputPart, Timing

TIMING = Timing(1, 2, 3)


def frames_of(stream: bytes) -> list[pb.WorkerFrame]:
    found = []
    while stream:
        (length,) = struct.unpack_from("<I", stream)
        found.append(pb.WorkerFrame.FromString(stream[4 : 4 + length]))
        stream = stream[4 + length :]
    return found


def test_everything_of_a_turn_leaves_as_one_frame_and_then_the_next_begins():
    owed = AnswerFrame()
    owed.answer(1, range(2, 4), [OutputPart(b"s", b"abcd")], TIMING)
    owed.answer(2, [0, 5], [OutputPart(b"s", b"xy", b"lengths!")], TIMING)
    owed.fail(1, [1], DeadlineExceeded("too late"))
    owed.pong(8)

    (frame,) = frames_of(owed.take())
    first, second, third = frame.answers
    assert (first.chunk_id, first.start, first.count, first.indices, first.outputs[0].raw) == (1, 2, 2, b"", b"abcd")
    assert (first.queue_microseconds, first.compute_microseconds, first.execution_rows) == (1, 2, 3)
    assert (second.start, second.count, second.indices) == (0, 2, struct.pack("<2I", 0, 5))
    assert [(one.index, one.reason, one.message) for one in third.failures] == [(1, "DEADLINE_EXCEEDED", "too late")]
    assert third.count == 0
    assert frame.pong == 8
    assert owed.is_empty
    assert frames_of(owed.take()) == [pb.WorkerFrame()]


def test_times_that_do_not_fit_their_fields_are_cut():
    owed = AnswerFrame()
    owed.answer(1, range(1), [], Timing(2**40, 2**40, 1))

    assert frames_of(owed.take())[0].answers[0].queue_microseconds == 2**32 - 1


def short_frame() -> AnswerFrame:
    return AnswerFrame(answer_bytes=10, frame_bytes=40)


def test_long_answers_are_spread_over_frames_request_by_request():
    owed = short_frame()
    lengths = struct.pack("<4I", 1, 9, 2, 4)
    owed.answer(1, [3, 4, 6, 7], [OutputPart(b"s", b"a" + b"b" * 9 + b"cc" + b"dddd", lengths)], TIMING)
    owed.answer(2, range(4), [OutputPart(b"s", b"aaabbbcccddd")], TIMING)

    answers = [one for frame in frames_of(owed.take()) for one in frame.answers]
    shown = [(one.chunk_id, one.start, one.count, one.outputs[0].raw, one.outputs[0].lengths) for one in answers]
    assert shown == [
        (1, 3, 2, b"abbbbbbbbb", struct.pack("<2I", 1, 9)),
        (1, 6, 2, b"ccdddd", struct.pack("<2I", 2, 4)),
        (2, 0, 2, b"aaabbb", b""),
        (2, 2, 2, b"cccddd", b""),
    ]


def test_answers_that_are_too_long_together_leave_in_several_frames():
    owed = short_frame()
    for number in range(3):
        owed.answer(number, range(1), [OutputPart(b"s", b"12345678")], TIMING)

    assert [[one.chunk_id for one in frame.answers] for frame in frames_of(owed.take())] == [[0], [1], [2]]


def test_one_request_s_answer_that_no_frame_holds_becomes_a_failure():
    owed = short_frame()
    owed.answer(1, range(2), [OutputPart(b"s", b"x" * 100)], TIMING)

    answers = [one for frame in frames_of(owed.take()) for one in frame.answers]
    assert [(failure.index, failure.reason) for one in answers for failure in one.failures] == [
        (0, "REQUEST_TOO_LARGE"),
        (1, "REQUEST_TOO_LARGE"),
    ]
