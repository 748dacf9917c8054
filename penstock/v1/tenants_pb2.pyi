from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TenantKey(_message.Message):
    __slots__ = ("key_id", "hash", "expires_time", "revoked")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    hash: str
    expires_time: float
    revoked: bool
    def __init__(self, key_id: _Optional[str] = ..., hash: _Optional[str] = ..., expires_time: _Optional[float] = ..., revoked: _Optional[bool] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("tenant", "revision", "keys", "settings_json", "frozen", "writer_epoch", "sequence")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    WRITER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    revision: int
    keys: _containers.RepeatedCompositeFieldContainer[TenantKey]
    settings_json: str
    frozen: bool
    writer_epoch: int
    sequence: int
    def __init__(self, tenant: _Optional[str] = ..., revision: _Optional[int] = ..., keys: _Optional[_Iterable[_Union[TenantKey, _Mapping]]] = ..., settings_json: _Optional[str] = ..., frozen: _Optional[bool] = ..., writer_epoch: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...
