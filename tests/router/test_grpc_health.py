"""Health and reflection, the same from every engine."""

from __future__ import annotations

import time

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from penstock.contracts.errors import GrpcCode
from penstock.oip.v2 import health_pb2
from tests.router.control_stand import replica
from tests.router.grpc_face import Face, lingering, refused


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "digits"])
async def test_health_follows_readiness(face: Face, service: str):
    check = health_pb2.HealthCheckRequest(service=service)
    assert (await face.health.Check(check)).status == health_pb2.HealthCheckResponse.SERVING
    face.stand.control.directory.begin_drain()

    assert (await face.health.Check(check)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_of_an_unknown_name_is_not_found_and_the_list_names_all(face: Face):
    assert (await refused(face.health.Check(health_pb2.HealthCheckRequest(service="nobody")))).code == GrpcCode.NOT_FOUND
    assert set((await face.health.List(health_pb2.HealthListRequest())).statuses) == {"", "inference.GRPCInferenceService", "digits"}


async def test_a_watcher_of_health_is_told_every_change_and_released_by_the_drain(face: Face):
    watch = face.health.Watch(health_pb2.HealthCheckRequest(service="fraud"))
    told = [(await watch.read()).status]
    face.stand.report(replicas=[replica("fraud")])
    told.append((await watch.read()).status)
    face.stand.control.directory.begin_drain()
    await face.face.drain(time.monotonic() + 20)
    while (last := await watch.read()) is not grpc.aio.EOF:
        told.append(last.status)

    response = health_pb2.HealthCheckResponse
    assert told == [response.SERVICE_UNKNOWN, response.SERVING, response.NOT_SERVING]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_the_services_by_their_wire_names(face: Face, version: str):
    listed, described = await reflect(face, version)

    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= listed
    assert b"GRPCInferenceService" in described


@pytest.mark.parametrize(("metadata", "code"), [((), GrpcCode.UNAUTHENTICATED), ((("x-api-key", "secret"),), GrpcCode.PERMISSION_DENIED)])
async def test_reflection_is_for_administrators_where_keys_are_needed(closed: Face, metadata: tuple[tuple[str, str], ...], code: GrpcCode):
    call = method(closed, "v1")(lingering([]), metadata=metadata)

    assert (await refused(call.read())).code == code
    assert (await reflect(closed, "v1", ("x-api-key", "admin")))[0]


def method(face: Face, version: str) -> grpc.aio.StreamStreamMultiCallable:
    return face.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


async def reflect(face: Face, version: str, *metadata: tuple[str, str]) -> tuple[set[str], bytes]:
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
    ]
    first, second = [answer async for answer in method(face, version)(iter(asked), metadata=metadata)]
    services = {service.name for service in first.list_services_response.service}
    return services, b"".join(second.file_descriptor_response.file_descriptor_proto)
