"""Reflection shows the standard's names."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from penstock.contracts.oip_reflection import REFLECTED_SERVICES, MethodFinder, reflection_pool


@pytest.fixture
def database() -> Iterator[ProtoReflectionDescriptorDatabase]:
    names = (*REFLECTED_SERVICES, reflection.SERVICE_NAME)
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        reflection.enable_server_reflection(names, server, pool=MethodFinder(reflection_pool([reflection_pb2.DESCRIPTOR])))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield ProtoReflectionDescriptorDatabase(channel)
        server.stop(0).wait()


def test_reflection_lists_the_services_under_their_names_on_the_wire(database: ProtoReflectionDescriptorDatabase):
    assert set(database.get_services()) == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_a_client_can_build_requests_from_reflection_alone(database: ProtoReflectionDescriptorDatabase):
    pool = DescriptorPool(database)

    infer = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelInfer")
    config = pool.FindMessageTypeByName("inference.ModelConfigResponse").fields_by_name["config"].message_type
    health = pool.FindServiceByName("grpc.health.v1.Health").FindMethodByName("Check")

    assert infer.input_type.full_name == "inference.ModelInferRequest"
    assert (
        infer.input_type.fields_by_name["parameters"].message_type.fields_by_name["value"].message_type.full_name
        == "inference.InferParameter"
    )
    assert config.full_name == "inference.ModelConfig"
    assert config.fields_by_name["version_policy"].message_type.full_name == "inference.ModelVersionPolicy"
    assert health.output_type.fields_by_name["status"].enum_type.full_name == "grpc.health.v1.HealthCheckResponse.ServingStatus"


def test_methods_and_fields_are_symbols_and_what_is_none_is_not_found(database: ProtoReflectionDescriptorDatabase):
    for symbol in ("inference.GRPCInferenceService.ModelReady", "inference.ModelInferRequest.id", "grpc.health.v1.Health"):
        assert database.FindFileContainingSymbol(symbol).package in {"inference", "grpc.health.v1"}
    for symbol in ("inference.GRPCInferenceService.Nothing", "inference.Nobody.ModelReady", "Nobody", ""):
        with pytest.raises(KeyError):
            MethodFinder(reflection_pool()).FindFileContainingSymbol(symbol)


def test_no_name_of_ours_is_left_in_the_pool():
    pool = reflection_pool()
    files = [pool.FindFileByName(name) for name in ("grpc_service.proto", "model_config.proto", "grpc/health/v1/health.proto")]

    assert all(b"penstock" not in file.serialized_pb for file in files)
