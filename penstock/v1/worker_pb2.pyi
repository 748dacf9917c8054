from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNSPECIFIED: _ClassVar[ReplicaState]
    REPLICA_STATE_LOADING: _ClassVar[ReplicaState]
    REPLICA_STATE_WARMING: _ClassVar[ReplicaState]
    REPLICA_STATE_READY: _ClassVar[ReplicaState]
    REPLICA_STATE_DRAINING: _ClassVar[ReplicaState]
    REPLICA_STATE_UNLOADED: _ClassVar[ReplicaState]
    REPLICA_STATE_FAILED: _ClassVar[ReplicaState]
REPLICA_STATE_UNSPECIFIED: ReplicaState
REPLICA_STATE_LOADING: ReplicaState
REPLICA_STATE_WARMING: ReplicaState
REPLICA_STATE_READY: ReplicaState
REPLICA_STATE_DRAINING: ReplicaState
REPLICA_STATE_UNLOADED: ReplicaState
REPLICA_STATE_FAILED: ReplicaState

class TensorSpec(_message.Message):
    __slots__ = ("name", "datatype", "shape", "symbols", "optional", "is_text", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    IS_TEXT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    optional: bool
    is_text: bool
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., symbols: _Optional[_Iterable[str]] = ..., optional: _Optional[bool] = ..., is_text: _Optional[bool] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class CostPoint(_message.Message):
    __slots__ = ("rows", "seconds")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    seconds: float
    def __init__(self, rows: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("replica_id", "model", "version", "digest", "state", "reason", "inputs", "outputs", "max_batch_size", "model_config", "memory_bytes", "costs", "provider", "changed_time", "response_cache", "response_cache_ttl_seconds", "reject_non_finite", "priority_levels", "files_digest", "given_up", "unhealthy")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CHANGED_TIME_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_LEVELS_FIELD_NUMBER: _ClassVar[int]
    FILES_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_FIELD_NUMBER: _ClassVar[int]
    UNHEALTHY_FIELD_NUMBER: _ClassVar[int]
    replica_id: int
    model: str
    version: str
    digest: str
    state: ReplicaState
    reason: str
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    max_batch_size: int
    model_config: bytes
    memory_bytes: int
    costs: _containers.RepeatedCompositeFieldContainer[CostPoint]
    provider: str
    changed_time: float
    response_cache: bool
    response_cache_ttl_seconds: float
    reject_non_finite: bool
    priority_levels: int
    files_digest: str
    given_up: bool
    unhealthy: bool
    def __init__(self, replica_id: _Optional[int] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., reason: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., max_batch_size: _Optional[int] = ..., model_config: _Optional[bytes] = ..., memory_bytes: _Optional[int] = ..., costs: _Optional[_Iterable[_Union[CostPoint, _Mapping]]] = ..., provider: _Optional[str] = ..., changed_time: _Optional[float] = ..., response_cache: _Optional[bool] = ..., response_cache_ttl_seconds: _Optional[float] = ..., reject_non_finite: _Optional[bool] = ..., priority_levels: _Optional[int] = ..., files_digest: _Optional[str] = ..., given_up: _Optional[bool] = ..., unhealthy: _Optional[bool] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("worker_id", "instance_id", "link_address", "control_address", "process_id", "revision", "draining", "replicas", "settled", "memory_budget_bytes", "applied_overrides", "assignment_revision", "gpu_type", "labels", "observed_time")
    class AppliedOverridesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    LINK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    APPLIED_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_TIME_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    instance_id: str
    link_address: str
    control_address: str
    process_id: int
    revision: int
    draining: bool
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    settled: bool
    memory_budget_bytes: int
    applied_overrides: _containers.ScalarMap[str, int]
    assignment_revision: int
    gpu_type: str
    labels: _containers.ScalarMap[str, str]
    observed_time: float
    def __init__(self, worker_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., link_address: _Optional[str] = ..., control_address: _Optional[str] = ..., process_id: _Optional[int] = ..., revision: _Optional[int] = ..., draining: _Optional[bool] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., settled: _Optional[bool] = ..., memory_budget_bytes: _Optional[int] = ..., applied_overrides: _Optional[_Mapping[str, int]] = ..., assignment_revision: _Optional[int] = ..., gpu_type: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., observed_time: _Optional[float] = ...) -> None: ...

class ModelOverride(_message.Message):
    __slots__ = ("model", "revision", "unloaded", "config_json", "files", "failed_versions")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class FailedVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNLOADED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FAILED_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: int
    unloaded: bool
    config_json: str
    files: _containers.ScalarMap[str, bytes]
    failed_versions: _containers.ScalarMap[str, str]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[int] = ..., unloaded: _Optional[bool] = ..., config_json: _Optional[str] = ..., files: _Optional[_Mapping[str, bytes]] = ..., failed_versions: _Optional[_Mapping[str, str]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("model", "config_json", "files")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    model: str
    config_json: str
    files: _containers.ScalarMap[str, bytes]
    def __init__(self, model: _Optional[str] = ..., config_json: _Optional[str] = ..., files: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReplicasResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: WorkerStatus
    def __init__(self, status: _Optional[_Union[WorkerStatus, _Mapping]] = ...) -> None: ...

class WatchReplicasRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchReplicasResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: WorkerStatus
    def __init__(self, status: _Optional[_Union[WorkerStatus, _Mapping]] = ...) -> None: ...

class StepStatistics(_message.Message):
    __slots__ = ("count", "nanoseconds")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    count: int
    nanoseconds: int
    def __init__(self, count: _Optional[int] = ..., nanoseconds: _Optional[int] = ...) -> None: ...

class BatchStatistics(_message.Message):
    __slots__ = ("batch_size", "compute_input", "compute_infer", "compute_output")
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INPUT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INFER_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    batch_size: int
    compute_input: StepStatistics
    compute_infer: StepStatistics
    compute_output: StepStatistics
    def __init__(self, batch_size: _Optional[int] = ..., compute_input: _Optional[_Union[StepStatistics, _Mapping]] = ..., compute_infer: _Optional[_Union[StepStatistics, _Mapping]] = ..., compute_output: _Optional[_Union[StepStatistics, _Mapping]] = ...) -> None: ...

class ReplicaStatistics(_message.Message):
    __slots__ = ("model", "version", "last_inference_milliseconds", "inference_count", "execution_count", "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "batches", "memory_bytes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_INFERENCE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FAIL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INPUT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INFER_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    last_inference_milliseconds: int
    inference_count: int
    execution_count: int
    success: StepStatistics
    fail: StepStatistics
    queue: StepStatistics
    compute_input: StepStatistics
    compute_infer: StepStatistics
    compute_output: StepStatistics
    batches: _containers.RepeatedCompositeFieldContainer[BatchStatistics]
    memory_bytes: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., last_inference_milliseconds: _Optional[int] = ..., inference_count: _Optional[int] = ..., execution_count: _Optional[int] = ..., success: _Optional[_Union[StepStatistics, _Mapping]] = ..., fail: _Optional[_Union[StepStatistics, _Mapping]] = ..., queue: _Optional[_Union[StepStatistics, _Mapping]] = ..., compute_input: _Optional[_Union[StepStatistics, _Mapping]] = ..., compute_infer: _Optional[_Union[StepStatistics, _Mapping]] = ..., compute_output: _Optional[_Union[StepStatistics, _Mapping]] = ..., batches: _Optional[_Iterable[_Union[BatchStatistics, _Mapping]]] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatistics]
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaStatistics, _Mapping]]] = ...) -> None: ...
