from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriorityClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_CLASS_UNSPECIFIED: _ClassVar[PriorityClass]
    PRIORITY_CLASS_ONLINE: _ClassVar[PriorityClass]
    PRIORITY_CLASS_STREAM: _ClassVar[PriorityClass]
    PRIORITY_CLASS_BULK: _ClassVar[PriorityClass]
PRIORITY_CLASS_UNSPECIFIED: PriorityClass
PRIORITY_CLASS_ONLINE: PriorityClass
PRIORITY_CLASS_STREAM: PriorityClass
PRIORITY_CLASS_BULK: PriorityClass

class Hello(_message.Message):
    __slots__ = ("worker_instance_id", "router_instance_id", "protocol_version", "monotonic_microseconds")
    WORKER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    worker_instance_id: str
    router_instance_id: str
    protocol_version: int
    monotonic_microseconds: int
    def __init__(self, worker_instance_id: _Optional[str] = ..., router_instance_id: _Optional[str] = ..., protocol_version: _Optional[int] = ..., monotonic_microseconds: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("worker_instance_id", "protocol_version", "credit_rows")
    WORKER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREDIT_ROWS_FIELD_NUMBER: _ClassVar[int]
    worker_instance_id: str
    protocol_version: int
    credit_rows: int
    def __init__(self, worker_instance_id: _Optional[str] = ..., protocol_version: _Optional[int] = ..., credit_rows: _Optional[int] = ...) -> None: ...

class InputTemplate(_message.Message):
    __slots__ = ("input_index", "shape")
    INPUT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    input_index: int
    shape: bytes
    def __init__(self, input_index: _Optional[int] = ..., shape: _Optional[bytes] = ...) -> None: ...

class InputColumn(_message.Message):
    __slots__ = ("raw", "lengths")
    RAW_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    raw: bytes
    lengths: bytes
    def __init__(self, raw: _Optional[bytes] = ..., lengths: _Optional[bytes] = ...) -> None: ...

class TraceContext(_message.Message):
    __slots__ = ("index", "traceparent")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    traceparent: str
    def __init__(self, index: _Optional[int] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("chunk_id", "replica_id", "priority_class", "priority_level", "count", "rows_per_request", "inputs", "columns", "outputs", "deadlines", "tenants", "traces")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_LEVEL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    DEADLINES_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    TRACES_FIELD_NUMBER: _ClassVar[int]
    chunk_id: int
    replica_id: int
    priority_class: PriorityClass
    priority_level: int
    count: int
    rows_per_request: int
    inputs: _containers.RepeatedCompositeFieldContainer[InputTemplate]
    columns: _containers.RepeatedCompositeFieldContainer[InputColumn]
    outputs: bytes
    deadlines: bytes
    tenants: bytes
    traces: _containers.RepeatedCompositeFieldContainer[TraceContext]
    def __init__(self, chunk_id: _Optional[int] = ..., replica_id: _Optional[int] = ..., priority_class: _Optional[_Union[PriorityClass, str]] = ..., priority_level: _Optional[int] = ..., count: _Optional[int] = ..., rows_per_request: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[InputTemplate, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[InputColumn, _Mapping]]] = ..., outputs: _Optional[bytes] = ..., deadlines: _Optional[bytes] = ..., tenants: _Optional[bytes] = ..., traces: _Optional[_Iterable[_Union[TraceContext, _Mapping]]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("chunk_id", "index")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    chunk_id: int
    index: int
    def __init__(self, chunk_id: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class RouterFrame(_message.Message):
    __slots__ = ("hello", "chunks", "cancels", "ping", "monotonic_microseconds")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    cancels: _containers.RepeatedCompositeFieldContainer[Cancel]
    ping: int
    monotonic_microseconds: int
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., ping: _Optional[int] = ..., monotonic_microseconds: _Optional[int] = ...) -> None: ...

class OutputColumn(_message.Message):
    __slots__ = ("shape", "raw", "lengths")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    shape: bytes
    raw: bytes
    lengths: bytes
    def __init__(self, shape: _Optional[bytes] = ..., raw: _Optional[bytes] = ..., lengths: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("index", "reason", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: str
    message: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("chunk_id", "start", "count", "indices", "outputs", "failures", "queue_microseconds", "compute_microseconds", "execution_rows", "waiting_rows")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ROWS_FIELD_NUMBER: _ClassVar[int]
    WAITING_ROWS_FIELD_NUMBER: _ClassVar[int]
    chunk_id: int
    start: int
    count: int
    indices: bytes
    outputs: _containers.RepeatedCompositeFieldContainer[OutputColumn]
    failures: _containers.RepeatedCompositeFieldContainer[Failure]
    queue_microseconds: int
    compute_microseconds: int
    execution_rows: int
    waiting_rows: int
    def __init__(self, chunk_id: _Optional[int] = ..., start: _Optional[int] = ..., count: _Optional[int] = ..., indices: _Optional[bytes] = ..., outputs: _Optional[_Iterable[_Union[OutputColumn, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[Failure, _Mapping]]] = ..., queue_microseconds: _Optional[int] = ..., compute_microseconds: _Optional[int] = ..., execution_rows: _Optional[int] = ..., waiting_rows: _Optional[int] = ...) -> None: ...

class WorkerFrame(_message.Message):
    __slots__ = ("welcome", "answers", "pong", "draining", "credit_rows")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    CREDIT_ROWS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    pong: int
    draining: bool
    credit_rows: int
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ..., pong: _Optional[int] = ..., draining: _Optional[bool] = ..., credit_rows: _Optional[int] = ...) -> None: ...
