"""What `penstock serve` tells a person once it serves: where, what, and a call that works. Pure: nothing is looked up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from penstock.contracts.names import version_order
from penstock.contracts.signature import ANY, Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.embedded.addresses import Addresses

MOST_ELEMENTS = 300
"""Largest input, in elements, that is still written out in the curl line."""

_REASON_CHARACTERS = 160
_BEST_FIRST = (
    ReplicaState.READY,
    ReplicaState.DRAINING,
    ReplicaState.WARMING,
    ReplicaState.LOADING,
    ReplicaState.FAILED,
    ReplicaState.UNLOADED,
)
_UNWRITABLE = frozenset({DataType.FP16, DataType.BF16})
"""Data types that JSON tensors do not carry."""


def addresses(served: Addresses) -> str:
    """Return the lines that say where to call."""
    return f"  HTTP     {served.http_url}\n  gRPC     {served.grpc}\n  metrics  {served.metrics_url}\n"


def models(statuses: Iterable[WorkerStatus]) -> str:
    """Return one line a version, with the reason of those that are not ready."""
    versions = best_replicas(statuses)
    if not versions:
        return "  no models yet: put <model>/<version>/model.onnx into the folder, it is picked up while this runs\n"
    width = max(len(model) for model, _ in versions)
    return "".join(f"  {model:<{width}}  {_state(replica)}\n" for (model, _), replica in versions.items())


def example_call(statuses: Iterable[WorkerStatus], served: Addresses, *, needs_key: bool) -> str:
    """Return a curl line for the first model that a line can be written for; without one, a line that asks for the server's state."""
    key = ' -H "x-api-key: $PENSTOCK_API_KEY"' if needs_key else ""
    kind = " -H 'content-type: application/json'"
    for replica in reversed(best_replicas(statuses).values()):
        body = sample_body(replica.signature) if replica.is_ready else None
        if body is not None:
            return f"  curl -s{key}{kind} {served.http_url}{_path(replica)} -d '{json.dumps(body)}'\n"
    return f"  curl -s{key} {served.http_url}/v2\n"


def sample_body(signature: Signature) -> Mapping[str, Any] | None:
    """Return a request that the signature accepts: rows for the predict call where there are rows, else OIP tensors.

    None when an input is too large to be written on a line, or of a type that JSON does not carry.
    """
    needed = [spec for spec in signature.inputs if not spec.optional]
    elements = sum(prod(_sizes(spec.shape)) for spec in needed)
    if elements > MOST_ELEMENTS or any(spec.datatype in _UNWRITABLE for spec in needed):
        return None
    if signature.has_batch_dimension:
        return {"inputs": [{spec.name: _filled(_sizes(spec.shape[1:]), _sample(spec)) for spec in needed}]}
    return {"inputs": [_tensor(spec) for spec in needed]}


def best_replicas(statuses: Iterable[WorkerStatus]) -> dict[tuple[str, str], ReplicaStatus]:
    """Return every version in its best state on any worker, by model and then from oldest to newest."""
    best: dict[tuple[str, str], ReplicaStatus] = {}
    for replica in (replica for status in statuses for replica in status.replicas):
        known = best.get((replica.model, replica.version))
        if known is None or _BEST_FIRST.index(replica.state) < _BEST_FIRST.index(known.state):
            best[replica.model, replica.version] = replica
    return dict(sorted(best.items(), key=lambda item: (item[0][0], version_order(item[0][1]))))


def _state(replica: ReplicaStatus) -> str:
    reason = "" if replica.is_ready or not replica.reason else f": {replica.reason[:_REASON_CHARACTERS]}"
    return f"{replica.version}  {replica.state.name}{reason}"


def _path(replica: ReplicaStatus) -> str:
    return f"/api/v1/models/{replica.model}/predict" if replica.signature.has_batch_dimension else f"/v2/models/{replica.model}/infer"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    sizes = _sizes(spec.shape)
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": sizes, "data": [_sample(spec)] * prod(sizes)}


def _sizes(shape: Sequence[int]) -> list[int]:
    return [1 if size == ANY else size for size in shape]


def _filled(sizes: Sequence[int], value: Any) -> Any:
    return [_filled(sizes[1:], value) for _ in range(sizes[0])] if sizes else value


def _sample(spec: TensorSpec) -> str | bool | float | int:
    if spec.datatype is DataType.BYTES:
        return "hello"
    if spec.datatype is DataType.BOOL:
        return True
    return 0.5 if spec.datatype in {DataType.FP32, DataType.FP64} else 1
