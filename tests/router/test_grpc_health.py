"""Health and reflection, the same from every engine."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from penstock.contracts.errors import GrpcCode
from penstock.oip.v2 import health_pb2
from services.router.config import RouterSettings
from services.router.grpc_front import GrpcOptions, grpc_options
from tests.router.conftest import TENANTS
from tests.router.control_stand import replica
from tests.router.grpc_face import Face, lingering, opened, refused


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


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_that_is_off_is_refused_by_name(options: GrpcOptions, version: str):
    async with AsyncExitStack() as stack:
        face = await opened(stack, replace(options, is_reflected=False))
        told = await refused(method(face, version)(lingering([])).read())

        assert (told.code, told.reason) == (GrpcCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
        assert "grpc_reflection" in (told.message or "")


async def test_reflection_that_is_off_is_off_for_administrators_too_and_tells_others_nothing(options: GrpcOptions, tmp_path: Path):
    async with AsyncExitStack() as stack:
        face = await opened(stack, replace(options, is_reflected=False))
        (tmp_path / "tenants.toml").write_text(TENANTS)
        face.stand.control.tenants.load(tmp_path / "tenants.toml")
        codes = [
            (await refused(method(face, "v1")(lingering([]), metadata=(("x-api-key", key),)).read())).code for key in ("admin", "secret")
        ]

        assert codes == [GrpcCode.UNIMPLEMENTED, GrpcCode.PERMISSION_DENIED]


@pytest.mark.parametrize(
    ("host", "asked", "is_reflected"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("localhost", {}, True),
        ("0.0.0.0", {}, False),
        ("10.0.0.1", {}, False),
        ("0.0.0.0", {"grpc_reflection": "on"}, True),
        ("127.0.0.1", {"grpc_reflection": "off"}, False),
    ],
)
def test_reflection_is_for_this_machine_unless_somebody_says_otherwise(
    host: str, asked: dict[str, str], is_reflected: bool, tmp_path: Path
):
    settings = RouterSettings.model_validate({"state_dir": tmp_path, "host": host, "insecure_bind": True, **asked})

    assert grpc_options(settings, None).is_reflected is is_reflected


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
