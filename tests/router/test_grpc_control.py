"""Everything but inference over gRPC, the same from every engine."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contracts.errors import GrpcCode
from penstock.contracts.worker_status import ReplicaState
from penstock.oip.v2 import health_pb2
from penstock.oip.v2 import inference_pb2 as pb
from tests.router.control_stand import replica
from tests.router.front_cases import request
from tests.router.grpc_face import Face, refused


async def test_inference_goes_through(face: Face):
    answer = await face.oip.ModelInfer(pb.ModelInferRequest.FromString(request("r1")))

    assert answer.id == "r1"


async def test_the_server_lives_and_is_ready(face: Face):
    assert (await face.oip.ServerLive(pb.ServerLiveRequest())).live
    assert (await face.oip.ServerReady(pb.ServerReadyRequest())).ready


async def test_what_is_served_is_described(face: Face):
    assert (await face.oip.ServerMetadata(pb.ServerMetadataRequest())).name == "penstock"
    assert (await face.oip.ModelReady(pb.ModelReadyRequest(name="digits", version="1"))).ready
    assert not (await face.oip.ModelReady(pb.ModelReadyRequest(name="digits", version="2"))).ready
    assert (await face.oip.ModelMetadata(pb.ModelMetadataRequest(name="digits"))).inputs[0].name == "x"
    assert (await face.oip.ModelConfig(pb.ModelConfigRequest(name="digits"))).config.max_batch_size == 8
    assert [one.state for one in (await face.oip.RepositoryIndex(pb.RepositoryIndexRequest())).models] == ["READY", "UNAVAILABLE"]
    assert len((await face.oip.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))).models) == 1
    assert (await face.oip.ModelStatistics(pb.ModelStatisticsRequest(name="digits"))).model_stats[0].inference_count == 10


async def test_refusals_of_control_calls_are_typed(face: Face):
    seen = await refused(face.oip.ModelMetadata(pb.ModelMetadataRequest(name="digit")))

    assert (seen.code, seen.reason) == (GrpcCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "did you mean 'digits'" in (seen.message or "")


async def test_bytes_that_are_no_message_are_refused_without_a_trace(face: Face, caplog: pytest.LogCaptureFixture):
    call = face.channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
    seen = await refused(call(b"\xff\xff\xff\xff"))

    assert (seen.code, seen.reason) == (GrpcCode.INVALID_ARGUMENT, "MALFORMED")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["/inference.GRPCInferenceService/Nothing", "/nobody.Service/Nothing", "/x"])
async def test_an_unknown_method_is_unimplemented(face: Face, method: str):
    assert (await refused(face.channel.unary_unary(method)(b""))).code == GrpcCode.UNIMPLEMENTED


async def test_a_strangers_exception_leaves_as_an_internal_error_with_the_request_id_and_nothing_else(face: Face):
    async def explode(_address: str, _model: str) -> Any:
        message = "password=hunter2"
        raise RuntimeError(message)

    face.stand.workers.replicas = explode
    seen = await refused(face.oip.ModelStatistics(pb.ModelStatisticsRequest(), metadata=(("x-request-id", "abc-1"),)))

    assert (seen.code, seen.reason, seen.message) == (GrpcCode.INTERNAL, "INTERNAL", "internal error (request id abc-1)")


async def test_a_bad_request_id_is_refused(face: Face):
    metadata = (("x-request-id", "x" * 300),)
    for call in (
        face.oip.ModelInfer(pb.ModelInferRequest(), metadata=metadata),
        face.oip.ServerMetadata(pb.ServerMetadataRequest(), metadata=metadata),
    ):
        seen = await refused(call)
        assert (seen.code, seen.reason) == (GrpcCode.INVALID_ARGUMENT, "BAD_ID")


async def test_shared_memory_has_no_regions_and_takes_none(face: Face):
    assert not (await face.oip.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())).regions
    assert not (await face.oip.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest())).regions
    await face.oip.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
    await face.oip.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest())
    for call in (
        face.oip.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=4)),
        face.oip.CudaSharedMemoryRegister(pb.CudaSharedMemoryRegisterRequest(name="a", byte_size=4)),
    ):
        seen = await refused(call)
        assert (seen.code, seen.reason) == (GrpcCode.UNIMPLEMENTED, "SHARED_MEMORY")


async def test_settings_are_read_and_changed(face: Face):
    changed = await face.oip.LogSettings(pb.LogSettingsRequest(settings={"log_verbose_level": {"uint32_param": 1}}))
    traces = await face.oip.TraceSetting(
        pb.TraceSettingRequest(settings={"trace_level": {"value": ["TIMESTAMPS"]}, "trace_rate": {"value": ["2"]}})
    )

    assert (face.stand.levels.level, face.stand.sampler.ratio) == ("debug", 0.5)
    assert changed.settings["log_info"].bool_param
    assert changed.settings["log_format"].string_param == "default"
    assert list(traces.settings["trace_rate"].value) == ["2"]
    assert (await face.oip.TraceSetting(pb.TraceSettingRequest(model_name="digits"))).settings == traces.settings
    assert (
        await refused(face.oip.LogSettings(pb.LogSettingsRequest(settings={"log_file": {"string_param": "/x"}})))
    ).code == GrpcCode.UNIMPLEMENTED


@pytest.mark.parametrize("field", ["model_name", "repository_name"])
async def test_models_are_loaded_and_unloaded_for_triton_and_kserve_clients(face: Face, field: str):
    def apply(model: str, override: Any) -> None:
        state = ReplicaState.UNLOADED if override.unloaded else ReplicaState.READY
        face.stand.report(replicas=[replica(model, state=state)], applied={model: override.revision})

    face.stand.overrides.on_change = apply
    config = pb.ModelRepositoryParameter(string_param="{}")
    content = pb.ModelRepositoryParameter(bytes_param=b"onnx")
    loaded = await face.oip.RepositoryModelLoad(
        pb.RepositoryModelLoadRequest(**{field: "digits"}, parameters={"config": config, "file:1/model.onnx": content})
    )
    held = face.stand.overrides.held["digits"]
    assert (loaded.model_name, loaded.is_loaded) == ("digits", True)
    assert (held.config_json, dict(held.files)) == ("{}", {"1/model.onnx": b"onnx"})

    dependents = {"unload_dependents": pb.ModelRepositoryParameter(bool_param=True)}
    unloaded = await face.oip.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(**{field: "digits"}, parameters=dependents))
    assert (unloaded.model_name, unloaded.is_unloaded) == ("digits", True)
    assert face.stand.overrides.held["digits"].unloaded


async def test_a_load_beyond_its_deadline_or_with_a_bad_file_name_is_refused(face: Face):
    late = await refused(face.oip.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="digits"), timeout=0.1))
    parameters = {"file:../x": pb.ModelRepositoryParameter(bytes_param=b"")}
    bad = await refused(face.oip.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="digits", parameters=parameters)))

    assert late.code == GrpcCode.DEADLINE_EXCEEDED
    assert (bad.code, bad.reason) == (GrpcCode.INVALID_ARGUMENT, "BAD_NAME")


async def test_without_a_key_only_health_is_told(closed: Face):
    for call in (
        closed.oip.ServerMetadata(pb.ServerMetadataRequest()),
        closed.oip.ModelReady(pb.ModelReadyRequest(name="digits")),
        closed.oip.RepositoryIndex(pb.RepositoryIndexRequest()),
        closed.oip.ModelStatistics(pb.ModelStatisticsRequest()),
        closed.oip.LogSettings(pb.LogSettingsRequest()),
        closed.oip.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="digits")),
    ):
        assert (await refused(call)).code == GrpcCode.UNAUTHENTICATED
    assert (await closed.oip.ServerLive(pb.ServerLiveRequest())).live
    assert (await closed.health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("header", [("x-api-key", "secret"), ("authorization", "Bearer secret"), ("authorization", "bearer  secret")])
async def test_a_tenant_sees_its_own_models_and_changes_nothing(closed: Face, header: tuple[str, str]):
    index = await closed.oip.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=(header,))

    assert {one.name for one in index.models} == {"digits"}
    assert (await refused(closed.oip.ModelConfig(pb.ModelConfigRequest(name="fraud"), metadata=(header,)))).code == GrpcCode.NOT_FOUND
    for call in (
        closed.oip.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="digits"), metadata=(header,)),
        closed.oip.LogSettings(pb.LogSettingsRequest(settings={"log_info": {"bool_param": False}}), metadata=(header,)),
        closed.oip.TraceSetting(pb.TraceSettingRequest(settings={"trace_rate": {"value": ["1"]}}), metadata=(header,)),
    ):
        assert (await refused(call)).code == GrpcCode.PERMISSION_DENIED
