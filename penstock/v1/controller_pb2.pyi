from penstock.v1 import routes_pb2 as _routes_pb2
from penstock.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeploymentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPLOYMENT_STATUS_UNSPECIFIED: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_DEPLOYING: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_ACTIVE: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_DRAINING: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_RETIRED: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_FAILED: _ClassVar[DeploymentStatus]

class SignatureState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNATURE_STATE_UNSPECIFIED: _ClassVar[SignatureState]
    SIGNATURE_STATE_UNSIGNED: _ClassVar[SignatureState]
    SIGNATURE_STATE_GOOD: _ClassVar[SignatureState]
    SIGNATURE_STATE_UNKNOWN_KEY: _ClassVar[SignatureState]
    SIGNATURE_STATE_BAD: _ClassVar[SignatureState]
DEPLOYMENT_STATUS_UNSPECIFIED: DeploymentStatus
DEPLOYMENT_STATUS_DEPLOYING: DeploymentStatus
DEPLOYMENT_STATUS_ACTIVE: DeploymentStatus
DEPLOYMENT_STATUS_DRAINING: DeploymentStatus
DEPLOYMENT_STATUS_RETIRED: DeploymentStatus
DEPLOYMENT_STATUS_FAILED: DeploymentStatus
SIGNATURE_STATE_UNSPECIFIED: SignatureState
SIGNATURE_STATE_UNSIGNED: SignatureState
SIGNATURE_STATE_GOOD: SignatureState
SIGNATURE_STATE_UNKNOWN_KEY: SignatureState
SIGNATURE_STATE_BAD: SignatureState

class WriteOptions(_message.Message):
    __slots__ = ("idempotency_key", "dry_run", "expected_revision", "reason")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    dry_run: bool
    expected_revision: int
    reason: str
    def __init__(self, idempotency_key: _Optional[str] = ..., dry_run: _Optional[bool] = ..., expected_revision: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("change_id", "kind", "subject", "actor", "time", "reason", "before_json", "after_json", "revision", "sequence", "hash", "number", "dry_run")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BEFORE_JSON_FIELD_NUMBER: _ClassVar[int]
    AFTER_JSON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    kind: str
    subject: str
    actor: str
    time: float
    reason: str
    before_json: str
    after_json: str
    revision: int
    sequence: int
    hash: str
    number: int
    dry_run: bool
    def __init__(self, change_id: _Optional[str] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., actor: _Optional[str] = ..., time: _Optional[float] = ..., reason: _Optional[str] = ..., before_json: _Optional[str] = ..., after_json: _Optional[str] = ..., revision: _Optional[int] = ..., sequence: _Optional[int] = ..., hash: _Optional[str] = ..., number: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "description", "framework", "owner", "created_time", "changed_time", "aliases", "versions", "revision")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGED_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    framework: str
    owner: str
    created_time: float
    changed_time: float
    aliases: _containers.ScalarMap[str, str]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    revision: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., framework: _Optional[str] = ..., owner: _Optional[str] = ..., created_time: _Optional[float] = ..., changed_time: _Optional[float] = ..., aliases: _Optional[_Mapping[str, str]] = ..., versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("model", "version", "digest", "size_bytes", "inputs", "outputs", "metadata", "feature_hash", "created_time", "created_by", "signature", "signed_by")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    FEATURE_HASH_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    digest: str
    size_bytes: int
    inputs: _containers.RepeatedCompositeFieldContainer[_worker_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_worker_pb2.TensorSpec]
    metadata: _containers.ScalarMap[str, str]
    feature_hash: str
    created_time: float
    created_by: str
    signature: bytes
    signed_by: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[_worker_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_worker_pb2.TensorSpec, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., feature_hash: _Optional[str] = ..., created_time: _Optional[float] = ..., created_by: _Optional[str] = ..., signature: _Optional[bytes] = ..., signed_by: _Optional[str] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("deployment_id", "model", "version", "status", "status_reason", "replicas", "ready_replicas", "gpu_type", "traffic_basis_points", "config_json", "created_time", "changed_time", "revision", "memory_bytes")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_REASON_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGED_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    model: str
    version: str
    status: DeploymentStatus
    status_reason: str
    replicas: int
    ready_replicas: int
    gpu_type: str
    traffic_basis_points: int
    config_json: str
    created_time: float
    changed_time: float
    revision: int
    memory_bytes: int
    def __init__(self, deployment_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., status: _Optional[_Union[DeploymentStatus, str]] = ..., status_reason: _Optional[str] = ..., replicas: _Optional[int] = ..., ready_replicas: _Optional[int] = ..., gpu_type: _Optional[str] = ..., traffic_basis_points: _Optional[int] = ..., config_json: _Optional[str] = ..., created_time: _Optional[float] = ..., changed_time: _Optional[float] = ..., revision: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Confirmation(_message.Message):
    __slots__ = ("router_id", "seconds")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    seconds: float
    def __init__(self, router_id: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("deployment_id", "model", "version", "worker_id", "action", "reason", "memory_bytes")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    model: str
    version: str
    worker_id: str
    action: str
    reason: str
    memory_bytes: int
    def __init__(self, deployment_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., worker_id: _Optional[str] = ..., action: _Optional[str] = ..., reason: _Optional[str] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class TenantRecord(_message.Message):
    __slots__ = ("tenant", "settings_json", "keys", "frozen", "revision")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    settings_json: str
    keys: _containers.RepeatedCompositeFieldContainer[KeyRecord]
    frozen: bool
    revision: int
    def __init__(self, tenant: _Optional[str] = ..., settings_json: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[KeyRecord, _Mapping]]] = ..., frozen: _Optional[bool] = ..., revision: _Optional[int] = ...) -> None: ...

class KeyRecord(_message.Message):
    __slots__ = ("key_id", "created_time", "expires_time", "revoked", "last_used_time")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_TIME_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    created_time: float
    expires_time: float
    revoked: bool
    last_used_time: float
    def __init__(self, key_id: _Optional[str] = ..., created_time: _Optional[float] = ..., expires_time: _Optional[float] = ..., revoked: _Optional[bool] = ..., last_used_time: _Optional[float] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("role", "name", "instance_id", "silent_seconds", "applied_sequence", "leader")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SILENT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    role: str
    name: str
    instance_id: str
    silent_seconds: float
    applied_sequence: int
    leader: bool
    def __init__(self, role: _Optional[str] = ..., name: _Optional[str] = ..., instance_id: _Optional[str] = ..., silent_seconds: _Optional[float] = ..., applied_sequence: _Optional[int] = ..., leader: _Optional[bool] = ...) -> None: ...

class UploadBlobRequest(_message.Message):
    __slots__ = ("sha256", "size_bytes", "offset_bytes", "chunk")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    offset_bytes: int
    chunk: bytes
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., offset_bytes: _Optional[int] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadBlobResponse(_message.Message):
    __slots__ = ("received_bytes",)
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    def __init__(self, received_bytes: _Optional[int] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class GetUploadResponse(_message.Message):
    __slots__ = ("received_bytes", "complete")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    complete: bool
    def __init__(self, received_bytes: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class VersionFile(_message.Message):
    __slots__ = ("path", "sha256", "size_bytes")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    path: str
    sha256: str
    size_bytes: int
    def __init__(self, path: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class RegisterVersionRequest(_message.Message):
    __slots__ = ("model", "version", "files", "source", "metadata", "description", "owner", "framework", "options", "signature", "key_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    files: _containers.RepeatedCompositeFieldContainer[VersionFile]
    source: str
    metadata: _containers.ScalarMap[str, str]
    description: str
    owner: str
    framework: str
    options: WriteOptions
    signature: bytes
    key_id: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., files: _Optional[_Iterable[_Union[VersionFile, _Mapping]]] = ..., source: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., description: _Optional[str] = ..., owner: _Optional[str] = ..., framework: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., signature: _Optional[bytes] = ..., key_id: _Optional[str] = ...) -> None: ...

class RegisterVersionResponse(_message.Message):
    __slots__ = ("version", "change")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    change: Change
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "deployments", "route")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    model: Model
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    route: _routes_pb2.Route
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ..., route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("model", "alias", "version", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    alias: str
    version: str
    options: WriteOptions
    def __init__(self, model: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("model", "change")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    model: Model
    change: Change
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class VerifyVersionRequest(_message.Message):
    __slots__ = ("model", "version", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    options: WriteOptions
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class VerifiedFile(_message.Message):
    __slots__ = ("path", "size_bytes", "sha256", "damage")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    sha256: str
    damage: str
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., damage: _Optional[str] = ...) -> None: ...

class VerifyVersionResponse(_message.Message):
    __slots__ = ("version", "files", "damage", "signature_state", "change")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_STATE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    files: _containers.RepeatedCompositeFieldContainer[VerifiedFile]
    damage: str
    signature_state: SignatureState
    change: Change
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ..., files: _Optional[_Iterable[_Union[VerifiedFile, _Mapping]]] = ..., damage: _Optional[str] = ..., signature_state: _Optional[_Union[SignatureState, str]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class CreateDeploymentRequest(_message.Message):
    __slots__ = ("model", "version", "replicas", "gpu_type", "traffic_basis_points", "config_json", "memory_bytes", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    replicas: int
    gpu_type: str
    traffic_basis_points: int
    config_json: str
    memory_bytes: int
    options: WriteOptions
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., replicas: _Optional[int] = ..., gpu_type: _Optional[str] = ..., traffic_basis_points: _Optional[int] = ..., config_json: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class CreateDeploymentResponse(_message.Message):
    __slots__ = ("deployment", "change", "placements")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    change: Change
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class ListDeploymentsRequest(_message.Message):
    __slots__ = ("model", "retired")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    model: str
    retired: bool
    def __init__(self, model: _Optional[str] = ..., retired: _Optional[bool] = ...) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments",)
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ...) -> None: ...

class UpdateDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "replicas", "config_json", "options")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    replicas: int
    config_json: str
    options: WriteOptions
    def __init__(self, deployment_id: _Optional[str] = ..., replicas: _Optional[int] = ..., config_json: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class UpdateDeploymentResponse(_message.Message):
    __slots__ = ("deployment", "change")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    change: Change
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class DeleteDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "force", "options")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    force: bool
    options: WriteOptions
    def __init__(self, deployment_id: _Optional[str] = ..., force: _Optional[bool] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class DeleteDeploymentResponse(_message.Message):
    __slots__ = ("deployment", "change")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    change: Change
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class SetTrafficRequest(_message.Message):
    __slots__ = ("model", "basis_points", "options", "wait_seconds")
    class BasisPointsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    basis_points: _containers.ScalarMap[str, int]
    options: WriteOptions
    wait_seconds: float
    def __init__(self, model: _Optional[str] = ..., basis_points: _Optional[_Mapping[str, int]] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class SetTrafficResponse(_message.Message):
    __slots__ = ("route", "change", "confirmations")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    route: _routes_pb2.Route
    change: Change
    confirmations: _containers.RepeatedCompositeFieldContainer[Confirmation]
    def __init__(self, route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., confirmations: _Optional[_Iterable[_Union[Confirmation, _Mapping]]] = ...) -> None: ...

class PinTenantRequest(_message.Message):
    __slots__ = ("model", "tenant", "version", "options", "wait_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    tenant: str
    version: str
    options: WriteOptions
    wait_seconds: float
    def __init__(self, model: _Optional[str] = ..., tenant: _Optional[str] = ..., version: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class PinTenantResponse(_message.Message):
    __slots__ = ("route", "change", "confirmations")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    route: _routes_pb2.Route
    change: Change
    confirmations: _containers.RepeatedCompositeFieldContainer[Confirmation]
    def __init__(self, route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., confirmations: _Optional[_Iterable[_Union[Confirmation, _Mapping]]] = ...) -> None: ...

class SetShadowRequest(_message.Message):
    __slots__ = ("model", "shadow", "options", "wait_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    shadow: _routes_pb2.Shadow
    options: WriteOptions
    wait_seconds: float
    def __init__(self, model: _Optional[str] = ..., shadow: _Optional[_Union[_routes_pb2.Shadow, _Mapping]] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class SetShadowResponse(_message.Message):
    __slots__ = ("route", "change", "confirmations")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    route: _routes_pb2.Route
    change: Change
    confirmations: _containers.RepeatedCompositeFieldContainer[Confirmation]
    def __init__(self, route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., confirmations: _Optional[_Iterable[_Union[Confirmation, _Mapping]]] = ...) -> None: ...

class UpdateRouteRequest(_message.Message):
    __slots__ = ("model", "routing_key", "fallback", "set_fallback", "kill_switches", "set_kill_switches", "frozen", "edges", "options", "wait_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    SET_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    KILL_SWITCHES_FIELD_NUMBER: _ClassVar[int]
    SET_KILL_SWITCHES_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    routing_key: _routes_pb2.RoutingKey
    fallback: _containers.RepeatedCompositeFieldContainer[_routes_pb2.FallbackStep]
    set_fallback: bool
    kill_switches: _containers.RepeatedCompositeFieldContainer[_routes_pb2.KillSwitch]
    set_kill_switches: bool
    frozen: bool
    edges: _containers.RepeatedCompositeFieldContainer[_routes_pb2.Backend]
    options: WriteOptions
    wait_seconds: float
    def __init__(self, model: _Optional[str] = ..., routing_key: _Optional[_Union[_routes_pb2.RoutingKey, _Mapping]] = ..., fallback: _Optional[_Iterable[_Union[_routes_pb2.FallbackStep, _Mapping]]] = ..., set_fallback: _Optional[bool] = ..., kill_switches: _Optional[_Iterable[_Union[_routes_pb2.KillSwitch, _Mapping]]] = ..., set_kill_switches: _Optional[bool] = ..., frozen: _Optional[bool] = ..., edges: _Optional[_Iterable[_Union[_routes_pb2.Backend, _Mapping]]] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class UpdateRouteResponse(_message.Message):
    __slots__ = ("route", "change", "confirmations")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    route: _routes_pb2.Route
    change: Change
    confirmations: _containers.RepeatedCompositeFieldContainer[Confirmation]
    def __init__(self, route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., confirmations: _Optional[_Iterable[_Union[Confirmation, _Mapping]]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("model", "to_version", "options", "wait_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    to_version: str
    options: WriteOptions
    wait_seconds: float
    def __init__(self, model: _Optional[str] = ..., to_version: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("route", "change", "confirmations", "elapsed_seconds")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    route: _routes_pb2.Route
    change: Change
    confirmations: _containers.RepeatedCompositeFieldContainer[Confirmation]
    elapsed_seconds: float
    def __init__(self, route: _Optional[_Union[_routes_pb2.Route, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., confirmations: _Optional[_Iterable[_Union[Confirmation, _Mapping]]] = ..., elapsed_seconds: _Optional[float] = ...) -> None: ...

class PlanPlacementRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class PlanPlacementResponse(_message.Message):
    __slots__ = ("placements",)
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class SetTenantRequest(_message.Message):
    __slots__ = ("tenant", "settings_json", "frozen", "options", "force")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    settings_json: str
    frozen: bool
    options: WriteOptions
    force: bool
    def __init__(self, tenant: _Optional[str] = ..., settings_json: _Optional[str] = ..., frozen: _Optional[bool] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., force: _Optional[bool] = ...) -> None: ...

class SetTenantResponse(_message.Message):
    __slots__ = ("tenant", "change")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    tenant: TenantRecord
    change: Change
    def __init__(self, tenant: _Optional[_Union[TenantRecord, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[TenantRecord]
    def __init__(self, tenants: _Optional[_Iterable[_Union[TenantRecord, _Mapping]]] = ...) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("tenant", "life_seconds", "options")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    LIFE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    life_seconds: float
    options: WriteOptions
    def __init__(self, tenant: _Optional[str] = ..., life_seconds: _Optional[float] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("key", "record", "change")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    key: str
    record: KeyRecord
    change: Change
    def __init__(self, key: _Optional[str] = ..., record: _Optional[_Union[KeyRecord, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("tenant", "key_id", "options", "force")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    key_id: str
    options: WriteOptions
    force: bool
    def __init__(self, tenant: _Optional[str] = ..., key_id: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ..., force: _Optional[bool] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("tenant", "change")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    tenant: TenantRecord
    change: Change
    def __init__(self, tenant: _Optional[_Union[TenantRecord, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class ListChangesRequest(_message.Message):
    __slots__ = ("since_time", "subject", "most_changes", "verify")
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    MOST_CHANGES_FIELD_NUMBER: _ClassVar[int]
    VERIFY_FIELD_NUMBER: _ClassVar[int]
    since_time: float
    subject: str
    most_changes: int
    verify: bool
    def __init__(self, since_time: _Optional[float] = ..., subject: _Optional[str] = ..., most_changes: _Optional[int] = ..., verify: _Optional[bool] = ...) -> None: ...

class ListChangesResponse(_message.Message):
    __slots__ = ("changes", "broken")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    broken: str
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., broken: _Optional[str] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("manifest", "options")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    manifest: str
    options: WriteOptions
    def __init__(self, manifest: _Optional[str] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("changes", "pending")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    pending: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., pending: _Optional[_Iterable[str]] = ...) -> None: ...

class SetWritesFrozenRequest(_message.Message):
    __slots__ = ("frozen", "options")
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    frozen: bool
    options: WriteOptions
    def __init__(self, frozen: _Optional[bool] = ..., options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class SetWritesFrozenResponse(_message.Message):
    __slots__ = ("frozen", "change", "revision")
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    frozen: bool
    change: Change
    revision: int
    def __init__(self, frozen: _Optional[bool] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class RepublishRequest(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: WriteOptions
    def __init__(self, options: _Optional[_Union[WriteOptions, _Mapping]] = ...) -> None: ...

class RepublishResponse(_message.Message):
    __slots__ = ("records", "change")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedScalarFieldContainer[str]
    change: Change
    def __init__(self, records: _Optional[_Iterable[str]] = ..., change: _Optional[_Union[Change, _Mapping]] = ...) -> None: ...

class GetMeshRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMeshResponse(_message.Message):
    __slots__ = ("members", "unpublished")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    UNPUBLISHED_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    unpublished: int
    def __init__(self, members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., unpublished: _Optional[int] = ...) -> None: ...
