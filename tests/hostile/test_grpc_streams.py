"""Hostile streams: what breaks the rules of ModelStreamInfer ends the stream, what fails alone does not, and nobody fills the memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import grpc

from penstock.oip.v2 import inference_pb2 as pb
from tests.hostile.stand import GOOD, Target, good_request

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
TOO_MANY = 10_001
PADDING = "v" * 1000


def named(model: str, request_id: str = "") -> bytes:
    request = good_request(id=request_id)
    request.model_name = model
    return request.SerializeToString()


def stream(target: Target, requests: Iterable[bytes], **how: object) -> Iterator[bytes]:
    return target.channel.stream_stream(STREAM)(iter(requests), **{"timeout": 20, **how})


def ending(target: Target, requests: Sequence[bytes]) -> tuple[list[pb.ModelStreamInferResponse], grpc.StatusCode, str | None]:
    """Return the answers of a stream, its status and its reason."""
    answers: list[pb.ModelStreamInferResponse] = []
    opened = stream(target, requests)
    try:
        answers += [pb.ModelStreamInferResponse.FromString(one) for one in opened]
    except grpc.RpcError as error:
        return answers, error.code(), dict(error.trailing_metadata() or ()).get("penstock-reason")
    return answers, grpc.StatusCode.OK, None


def test_ig15_a_stream_whose_first_message_names_no_model_ends(target: Target):
    assert ending(target, [named(""), GOOD]) == ([], grpc.StatusCode.INVALID_ARGUMENT, "BAD_NAME")
    target.assert_unharmed()


def test_ig15_a_stream_that_switches_its_model_ends_after_what_came_before(target: Target):
    answers, code, reason = ending(target, [named("echo", "1"), named("pair", "2"), named("echo", "3")])

    assert ([one.infer_response.id for one in answers], code, reason) == (["1"], grpc.StatusCode.INVALID_ARGUMENT, "BAD_NAME")
    target.assert_unharmed()


def test_ig16_a_stream_without_a_message_is_refused(target: Target):
    assert ending(target, []) == ([], grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
    target.assert_unharmed()


def test_ig25_a_message_that_fails_is_told_with_its_id_and_the_stream_goes_on(target: Target):
    bad = good_request(id="bad")
    bad.raw_input_contents[0] = bytes(11)
    answers, code, _ = ending(target, [named("echo", "1"), bad.SerializeToString(), b"\xff" * 50, named("echo", "2")])

    assert [(one.infer_response.id, bool(one.error_message)) for one in answers] == [("1", False), ("bad", True), ("", True), ("2", False)]
    assert code is grpc.StatusCode.OK
    target.assert_unharmed()


def test_ig17_ten_thousand_messages_are_taken_as_their_answers_are_read_and_all_are_answered(target: Target):
    taken = 0

    def requests() -> Iterator[bytes]:
        nonlocal taken
        for number in range(TOO_MANY):
            request = good_request(id=str(number))
            request.parameters["padding"].string_param = PADDING
            taken += 1
            yield request.SerializeToString()

    memory = target.resident_bytes()
    opened = stream(target, requests())
    _until_still(lambda: taken)

    assert 0 < taken < TOO_MANY  # what nobody reads the answers of is not taken
    target.assert_unharmed()
    assert [pb.ModelStreamInferResponse.FromString(one).infer_response.id for one in opened] == [str(number) for number in range(TOO_MANY)]
    target.assert_memory_returns_to(memory)


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


def _until(is_left: threading.Event) -> Iterator[bytes]:
    yield GOOD
    is_left.wait(5)


def _until_still(value: Callable[[], int], *, seconds: float = 0.3) -> None:
    """Wait until a number has not changed for a while."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < seconds:
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.01)
