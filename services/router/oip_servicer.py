"""The Open Inference Protocol over grpcio, every method of it.

ModelInfer passes bytes to the inference path; in the usual set-up the native front has taken it already and only the others arrive here.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.services import INFERENCE_SERVICE
from services.router.call_buffer import CallBuffer
from services.router.control import Control
from services.router.grpc_errors import Context, MethodHandler
from services.router.grpc_service import INFER_SECONDS, Caller, raw_stream, raw_unary, unary
from services.router.load_order import Parameter
from services.router.oip_stream_servicer import InferenceStreams
from services.router.repository import WAIT_SECONDS
from services.router.runtime_settings import LogValue


class OipServicer:
    """Answers every method of `inference.GRPCInferenceService`."""

    name = INFERENCE_SERVICE

    def __init__(self, buffer: CallBuffer, control: Control) -> None:
        """Keep the way to inference and what answers everything else."""
        self._buffer = buffer
        self._control = control
        self._streams = InferenceStreams(buffer)

    def begin_drain(self) -> None:
        """Let streams answer what they have taken and end."""
        self._streams.begin_drain()

    def methods(self) -> Mapping[str, MethodHandler]:
        """Return the methods by name."""
        return {
            "ServerLive": unary(pb.ServerLiveRequest, self._server_live),
            "ServerReady": unary(pb.ServerReadyRequest, self._server_ready),
            "ModelReady": unary(pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": unary(pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": unary(pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": raw_unary(self._model_infer),
            "ModelStreamInfer": raw_stream(self._streams.serve),
            "ModelConfig": unary(pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": unary(pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": unary(pb.RepositoryIndexRequest, self._repository_index),
            "RepositoryModelLoad": unary(pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": unary(pb.RepositoryModelUnloadRequest, self._unload),
            "SystemSharedMemoryStatus": unary(pb.SystemSharedMemoryStatusRequest, self._system_regions),
            "SystemSharedMemoryRegister": unary(pb.SystemSharedMemoryRegisterRequest, self._refuse_region),
            "SystemSharedMemoryUnregister": unary(pb.SystemSharedMemoryUnregisterRequest, self._forget_system_region),
            "CudaSharedMemoryStatus": unary(pb.CudaSharedMemoryStatusRequest, self._cuda_regions),
            "CudaSharedMemoryRegister": unary(pb.CudaSharedMemoryRegisterRequest, self._refuse_region),
            "CudaSharedMemoryUnregister": unary(pb.CudaSharedMemoryUnregisterRequest, self._forget_cuda_region),
            "TraceSetting": unary(pb.TraceSettingRequest, self._trace_setting),
            "LogSettings": unary(pb.LogSettingsRequest, self._log_settings),
        }

    async def _model_infer(self, payload: bytes, context: Context) -> bytes:
        caller = Caller.of(context, longest_seconds=INFER_SECONDS)
        return await self._buffer.submit(payload, key=caller.key, deadline=caller.deadline, trace=caller.trace, affinity=caller.affinity)

    async def _server_live(self, _request: pb.ServerLiveRequest, _context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _request: pb.ServerReadyRequest, _context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._control.server_ready())

    async def _model_ready(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=self._control.model_ready(_key(context), request.name, request.version))

    async def _server_metadata(self, _request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return self._control.server_metadata(_key(context))

    async def _model_metadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        return self._control.model_metadata(_key(context), request.name, request.version)

    async def _model_config(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        return self._control.model_config(_key(context), request.name, request.version)

    async def _model_statistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        return await self._control.model_statistics(_key(context), request.name, request.version)

    async def _repository_index(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        return self._control.index(_key(context), ready_only=request.ready, repository_name=request.repository_name)

    async def _load(self, request: pb.RepositoryModelLoadRequest, context: Context) -> pb.RepositoryModelLoadResponse:
        caller, model = Caller.of(context, longest_seconds=WAIT_SECONDS), _model_of(request)
        await self._control.load(caller.key, model, _parameters(request), caller.deadline)
        return pb.RepositoryModelLoadResponse(model_name=model, is_loaded=True)

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, context: Context) -> pb.RepositoryModelUnloadResponse:
        caller, model = Caller.of(context, longest_seconds=WAIT_SECONDS), _model_of(request)
        await self._control.unload(caller.key, model, _parameters(request), caller.deadline)
        return pb.RepositoryModelUnloadResponse(model_name=model, is_unloaded=True)

    async def _system_regions(self, _request: pb.SystemSharedMemoryStatusRequest, _context: Context) -> pb.SystemSharedMemoryStatusResponse:
        return pb.SystemSharedMemoryStatusResponse()

    async def _cuda_regions(self, _request: pb.CudaSharedMemoryStatusRequest, _context: Context) -> pb.CudaSharedMemoryStatusResponse:
        return pb.CudaSharedMemoryStatusResponse()

    async def _refuse_region(
        self, _request: pb.SystemSharedMemoryRegisterRequest | pb.CudaSharedMemoryRegisterRequest, _context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        raise NotImplementedHere("shared memory is not offered here: send tensors as raw_input_contents", reason="SHARED_MEMORY")

    async def _forget_system_region(
        self, _request: pb.SystemSharedMemoryUnregisterRequest, _context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        return pb.SystemSharedMemoryUnregisterResponse()

    async def _forget_cuda_region(
        self, _request: pb.CudaSharedMemoryUnregisterRequest, _context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        return pb.CudaSharedMemoryUnregisterResponse()

    async def _trace_setting(self, request: pb.TraceSettingRequest, context: Context) -> pb.TraceSettingResponse:
        wanted = {name: tuple(setting.value) for name, setting in request.settings.items()}
        settings = self._control.traces(_key(context), wanted, model=request.model_name)
        value = pb.TraceSettingResponse.SettingValue
        return pb.TraceSettingResponse(settings={name: value(value=values) for name, values in settings.items()})

    async def _log_settings(self, request: pb.LogSettingsRequest, context: Context) -> pb.LogSettingsResponse:
        wanted = {name: _log_value(name, setting) for name, setting in request.settings.items()}
        settings = self._control.logs(_key(context), wanted)
        return pb.LogSettingsResponse(settings={name: _log_setting(value) for name, value in settings.items()})


def _key(context: Context) -> str | None:
    return Caller.of(context, longest_seconds=WAIT_SECONDS).key


def _model_of(request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest) -> str:
    """Return the model's name: KServe's clients send it in the field that is the repository's in Triton's protocol.

    Raises:
        NotImplementedHere: a repository is named beside the model; there is only one.
    """
    if request.model_name and request.repository_name:
        raise NotImplementedHere("there is one repository: leave 'repository_name' empty", field="repository_name")
    return request.model_name or request.repository_name


def _parameters(request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for name, parameter in request.parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInput(f"parameter {name[:64]!r} has no value", reason="BAD_PARAMETER", field=name[:64])
        found[name] = getattr(parameter, choice)
    return found


def _log_value(name: str, setting: pb.LogSettingsRequest.SettingValue) -> LogValue:
    choice = setting.WhichOneof("parameter_choice")
    if choice is None:
        raise InvalidInput(f"log setting {name[:64]!r} has no value", reason="BAD_PARAMETER", field=name[:64])
    value: LogValue = getattr(setting, choice)
    return value


def _log_setting(value: LogValue) -> pb.LogSettingsResponse.SettingValue:
    if isinstance(value, bool):
        return pb.LogSettingsResponse.SettingValue(bool_param=value)
    if isinstance(value, int):
        return pb.LogSettingsResponse.SettingValue(uint32_param=value)
    return pb.LogSettingsResponse.SettingValue(string_param=value)
