from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExposureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPOSURE_REASON_UNSPECIFIED: _ClassVar[ExposureReason]
    EXPOSURE_REASON_WEIGHT: _ClassVar[ExposureReason]
    EXPOSURE_REASON_ASKED: _ClassVar[ExposureReason]
    EXPOSURE_REASON_PIN: _ClassVar[ExposureReason]
    EXPOSURE_REASON_FALLBACK: _ClassVar[ExposureReason]
    EXPOSURE_REASON_SHADOW: _ClassVar[ExposureReason]

class AnswerSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_SOURCE_UNSPECIFIED: _ClassVar[AnswerSource]
    ANSWER_SOURCE_WORKER: _ClassVar[AnswerSource]
    ANSWER_SOURCE_RESULT_CACHE: _ClassVar[AnswerSource]
    ANSWER_SOURCE_STALE_CACHE: _ClassVar[AnswerSource]
    ANSWER_SOURCE_DECLARED: _ClassVar[AnswerSource]
EXPOSURE_REASON_UNSPECIFIED: ExposureReason
EXPOSURE_REASON_WEIGHT: ExposureReason
EXPOSURE_REASON_ASKED: ExposureReason
EXPOSURE_REASON_PIN: ExposureReason
EXPOSURE_REASON_FALLBACK: ExposureReason
EXPOSURE_REASON_SHADOW: ExposureReason
ANSWER_SOURCE_UNSPECIFIED: AnswerSource
ANSWER_SOURCE_WORKER: AnswerSource
ANSWER_SOURCE_RESULT_CACHE: AnswerSource
ANSWER_SOURCE_STALE_CACHE: AnswerSource
ANSWER_SOURCE_DECLARED: AnswerSource

class AppliedRoute(_message.Message):
    __slots__ = ("model", "revision", "change_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: int
    change_id: str
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[int] = ..., change_id: _Optional[str] = ...) -> None: ...

class AskedVersion(_message.Message):
    __slots__ = ("model", "version", "asked_time")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ASKED_TIME_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    asked_time: float
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., asked_time: _Optional[float] = ...) -> None: ...

class RouterStatus(_message.Message):
    __slots__ = ("router_id", "instance_id", "revision", "applied_sequence", "applied", "admin_address", "draining", "observed_time", "asked", "signed_records", "key_uses")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ADMIN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_TIME_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    SIGNED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    KEY_USES_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    instance_id: str
    revision: int
    applied_sequence: int
    applied: _containers.RepeatedCompositeFieldContainer[AppliedRoute]
    admin_address: str
    draining: bool
    observed_time: float
    asked: _containers.RepeatedCompositeFieldContainer[AskedVersion]
    signed_records: _containers.RepeatedScalarFieldContainer[bytes]
    key_uses: _containers.RepeatedCompositeFieldContainer[KeyUse]
    def __init__(self, router_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., revision: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., applied: _Optional[_Iterable[_Union[AppliedRoute, _Mapping]]] = ..., admin_address: _Optional[str] = ..., draining: _Optional[bool] = ..., observed_time: _Optional[float] = ..., asked: _Optional[_Iterable[_Union[AskedVersion, _Mapping]]] = ..., signed_records: _Optional[_Iterable[bytes]] = ..., key_uses: _Optional[_Iterable[_Union[KeyUse, _Mapping]]] = ...) -> None: ...

class KeyUse(_message.Message):
    __slots__ = ("key_id", "used_time")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    USED_TIME_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    used_time: float
    def __init__(self, key_id: _Optional[str] = ..., used_time: _Optional[float] = ...) -> None: ...

class Exposure(_message.Message):
    __slots__ = ("time", "model", "version", "tenant", "unit", "reason", "route_revision", "request_id", "source", "sample_basis_points")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_BASIS_POINTS_FIELD_NUMBER: _ClassVar[int]
    time: float
    model: str
    version: str
    tenant: str
    unit: bytes
    reason: ExposureReason
    route_revision: int
    request_id: str
    source: AnswerSource
    sample_basis_points: int
    def __init__(self, time: _Optional[float] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., tenant: _Optional[str] = ..., unit: _Optional[bytes] = ..., reason: _Optional[_Union[ExposureReason, str]] = ..., route_revision: _Optional[int] = ..., request_id: _Optional[str] = ..., source: _Optional[_Union[AnswerSource, str]] = ..., sample_basis_points: _Optional[int] = ...) -> None: ...

class ExposureBatch(_message.Message):
    __slots__ = ("router_instance_id", "exposures", "dropped")
    ROUTER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    EXPOSURES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    router_instance_id: str
    exposures: _containers.RepeatedCompositeFieldContainer[Exposure]
    dropped: int
    def __init__(self, router_instance_id: _Optional[str] = ..., exposures: _Optional[_Iterable[_Union[Exposure, _Mapping]]] = ..., dropped: _Optional[int] = ...) -> None: ...

class ShadowComparison(_message.Message):
    __slots__ = ("against_version", "pairs", "agreeing", "distance_sum", "distance_max", "latency_difference_seconds_sum", "failed", "not_copied")
    AGAINST_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    AGREEING_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_SUM_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_MAX_FIELD_NUMBER: _ClassVar[int]
    LATENCY_DIFFERENCE_SECONDS_SUM_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    NOT_COPIED_FIELD_NUMBER: _ClassVar[int]
    against_version: str
    pairs: int
    agreeing: int
    distance_sum: float
    distance_max: float
    latency_difference_seconds_sum: float
    failed: int
    not_copied: int
    def __init__(self, against_version: _Optional[str] = ..., pairs: _Optional[int] = ..., agreeing: _Optional[int] = ..., distance_sum: _Optional[float] = ..., distance_max: _Optional[float] = ..., latency_difference_seconds_sum: _Optional[float] = ..., failed: _Optional[int] = ..., not_copied: _Optional[int] = ...) -> None: ...

class OutcomeWindow(_message.Message):
    __slots__ = ("router_instance_id", "model", "version", "segment", "start_time", "length_seconds", "route_revision", "requests", "errors", "latency", "scores", "degraded", "shadow", "comparison", "dropped_windows")
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROUTER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    LENGTH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    DROPPED_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    router_instance_id: str
    model: str
    version: str
    segment: str
    start_time: float
    length_seconds: float
    route_revision: int
    requests: int
    errors: _containers.ScalarMap[str, int]
    latency: Sketch
    scores: Sketch
    degraded: int
    shadow: bool
    comparison: ShadowComparison
    dropped_windows: int
    def __init__(self, router_instance_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., segment: _Optional[str] = ..., start_time: _Optional[float] = ..., length_seconds: _Optional[float] = ..., route_revision: _Optional[int] = ..., requests: _Optional[int] = ..., errors: _Optional[_Mapping[str, int]] = ..., latency: _Optional[_Union[Sketch, _Mapping]] = ..., scores: _Optional[_Union[Sketch, _Mapping]] = ..., degraded: _Optional[int] = ..., shadow: _Optional[bool] = ..., comparison: _Optional[_Union[ShadowComparison, _Mapping]] = ..., dropped_windows: _Optional[int] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("gamma", "indexes", "counts", "negative_indexes", "negative_counts", "zeros", "count", "sum", "minimum", "maximum")
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_INDEXES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    gamma: float
    indexes: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    negative_indexes: _containers.RepeatedScalarFieldContainer[int]
    negative_counts: _containers.RepeatedScalarFieldContainer[int]
    zeros: int
    count: int
    sum: float
    minimum: float
    maximum: float
    def __init__(self, gamma: _Optional[float] = ..., indexes: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., negative_indexes: _Optional[_Iterable[int]] = ..., negative_counts: _Optional[_Iterable[int]] = ..., zeros: _Optional[int] = ..., count: _Optional[int] = ..., sum: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ...) -> None: ...
