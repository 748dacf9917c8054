"""What the Open Inference Protocol's messages and services are on the wire."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from penstock.oip.v2 import health_pb2, health_pb2_grpc, inference_pb2, inference_pb2_grpc
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2 import model_config_pb2 as mc

NUMBERS: list[tuple[type[Message], dict[str, int]]] = [
    (pb.InferParameter, {"bool_param": 1, "int64_param": 2, "string_param": 3, "double_param": 4, "uint64_param": 5}),
    (
        pb.ModelInferRequest,
        {"model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "inputs": 5, "outputs": 6, "raw_input_contents": 7},
    ),
    (pb.ModelInferRequest.InferInputTensor, {"name": 1, "datatype": 2, "shape": 3, "parameters": 4, "contents": 5}),
    (pb.ModelInferRequest.InferRequestedOutputTensor, {"name": 1, "parameters": 2}),
    (pb.ModelInferResponse, {"model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "outputs": 5, "raw_output_contents": 6}),
    (pb.ModelInferResponse.InferOutputTensor, {"name": 1, "datatype": 2, "shape": 3, "parameters": 4, "contents": 5}),
    (pb.ModelStreamInferResponse, {"error_message": 1, "infer_response": 2}),
    (
        pb.InferTensorContents,
        {
            "bool_contents": 1,
            "int_contents": 2,
            "int64_contents": 3,
            "uint_contents": 4,
            "uint64_contents": 5,
            "fp32_contents": 6,
            "fp64_contents": 7,
            "bytes_contents": 8,
        },
    ),
    (pb.ModelMetadataResponse, {"name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5}),
    (
        pb.ModelStatistics,
        {
            "name": 1,
            "version": 2,
            "last_inference": 3,
            "inference_count": 4,
            "execution_count": 5,
            "inference_stats": 6,
            "batch_stats": 7,
            "memory_usage": 8,
            "response_stats": 9,
        },
    ),
    (
        pb.InferStatistics,
        {
            "success": 1,
            "fail": 2,
            "queue": 3,
            "compute_input": 4,
            "compute_infer": 5,
            "compute_output": 6,
            "cache_hit": 7,
            "cache_miss": 8,
        },
    ),
    (pb.InferBatchStatistics, {"batch_size": 1, "compute_input": 2, "compute_infer": 3, "compute_output": 4}),
    (pb.RepositoryIndexRequest, {"repository_name": 1, "ready": 2}),
    (pb.RepositoryIndexResponse.ModelIndex, {"name": 1, "version": 2, "state": 3, "reason": 4}),
    (pb.ModelRepositoryParameter, {"bool_param": 1, "int64_param": 2, "string_param": 3, "bytes_param": 4}),
    (pb.RepositoryModelLoadRequest, {"repository_name": 1, "model_name": 2, "parameters": 3}),
    (pb.RepositoryModelLoadResponse, {"model_name": 1, "is_loaded": 2}),
    (pb.RepositoryModelUnloadRequest, {"repository_name": 1, "model_name": 2, "parameters": 3}),
    (pb.RepositoryModelUnloadResponse, {"model_name": 1, "is_unloaded": 2}),
    (pb.TraceSettingRequest, {"settings": 1, "model_name": 2}),
    (
        mc.ModelConfig,
        {
            "name": 1,
            "platform": 2,
            "version_policy": 3,
            "max_batch_size": 4,
            "input": 5,
            "output": 6,
            "instance_group": 7,
            "default_model_filename": 8,
            "cc_model_filenames": 9,
            "metric_tags": 10,
            "dynamic_batching": 11,
            "optimization": 12,
            "sequence_batching": 13,
            "parameters": 14,
            "ensemble_scheduling": 15,
            "model_warmup": 16,
            "backend": 17,
            "model_operations": 18,
            "model_transaction_policy": 19,
            "batch_input": 20,
            "batch_output": 21,
            "model_repository_agents": 23,
            "response_cache": 24,
            "runtime": 25,
            "model_metrics": 26,
        },
    ),
    (mc.ModelInstanceGroup, {"name": 1, "count": 2, "gpus": 3, "kind": 4, "profile": 5, "rate_limiter": 6, "passive": 7, "host_policy": 9}),
    (mc.ModelOutput, {"name": 1, "data_type": 2, "dims": 3, "label_filename": 4, "reshape": 5}),
]

METHODS = {
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
}


@pytest.mark.parametrize(("message", "numbers"), NUMBERS, ids=lambda value: getattr(value, "__name__", ""))
def test_field_numbers_are_the_standards(message: type[Message], numbers: dict[str, int]):
    fields: dict[str, FieldDescriptor] = dict(message.DESCRIPTOR.fields_by_name)

    assert {name: fields[name].number for name in numbers} == numbers


def test_the_inference_service_has_the_twenty_methods_of_the_standard():
    service = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

    assert set(service.methods_by_name) == METHODS


class RecordingChannel:
    """Notes the path of every method that a client asks for."""

    def __init__(self):
        self.paths: set[str] = set()

    def unary_unary(self, path: str, **_options: object):
        self.paths.add(path)

    unary_stream = stream_unary = stream_stream = unary_unary


def test_clients_call_the_standards_paths():
    channel = RecordingChannel()

    inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    health_pb2_grpc.HealthStub(channel)

    assert channel.paths == {f"/inference.GRPCInferenceService/{name}" for name in METHODS} | {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    }


def test_a_servicer_answers_on_the_standards_path():
    class Servicer(inference_pb2_grpc.GRPCInferenceServiceServicer):
        def ServerLive(self, request, context):
            return pb.ServerLiveResponse(live=True)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
        server.stop(0).wait()

    assert answer == b"\x08\x01"


def test_no_file_of_ours_declares_a_standards_package():
    files: list[FileDescriptor] = [inference_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, mc.DESCRIPTOR]

    assert {file.package for file in files} == {"penstock.oip.v2"}


THEIRS = """
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
for name, package, message in (
    ("model_config.proto", "inference", "ModelConfig"),
    ("grpc_service.proto", "inference", "ModelInferRequest"),
    ("grpc/health/v1/health.proto", "grpc.health.v1", "HealthCheckRequest"),
):
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    file.message_type.add(name=message).field.add(name="theirs", number=1, type=9, label=1)
    descriptor_pool.Default().Add(file)
    print(descriptor_pool.Default().FindMessageTypeByName(f"{package}.{message}").fields[0].name)
"""

OURS = """
from penstock.contracts.oip_reflection import reflection_pool
from penstock.oip.v2 import health_pb2_grpc, inference_pb2_grpc
print(reflection_pool().FindMessageTypeByName("inference.ModelInferRequest").fields[0].name)
"""


@pytest.mark.parametrize("code", [OURS + THEIRS, THEIRS + OURS], ids=["ours first", "theirs first"])
def test_a_client_library_that_declares_inference_lives_in_the_same_process(code: str):
    # In a process of its own: what enters the default pool stays there.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)

    assert sorted(done.stdout.split()) == ["model_name", "theirs", "theirs", "theirs"], done.stderr
