"""What a Kubernetes probe asks: grpc.health.v1 by grpcio-health-checking's own stub.

python grpc_health.py HOST:PORT
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICES = ("", "inference.GRPCInferenceService", "my_model")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def main(address):
    """Check, list and watch; a name that is none; a model that goes and comes back."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in SERVICES:
            assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status == SERVING, service
            watching = health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert next(watching).status == SERVING, service
            watching.cancel()
        at_once(address)
        unknown(health)
        going_and_coming(channel, health)


def at_once(address):
    """Without a channel of one's own."""
    asked = {"target": address, "insecure": True, "timeout": 5}
    health = health_pb2_grpc.Health
    assert health.Check(health_pb2.HealthCheckRequest(service="my_model"), **asked).status == SERVING
    assert health.List(health_pb2.HealthListRequest(), **asked).statuses["my_model"].status == SERVING
    assert next(health.Watch(health_pb2.HealthCheckRequest(), **asked)).status == SERVING


def unknown(health):
    """Check refuses a name that is none; Watch says that it is none and stays, for it may come."""
    nobody = health_pb2.HealthCheckRequest(service="nobody")
    assert refused(health.Check, nobody, timeout=5) is grpc.StatusCode.NOT_FOUND
    watching = health.Watch(nobody, timeout=1)
    assert next(watching).status == SERVICE_UNKNOWN
    assert refused(next, watching) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert health.List(health_pb2.HealthListRequest(), timeout=5).statuses["my_model"].status == SERVING


def refused(call, *arguments, **options):
    """Return the status of a call that must fail."""
    caught = None
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        caught = error
    assert caught is not None, "it was not refused"
    return caught.code()


def going_and_coming(channel, health):
    """A watcher is told when a model is unloaded, and when it is back."""
    watching = health.Watch(health_pb2.HealthCheckRequest(service="blinking"), timeout=30)
    assert next(watching).status == SERVING
    told(channel, "Unload")
    gone = next(watching).status
    assert gone in (NOT_SERVING, SERVICE_UNKNOWN), gone
    told(channel, "Load")
    while gone != SERVING:
        gone = next(watching).status
    watching.cancel()


def told(channel, verb):
    """Load or unload by the protocol's own call: the message has the model's name in field 2."""
    call = channel.unary_unary(f"/inference.GRPCInferenceService/RepositoryModel{verb}")
    name = b"blinking"
    call(b"\x12" + bytes([len(name)]) + name, timeout=20)


main(*sys.argv[1:])
