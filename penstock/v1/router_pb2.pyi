from penstock.v1 import observations_pb2 as _observations_pb2
from penstock.v1 import routes_pb2 as _routes_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApplyRouteRequest(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: _routes_pb2.RouteRecord
    def __init__(self, record: _Optional[_Union[_routes_pb2.RouteRecord, _Mapping]] = ...) -> None: ...

class ApplyRouteResponse(_message.Message):
    __slots__ = ("applied", "status")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    status: _observations_pb2.RouterStatus
    def __init__(self, applied: _Optional[bool] = ..., status: _Optional[_Union[_observations_pb2.RouterStatus, _Mapping]] = ...) -> None: ...

class GetRoutesRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetRoutesResponse(_message.Message):
    __slots__ = ("routes", "status")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[_routes_pb2.RouteRecord]
    status: _observations_pb2.RouterStatus
    def __init__(self, routes: _Optional[_Iterable[_Union[_routes_pb2.RouteRecord, _Mapping]]] = ..., status: _Optional[_Union[_observations_pb2.RouterStatus, _Mapping]] = ...) -> None: ...
