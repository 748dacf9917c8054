"""Ports, limits and messages of the gRPC face, the same from every engine."""

from __future__ import annotations

import time

import grpc
import grpc.aio
import pytest

from penstock.contracts.errors import GrpcCode, InvalidInput, ServingError
from penstock.oip.v2 import inference_pb2 as pb
from services.chassis.clock import SystemClock
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcOptions, open_grpc
from tests.router.control_stand import control_stand
from tests.router.front_cases import MODEL_INFER, request
from tests.router.grpc_face import Face, refused


async def test_a_taken_port_is_an_error_that_names_it(options: GrpcOptions, face: Face):
    taken = GrpcOptions(port=face.face.port, engine=options.engine)
    with pytest.raises(OSError, match=r"in use|cannot listen"):
        async with open_grpc(taken, face.stand.control, SystemClock()):
            pass


async def test_routers_share_a_port_when_asked(options: GrpcOptions):
    shared = GrpcOptions(port=0, reuse_port=True, engine=options.engine)
    stand = control_stand()
    async with open_grpc(shared, stand.control, SystemClock()) as first:
        second_options = GrpcOptions(port=first.port, reuse_port=True, engine=options.engine)
        async with open_grpc(second_options, stand.control, SystemClock()) as second:
            assert second.port == first.port


async def test_a_giant_message_is_refused_and_the_server_lives(face: Face):
    call = face.channel.unary_unary(MODEL_INFER)

    assert (await refused(call(bytes(2 << 20)))).code == GrpcCode.RESOURCE_EXHAUSTED
    assert (await face.oip.ServerLive(pb.ServerLiveRequest())).live


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_understood(face: Face, options: GrpcOptions, compression: grpc.Compression):
    call = face.oip.ModelInfer(pb.ModelInferRequest.FromString(request("r1", 10_000)), compression=compression)

    if options.engine is Engine.PYGRPC and compression is grpc.Compression.Deflate:  # pygrpc-native knows gzip alone, and says so
        assert (await refused(call)).code == GrpcCode.UNIMPLEMENTED
    else:
        assert (await call).id == "r1"


async def test_errors_of_inference_reach_the_client_over_the_face(face: Face):
    error: ServingError = InvalidInput("this one is bad", retry_after_seconds=0.25)
    seen = await refused(face.oip.ModelInfer(pb.ModelInferRequest(model_name="echo", id="bad")))

    assert (seen.code, seen.reason, seen.message, seen.retry_after_ms) == (GrpcCode.INVALID_ARGUMENT, error.reason, error.message, 250)


async def test_deadlines_of_an_hour_are_cut_to_a_minute(face: Face):
    face.is_holding = True
    call = face.oip.ModelInfer(pb.ModelInferRequest.FromString(request()), timeout=3600)
    await face.received.wait()
    face.release()
    await call

    [deadline] = face.deadlines
    assert time.monotonic() + 55 < deadline <= time.monotonic() + 60
