from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_SOURCE_UNSPECIFIED: _ClassVar[KeySource]
    KEY_SOURCE_REQUEST: _ClassVar[KeySource]
    KEY_SOURCE_TENANT: _ClassVar[KeySource]
    KEY_SOURCE_USER: _ClassVar[KeySource]
    KEY_SOURCE_SESSION: _ClassVar[KeySource]
    KEY_SOURCE_PARAMETER: _ClassVar[KeySource]
KEY_SOURCE_UNSPECIFIED: KeySource
KEY_SOURCE_REQUEST: KeySource
KEY_SOURCE_TENANT: KeySource
KEY_SOURCE_USER: KeySource
KEY_SOURCE_SESSION: KeySource
KEY_SOURCE_PARAMETER: KeySource

class RoutingKey(_message.Message):
    __slots__ = ("source", "parameter", "salt")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    source: KeySource
    parameter: str
    salt: str
    def __init__(self, source: _Optional[_Union[KeySource, str]] = ..., parameter: _Optional[str] = ..., salt: _Optional[str] = ...) -> None: ...

class Backend(_message.Message):
    __slots__ = ("version", "weight_basis_points", "attempts", "try_timeout_seconds")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    TRY_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    weight_basis_points: int
    attempts: int
    try_timeout_seconds: float
    def __init__(self, version: _Optional[str] = ..., weight_basis_points: _Optional[int] = ..., attempts: _Optional[int] = ..., try_timeout_seconds: _Optional[float] = ...) -> None: ...

class Pin(_message.Message):
    __slots__ = ("tenant", "version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    version: str
    def __init__(self, tenant: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("version", "sample_basis_points", "concurrency_limit_requests")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_LIMIT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    version: str
    sample_basis_points: int
    concurrency_limit_requests: int
    def __init__(self, version: _Optional[str] = ..., sample_basis_points: _Optional[int] = ..., concurrency_limit_requests: _Optional[int] = ...) -> None: ...

class FallbackStep(_message.Message):
    __slots__ = ("version", "cached", "declared_response")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    DECLARED_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    version: str
    cached: bool
    declared_response: bytes
    def __init__(self, version: _Optional[str] = ..., cached: _Optional[bool] = ..., declared_response: _Optional[bytes] = ...) -> None: ...

class KillSwitch(_message.Message):
    __slots__ = ("version", "tenant")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    version: str
    tenant: str
    def __init__(self, version: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("model", "revision", "writer_epoch", "sequence", "change_id", "changed_time", "backends", "routing_key", "pins", "aliases", "shadow", "fallback", "kill_switches", "frozen", "previous_backends")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WRITER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_TIME_FIELD_NUMBER: _ClassVar[int]
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    KILL_SWITCHES_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_BACKENDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: int
    writer_epoch: int
    sequence: int
    change_id: str
    changed_time: float
    backends: _containers.RepeatedCompositeFieldContainer[Backend]
    routing_key: RoutingKey
    pins: _containers.RepeatedCompositeFieldContainer[Pin]
    aliases: _containers.ScalarMap[str, str]
    shadow: Shadow
    fallback: _containers.RepeatedCompositeFieldContainer[FallbackStep]
    kill_switches: _containers.RepeatedCompositeFieldContainer[KillSwitch]
    frozen: bool
    previous_backends: _containers.RepeatedCompositeFieldContainer[Backend]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[int] = ..., writer_epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., change_id: _Optional[str] = ..., changed_time: _Optional[float] = ..., backends: _Optional[_Iterable[_Union[Backend, _Mapping]]] = ..., routing_key: _Optional[_Union[RoutingKey, _Mapping]] = ..., pins: _Optional[_Iterable[_Union[Pin, _Mapping]]] = ..., aliases: _Optional[_Mapping[str, str]] = ..., shadow: _Optional[_Union[Shadow, _Mapping]] = ..., fallback: _Optional[_Iterable[_Union[FallbackStep, _Mapping]]] = ..., kill_switches: _Optional[_Iterable[_Union[KillSwitch, _Mapping]]] = ..., frozen: _Optional[bool] = ..., previous_backends: _Optional[_Iterable[_Union[Backend, _Mapping]]] = ...) -> None: ...

class RouteRecord(_message.Message):
    __slots__ = ("route", "break_glass", "signature", "key_id")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    BREAK_GLASS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    route: bytes
    break_glass: bool
    signature: bytes
    key_id: str
    def __init__(self, route: _Optional[bytes] = ..., break_glass: _Optional[bool] = ..., signature: _Optional[bytes] = ..., key_id: _Optional[str] = ...) -> None: ...
