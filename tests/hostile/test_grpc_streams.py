"""Hostile streams: what breaks the rules of ModelStreamInfer ends the stream, what fails alone does not, and nobody fills the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import grpc
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from services.router.grpc_engine import Engine
from services.router.oip_stream_servicer import IN_FLIGHT_LIMIT
from tests.hostile.http2 import DATA, END_HEADERS, HEADERS, NO_WINDOW, connected, grpc_headers, grpc_message
from tests.hostile.stand import GOOD, Target, good_request

pytestmark = pytest.mark.timeout(180)

Code = grpc.StatusCode
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
TOO_MANY = 10_001
PADDING = "v" * 1000


def named(model: str, request_id: str = "") -> bytes:
    request = good_request(id=request_id)
    request.model_name = model
    return request.SerializeToString()


def stream(target: Target, requests: Iterable[bytes], **how: object) -> Iterator[bytes]:
    return target.channel.stream_stream(STREAM)(iter(requests), **{"timeout": 60, **how})


def ending(target: Target, requests: Sequence[bytes]) -> tuple[list[pb.ModelStreamInferResponse], grpc.StatusCode, str | None]:
    """Return the answers of a stream, its status and its reason."""
    answers: list[pb.ModelStreamInferResponse] = []
    opened = stream(target, requests)
    try:
        answers += [pb.ModelStreamInferResponse.FromString(one) for one in opened]
    except grpc.RpcError as error:
        return answers, error.code(), dict(error.trailing_metadata() or ()).get("penstock-reason")
    return answers, Code.OK, None


def test_ig15_a_stream_whose_first_message_names_no_model_ends(target: Target):
    assert ending(target, [named(""), GOOD]) == ([], Code.INVALID_ARGUMENT, "BAD_NAME")
    target.assert_unharmed()


def test_ig15_a_stream_that_switches_its_model_ends_after_what_came_before(target: Target):
    is_answered = threading.Event()

    def requests() -> Iterator[bytes]:
        yield named("echo", "1")
        is_answered.wait(30)  # a status overtakes answers that grpcio's client has not read
        yield named("pair", "2")
        yield named("echo", "3")

    opened = stream(target, requests())
    first = pb.ModelStreamInferResponse.FromString(next(opened))
    is_answered.set()
    with pytest.raises(grpc.RpcError) as refused:
        next(opened)

    assert first.infer_response.id == "1"
    assert (refused.value.code(), dict(refused.value.trailing_metadata())["penstock-reason"]) == (Code.INVALID_ARGUMENT, "BAD_NAME")
    target.assert_unharmed()


def test_ig16_a_stream_without_a_message_is_refused(target: Target):
    assert ending(target, []) == ([], Code.INVALID_ARGUMENT, "MALFORMED")
    target.assert_unharmed()


def test_ig25_a_message_that_fails_is_told_with_its_id_and_the_stream_goes_on(target: Target):
    bad = good_request(id="bad")
    bad.raw_input_contents[0] = bytes(11)
    answers, code, _ = ending(target, [named("echo", "1"), bad.SerializeToString(), b"\xff" * 50, named("echo", "2")])

    assert [(one.infer_response.id, bool(one.error_message)) for one in answers] == [("1", False), ("bad", True), ("", True), ("2", False)]
    assert code is Code.OK
    target.assert_unharmed()


def test_ig17_ten_thousand_messages_are_all_answered_in_order(target: Target):
    for _ in stream(target, (named("echo", str(number)) for number in range(3 * IN_FLIGHT_LIMIT))):
        pass  # the first time buffers grow to their size: that of what may be in flight
    memory = target.resident_bytes()
    opened = stream(target, (named("echo", str(number)) for number in range(TOO_MANY)))

    assert [pb.ModelStreamInferResponse.FromString(one).infer_response.id for one in opened] == [str(number) for number in range(TOO_MANY)]
    target.assert_memory_returns_to(memory)
    target.assert_unharmed()


def test_ig17_what_nobody_reads_the_answers_of_is_not_taken(target: Target):
    _unread(target)  # the first time buffers grow to their size
    memory = target.resident_bytes()
    sent, held, size = _unread(target)

    # grpcio, and penstock-front before it: a thousand are in flight (64 MiB of them at most), the rest fills a window of 4 MiB; flow
    # control is the refusal. pygrpc-native 0.5.0 takes answers from behind it that nobody reads, and holds them until the connection
    # ends.
    assert sent > IN_FLIGHT_LIMIT
    assert (sent < TOO_MANY) == (target.engine is not Engine.PYGRPC)
    assert held - memory < 5 * sent * size
    target.assert_memory_returns_to(memory)
    target.assert_unharmed()


def _unread(target: Target) -> tuple[int, int, int]:
    """Send messages on a stream without a window until no more are taken.

    Returns: how many were, the memory of router and worker then, and the size of one; bytes.
    """
    request = good_request()
    request.parameters["padding"].string_param = PADDING
    message = grpc_message(request.SerializeToString())
    with connected(target.address, settings=NO_WINDOW) as wire:
        wire.send(HEADERS, grpc_headers(STREAM), flags=END_HEADERS, stream=1)
        sent = 0
        room = partial(wire.may_send, 1)
        while sent < TOO_MANY:
            # Half a second says that no more is taken; where more has to be, a busy machine may need longer.
            must_grow = target.engine is Engine.PYGRPC or sent <= IN_FLIGHT_LIMIT
            if room() < (sent + 1) * len(message) and not wire.until(_grows(room), seconds=10.0 if must_grow else 0.5):
                break
            wire.send(DATA, message, stream=1)
            sent += 1
        held = target.resident_bytes()
        target.assert_unharmed()
    return sent, held, len(message)


def test_streams_that_are_left_leave_nothing_behind(target: Target):
    def leave(count: int) -> None:
        for _ in range(count):
            is_left = threading.Event()
            opened = stream(target, iter(_until(is_left)))
            next(opened)
            opened.cancel()
            is_left.set()

    leave(100)
    memory = target.resident_bytes()
    leave(300)

    target.assert_memory_returns_to(memory)
    target.assert_unharmed()


def _grows(number: Callable[[], int]) -> Callable[[], bool]:
    before = number()
    return lambda: number() > before


def _until(is_left: threading.Event) -> Iterator[bytes]:
    yield GOOD
    is_left.wait(30)
