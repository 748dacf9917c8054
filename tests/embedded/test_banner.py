"""What a person is told."""

from __future__ import annotations

import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.embedded.addresses import Addresses
from services.embedded.banner import addresses, example_call, models, sample_body
from services.embedded.opening import opening

SERVED = Addresses(host="127.0.0.1", http_port=8000, grpc_port=8001, metrics_port=8002)


def spec(shape: tuple[int, ...], datatype: DataType = DataType.FP32, name: str = "x", *, optional: bool = False) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, optional=optional)


def signature(*inputs: TensorSpec, max_batch_size: int = 8) -> Signature:
    return Signature(inputs=inputs, outputs=(spec((-1, 1), name="y"),), max_batch_size=max_batch_size)


def replica(model: str, version: str, state: ReplicaState = ReplicaState.READY, reason: str = "", **kwargs) -> ReplicaStatus:
    held = kwargs.pop("signature", signature(spec((-1, 2))))
    return ReplicaStatus(replica_id=1, model=model, version=version, state=state, reason=reason, signature=held)


def status(*replicas: ReplicaStatus, worker_id: str = "worker-0") -> WorkerStatus:
    return WorkerStatus(worker_id=worker_id, instance_id="a", link_address="unix:/x", replicas=replicas)


def test_the_first_line_says_loudly_what_is_missing():
    assert opening("models", 2, 1).startswith(
        "EMBEDDED: one machine, no Kafka, no Temporal, no Redis, no controller; 1 router and 2 workers"
    )


def test_every_address_is_told():
    assert [line.split() for line in addresses(SERVED).splitlines()] == [
        ["HTTP", "http://127.0.0.1:8000"],
        ["gRPC", "127.0.0.1:8001"],
        ["metrics", "http://127.0.0.1:8002/metrics"],
    ]


@pytest.mark.parametrize(("host", "http"), [("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("::1", "[::1]:8000")])
def test_an_address_can_be_called_although_all_are_listened_on(host: str, http: str):
    assert Addresses(host=host, http_port=8000, grpc_port=8001, metrics_port=8002).http == http
    assert Addresses(metrics_host=host, host="10.0.0.1", http_port=1, grpc_port=1, metrics_port=8000).metrics == http


def test_versions_are_listed_in_order_each_in_its_best_state():
    first = status(replica("trees", "10"), replica("trees", "9", ReplicaState.FAILED, "no such operator"), replica("digits", "1"))
    second = status(replica("trees", "10", ReplicaState.LOADING), worker_id="worker-1")

    assert [line.split(maxsplit=2) for line in models([first, second]).splitlines()] == [
        ["digits", "1", "READY"],
        ["trees", "9", "FAILED: no such operator"],
        ["trees", "10", "READY"],
    ]


def test_an_empty_folder_is_said_to_be_watched():
    assert "picked up while this runs" in models([])


def test_the_call_is_for_a_model_that_is_ready():
    statuses = [status(replica("broken", "1", ReplicaState.FAILED), replica("digits", "1"), replica("digits", "2", ReplicaState.LOADING))]

    assert "/api/v1/models/digits/predict" in example_call(statuses, SERVED, needs_key=False)


def test_without_a_model_the_call_asks_for_the_server():
    assert example_call([], SERVED, needs_key=False).strip() == "curl -s http://127.0.0.1:8000/v2"


def test_a_server_with_tenants_wants_a_key():
    assert 'x-api-key: $PENSTOCK_API_KEY"' in example_call([status(replica("digits", "1"))], SERVED, needs_key=True)


def test_rows_are_written_in_the_shape_of_the_signature():
    inputs = (
        spec((-1, 2, 2)),
        spec((-1,), DataType.INT64, "age"),
        spec((-1, 1), DataType.BYTES, "text"),
        spec((-1, 9), name="more", optional=True),
    )

    assert sample_body(signature(*inputs)) == {"inputs": [{"x": [[0.5, 0.5], [0.5, 0.5]], "age": 1, "text": ["hello"]}]}


def test_a_model_without_rows_is_asked_by_tensors():
    body = sample_body(signature(spec((2, -1), DataType.BOOL), max_batch_size=0))

    assert body == {"inputs": [{"name": "x", "datatype": "BOOL", "shape": [2, 1], "data": [True, True]}]}
    held = replica("whole", "1", signature=signature(spec((2,)), max_batch_size=0))
    assert "/v2/models/whole/infer" in example_call([status(held)], SERVED, needs_key=False)


@pytest.mark.parametrize("needed", [spec((-1, 3, 224, 224)), spec((-1, 2), DataType.FP16)])
def test_what_cannot_be_written_on_a_line_is_not(needed: TensorSpec):
    assert sample_body(signature(needed)) is None
