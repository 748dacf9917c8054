"""What grpcurl does, by grpcio-reflection's client: list, describe, and call with nothing but what reflection told.

python grpc_reflection.py HOST:PORT
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

INFERENCE = "inference.GRPCInferenceService"


def described(reflection, fresh, pool):
    """Services, files by symbol and by name, extensions; what is not there is a KeyError."""
    services = set(reflection.get_services())
    assert {INFERENCE, "grpc.health.v1.Health"} <= services, services
    assert any(service.startswith("grpc.reflection.") for service in services), services
    for service in services:
        assert pool.FindServiceByName(service).methods, service

    # A method is a symbol too; asked by a client that knows nothing yet, or it would not ask.
    missing(fresh.FindFileContainingSymbol, f"{INFERENCE}.Nothing")
    assert fresh.FindFileContainingSymbol(f"{INFERENCE}.ModelReady").package == "inference"
    file = reflection.FindFileContainingSymbol("inference.ModelInferRequest.InferInputTensor")
    assert file.package == "inference", file.package
    assert reflection.FindFileByName(file.name) == file
    assert list(reflection.FindAllExtensionNumbers("inference.ModelInferRequest")) == []
    missing(reflection.FindFileContainingSymbol, "inference.Nobody")
    missing(reflection.FindFileByName, "nobody.proto")
    # With this protobuf the client asks its own empty database and nobody else, and gets nothing.
    assert reflection.FindFileContainingExtension("inference.ModelInferRequest", 7) is None


def missing(find, *arguments):
    """What is not there is not found."""
    try:
        found = find(*arguments)
    except KeyError:
        return
    raise AssertionError(found)


def called(channel, pool):
    """Ask whether models are ready, and for an answer, by messages that are made of descriptors."""
    ready = method(channel, pool, "ModelReady")
    assert ready(name="my_model").ready is True
    assert ready(name="nobody").ready is False
    tensor = {"name": "input_node", "datatype": "FP32", "shape": [1, 3], "contents": {"fp32_contents": [1.0, 2.0, 3.0]}}
    answer = method(channel, pool, "ModelInfer")(model_name="my_model", inputs=[tensor])
    assert (answer.model_version, answer.outputs[0].name, len(answer.raw_output_contents[0])) == ("2", "output_node", 12), answer


def method(channel, pool, name):
    """Return a method as a function of its request's fields."""
    described = pool.FindServiceByName(INFERENCE).FindMethodByName(name)
    request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
    call = channel.unary_unary(f"/{INFERENCE}/{name}", request.SerializeToString, response.FromString)
    return lambda **fields: call(request(**fields), timeout=10)


def main(address):
    """Describe, then call."""
    with grpc.insecure_channel(address) as channel:
        reflection = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(reflection)
        described(reflection, ProtoReflectionDescriptorDatabase(channel), pool)
        called(channel, pool)


main(*sys.argv[1:])
