"""Streams over the wire, the same from every engine."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock.contracts.errors import GrpcCode
from penstock.oip.v2 import inference_pb2 as pb
from tests.router.front_cases import request
from tests.router.grpc_face import Face, lingering, refused, stream

THREE = [pb.ModelInferRequest.FromString(request(f"r{number}")) for number in range(3)]


async def test_a_stream_answers_in_the_order_of_its_requests(face: Face):
    face.is_holding = True
    answers = asyncio.ensure_future(stream(face, [request(f"r{number}") for number in range(20)]))
    await face.waits(20)
    face.release()

    assert [one.infer_response.id for one in await answers] == [f"r{number}" for number in range(20)]


async def test_a_failed_request_is_told_with_its_id_and_the_stream_goes_on(face: Face):
    answers = await stream(face, [request("r0"), request("bad"), request("r2")])

    assert [(one.error_message, one.infer_response.id) for one in answers] == [("", "r0"), ("this one is bad", "bad"), ("", "r2")]


async def test_a_stream_may_ask_to_end_at_its_first_error(face: Face):
    seen = await refused(stream(face, [request("r0"), request("bad")], is_left_open=True, triton_grpc_error="true"))

    assert (seen.code, seen.message, seen.retry_after_ms) == (GrpcCode.INVALID_ARGUMENT, "this one is bad", 250)


async def test_the_last_response_of_a_request_is_marked_for_who_asks(face: Face):
    asked = pb.ModelInferRequest.FromString(request("r0"))
    asked.parameters["triton_enable_empty_final_response"].bool_param = True
    bad = pb.ModelInferRequest.FromString(asked.SerializeToString())
    bad.id = "bad"
    answers = await stream(face, [asked.SerializeToString(), bad.SerializeToString(), request("r2")])

    assert [one.infer_response.parameters["triton_final_response"].bool_param for one in answers[:2]] == [True, True]
    assert "triton_final_response" not in answers[2].infer_response.parameters
    assert answers[0].infer_response.id == "r0"
    assert len(answers[0].infer_response.raw_output_contents) == 1


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "before its first request"),
        ([b""], "must name its model"),
        ([request("r0"), pb.ModelInferRequest(model_name="other").SerializeToString()], "keeps to one model"),
        ([request("r0"), pb.ModelInferRequest(id="r1").SerializeToString()], "must name its model"),
    ],
)
async def test_a_stream_that_breaks_its_rules_ends(face: Face, requests: list[bytes], message: str):
    seen = await refused(stream(face, requests, is_left_open=bool(requests)))

    assert seen.code == GrpcCode.INVALID_ARGUMENT
    assert message in (seen.message or "")


async def test_a_message_of_a_stream_that_is_none_is_told_and_the_stream_goes_on(face: Face):
    call = face.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(iter([request("r0"), b"\xff\xff", request("r1")]))
    answers = [pb.ModelStreamInferResponse.FromString(one) async for one in call]

    assert [bool(one.error_message) for one in answers] == [False, True, False]


async def test_a_stream_longer_than_what_may_be_in_flight_is_answered_to_its_end(face: Face):
    assert [one.infer_response.id for one in await stream(face, [request(f"r{number}") for number in range(2500)])] == [
        f"r{number}" for number in range(2500)
    ]


async def test_leaving_a_stream_cancels_what_is_open_on_it(face: Face):
    face.is_holding = True
    call = face.oip.ModelStreamInfer(lingering(THREE))
    await face.waits(3)
    open_calls = {call_id for _, call_id, _ in face.waiting}
    call.cancel()
    reader = next(reader for reader in face.readers if reader._front is face.waiting[0][0])

    assert set(await reader.cancellations(3)) == open_calls


async def test_a_drain_lets_a_stream_answer_what_it_took_and_ends_it(face: Face):
    face.is_holding = True
    call = face.oip.ModelStreamInfer(lingering(THREE))
    await face.waits(3)
    drain = asyncio.ensure_future(face.face.drain(time.monotonic() + 20))
    got: list[str] = []
    await asyncio.sleep(0)
    face.release()

    async def read() -> None:
        async for response in call:
            got.append(response.infer_response.id)  # noqa: PERF401  the stream ends by raising, and what came before counts

    seen = await refused(read())
    await drain
    assert got == ["r0", "r1", "r2"]
    assert (seen.code, seen.reason) == (GrpcCode.UNAVAILABLE, "DRAINING")
