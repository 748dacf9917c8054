"""A real gRPC server with a few models, which answers honestly: what it does not hold it does not know, what is wrong it refuses."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from penstock.contracts.errors import ServingError, error_from
from penstock.contracts.names import version_order
from penstock.contracts.tensors import DataType, decode, encode
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.model_config_pb2 import ModelConfig, ModelParameter

Tensors = dict[str, tuple[str, tuple[int, ...]]]


@dataclass
class FarVersion:
    state: str = "READY"
    reason: str = ""


@dataclass
class FarModel:
    """`y` is twice `x`; texts come back in capitals."""

    versions: dict[str, FarVersion]
    inputs: Tensors
    outputs: Tensors
    max_batch_size: int = 8
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> list[str]:
        return sorted((name for name, one in self.versions.items() if one.state == "READY"), key=version_order)


def some_models() -> dict[str, FarModel]:
    doubling = FarModel(
        versions={"1": FarVersion(), "2": FarVersion(), "3": FarVersion("UNAVAILABLE", "model.onnx: no such operator 'Nope'")},
        inputs={"x": ("FP32", (-1, 3))},
        outputs={"y": ("FP32", (-1, 3))},
        parameters={"penstock.alias.champion": "1", "penstock.traffic.1": "9000", "penstock.traffic.2": "1000"},
    )
    shouting = FarModel(versions={"v1.0": FarVersion()}, inputs={"text": ("BYTES", (-1, 1))}, outputs={"text": ("BYTES", (-1, 1))})
    pairing = FarModel(
        versions={"1": FarVersion()}, inputs={"a": ("INT64", (-1, 1)), "b": ("FP32", (-1, 1))}, outputs={"a": ("INT64", (-1, 1))}
    )
    whole = FarModel(versions={"1": FarVersion()}, inputs={"x": ("FP64", (2, 2))}, outputs={"y": ("FP64", (2, 2))}, max_batch_size=0)
    broken = FarModel(versions={"1": FarVersion("UNAVAILABLE", "out of memory")}, inputs={"x": ("FP32", (1,))}, outputs={})
    return {"doubling": doubling, "shouting": shouting, "pairing": pairing, "whole": whole, "broken": broken}


class FarServer:
    def __init__(self, *, key: str | None = None) -> None:
        self.models = some_models()
        self.is_ready = True
        self.key = key
        self.requests: list[pb.ModelInferRequest] = []
        self.release = threading.Event()
        self.release.set()
        self.server = grpc.server(ThreadPoolExecutor(8))
        calls = {name: getattr(self, name) for name in dir(type(self)) if name[0].isupper()}
        handlers = {name: self._method(name, call) for name, call in calls.items()}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def stop(self) -> None:
        self.release.set()
        self.server.stop(0).wait()

    def _method(self, name: str, call: Any) -> Any:
        request_type, response_type = getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            metadata = dict(context.invocation_metadata())
            try:
                if self.key is not None and metadata.get("x-api-key") != self.key:
                    raise error_from("UNAUTHENTICATED", "the API key is not known")
                return call(request)
            except ServingError as error:
                context.set_trailing_metadata((("penstock-reason", error.reason),))
                context.abort(next(code for code in grpc.StatusCode if code.value[0] == error.status.grpc), error.message)

        return grpc.unary_unary_rpc_method_handler(answer, request_type.FromString, response_type.SerializeToString)

    # --- the protocol -------------------------------------------------------------------------------------------------------------

    def ServerReady(self, _request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self.is_ready)

    def ServerMetadata(self, _request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="penstock", version="0.1.0", extensions=["statistics"])

    def RepositoryIndex(self, _request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        response = pb.RepositoryIndexResponse()
        for model, held in self.models.items():
            for version, one in held.versions.items():
                response.models.add(name=model, version=version, state=one.state, reason=one.reason)
        return response

    def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        held, _ = self._resolve(request.name, request.version)
        response = pb.ModelMetadataResponse(name=request.name, versions=held.ready, platform="onnxruntime_onnx")
        for given, listed in ((held.inputs, response.inputs), (held.outputs, response.outputs)):
            for name, (datatype, shape) in given.items():
                listed.add(name=name, datatype=datatype, shape=shape)
        return response

    def ModelConfig(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        held, _ = self._resolve(request.name, request.version)
        config = ModelConfig(name=request.name, max_batch_size=held.max_batch_size)
        config.dynamic_batching.max_queue_delay_microseconds = 100
        for name, value in held.parameters.items():
            config.parameters[name].CopyFrom(ModelParameter(string_value=value))
        return pb.ModelConfigResponse(config=config)

    def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        response = pb.ModelStatisticsResponse()
        if request.name:
            self._known(request.name)
        for model in [request.name] if request.name else self.models:
            for version in self.models[model].ready:
                if request.version in ("", version):
                    _add_statistics(response, model, version)
        return response

    def RepositoryModelLoad(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        held = self._known(request.model_name)
        if request.model_name == "broken":
            raise error_from("LOAD_FAILED", "model 'broken' version '1' failed to load on worker-0: out of memory")
        for one in held.versions.values():
            if not one.reason:
                one.state = "READY"
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        for one in self._known(request.model_name).versions.values():
            one.state = "UNAVAILABLE"
        return pb.RepositoryModelUnloadResponse()

    def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        self.requests.append(request)
        self.release.wait(10)
        held, version = self._resolve(request.model_name, request.model_version)
        response = pb.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
        wanted = [one.name for one in request.outputs] or list(held.outputs)
        arrays = {one.name: _decoded(held, one, raw) for one, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
        for name, (output, (datatype, _)) in zip(held.inputs, held.outputs.items(), strict=False):
            if output in wanted:
                array = _answered(arrays[name])
                response.outputs.add(name=output, datatype=datatype, shape=array.shape)
                response.raw_output_contents.append(bytes(encode(array)))
        return response

    # ------------------------------------------------------------------------------------------------------------------------------

    def _known(self, model: str) -> FarModel:
        if model not in self.models:
            raise error_from("MODEL_NOT_FOUND", f"model {model!r} is not known here, did you mean 'doubling'? (penstock models list)")
        return self.models[model]

    def _resolve(self, model: str, version: str) -> tuple[FarModel, str]:
        held = self._known(model)
        if not held.ready:
            raise error_from("NO_READY_REPLICA", f"model {model!r} is not ready (FAILED)")
        version = held.parameters.get(f"penstock.alias.{version}", version) or held.ready[-1]
        if version not in held.versions:
            raise error_from("VERSION_NOT_FOUND", f"model {model!r} has no version {version!r}; it has: {', '.join(held.versions)}")
        return held, version


def _decoded(held: FarModel, tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes) -> Any:
    expected, _ = held.inputs[tensor.name]
    if tensor.datatype != expected:
        raise error_from("DTYPE_MISMATCH", f"input {tensor.name!r} expects {expected}, got {tensor.datatype!r}")
    return decode(tensor.name, DataType(tensor.datatype), tuple(tensor.shape), raw)


def _answered(array: Any) -> Any:
    if array.dtype.kind == "O":
        return np.array([[cell.upper() for cell in row] for row in array.tolist()], dtype=object)
    return array * 2


def _add_statistics(response: pb.ModelStatisticsResponse, model: str, version: str) -> None:
    entry = response.model_stats.add(name=model, version=version, inference_count=12, execution_count=4, last_inference=1_700_000_000_000)
    for name, count, nanoseconds in (
        ("success", 10, 30_000_000),
        ("queue", 10, 1_000_000),
        ("compute_infer", 4, 8_000_000),
        ("fail", 1, 5),
    ):
        step = getattr(entry.inference_stats, name)
        step.count, step.ns = count, nanoseconds
    for rows, count, nanoseconds in ((1, 1, 1_500_000), (4, 3, 6_500_000)):
        batch = entry.batch_stats.add(batch_size=rows)
        batch.compute_infer.count, batch.compute_infer.ns = count, nanoseconds
    entry.memory_usage.add(type="CPU", byte_size=12_500_000)
