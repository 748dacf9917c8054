from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Holding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLDING_UNSPECIFIED: _ClassVar[Holding]
    HOLDING_ACTIVE: _ClassVar[Holding]
    HOLDING_STANDBY: _ClassVar[Holding]
    HOLDING_DRAINING: _ClassVar[Holding]
HOLDING_UNSPECIFIED: Holding
HOLDING_ACTIVE: Holding
HOLDING_STANDBY: Holding
HOLDING_DRAINING: Holding

class AssignedReplica(_message.Message):
    __slots__ = ("model", "version", "digest", "holding", "config_json", "deployment_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    digest: str
    holding: Holding
    config_json: str
    deployment_id: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., holding: _Optional[_Union[Holding, str]] = ..., config_json: _Optional[str] = ..., deployment_id: _Optional[str] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("worker_id", "revision", "writer_epoch", "replicas", "sequence")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WRITER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    revision: int
    writer_epoch: int
    replicas: _containers.RepeatedCompositeFieldContainer[AssignedReplica]
    sequence: int
    def __init__(self, worker_id: _Optional[str] = ..., revision: _Optional[int] = ..., writer_epoch: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[AssignedReplica, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...
