"""Every error that penstock tells a caller, and the one table that says how.

    ServingError
    ├── InvalidInput                  the request breaks the model's signature or the protocol
    │   ├── MalformedBody             the bytes could not be read at all
    │   └── InvalidSpec               problems of a specification: `details` lists all of them
    ├── UnsupportedMedia              method, media type, encoding or extension that is not served
    ├── NotImplementedHere            a capability that does not exist yet
    ├── Unauthenticated               no valid credential
    ├── TenantForbidden               a valid credential without this right
    ├── NotFound
    │   ├── ModelNotFound
    │   └── VersionNotFound
    ├── AlreadyExists                 the name is taken by something else
    ├── Conflict                      the system has to change first
    │   ├── RevisionConflict          somebody else changed it meanwhile: `details` holds both sides
    │   └── MemoryBudgetExceeded · InvalidTransition · LoadFailed
    ├── ArtifactCorrupt               files differ from their digest, or cannot be read
    ├── RequestTooLarge               more bytes or rows than the limit
    ├── QuotaExceeded                 this tenant has used what it may; `retry_after_seconds` says when to come back
    ├── Overloaded                    the platform sheds load; `retry_after_seconds` says when to come back
    ├── Unavailable                   elsewhere or later the same request may succeed
    │   ├── ReplicaOverloaded         this replica has no room; never executed
    │   ├── NoReadyReplica
    │   ├── WorkerLost
    │   ├── ReplicaGone               the worker no longer holds the replica; never executed
    │   └── Draining
    ├── DeadlineExceeded
    ├── CallerLeft
    └── Internal                      our fault; the text never says more than the request id
        ├── ExecutionFailed
        └── OutputContract            the model broke its own signature

A `reason` is an error's stable name, on the link, in gRPC trailers and HTTP bodies; the message says what, where and the next step.
"""

from __future__ import annotations

from penstock.contracts.reasons import CASES
from penstock.contracts.status import UNAVAILABLE, GrpcCode, Status, clean


class ServingError(Exception):
    """An error that a caller is told about."""

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after_seconds: float | None = None,
        details: object = None,
    ) -> None:
        """Keep the facts: a finer `reason` than the class's own, the `field` (input, parameter, header), when it pays to come back."""
        super().__init__(clean(message))
        self.reason = reason or type(self).reason
        self.field = field
        self.retry_after_seconds = retry_after_seconds
        self.details = details

    @property
    def message(self) -> str:
        """The text for the caller."""
        return str(self.args[0])

    @property
    def status(self) -> Status:
        """The row of the status table."""
        return status_of(type(self))


class InvalidInput(ServingError):
    """The request breaks the model's signature or the protocol."""

    reason = "INVALID_ARGUMENT"


class MalformedBody(InvalidInput):
    """The bytes could not be read at all."""

    reason = "MALFORMED"


class InvalidSpec(InvalidInput):
    """A specification has problems; `details` are pairs of a JSON pointer and what is wrong there."""

    reason = "INVALID_SPEC"


class UnsupportedMedia(ServingError):
    """A method, media type, encoding or extension that is not served."""

    reason = "UNSUPPORTED"


class NotImplementedHere(ServingError):
    """A capability that does not exist yet."""

    reason = "NOT_IMPLEMENTED"


class Unauthenticated(ServingError):
    """No valid credential."""

    reason = "UNAUTHENTICATED"


class TenantForbidden(ServingError):
    """A valid credential without this right."""

    reason = "FORBIDDEN"


class NotFound(ServingError):
    """Nothing of this name, or nothing that this caller may see."""

    reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of this name."""

    reason = "MODEL_NOT_FOUND"


class VersionNotFound(NotFound):
    """The model has no such version or alias."""

    reason = "VERSION_NOT_FOUND"


class AlreadyExists(ServingError):
    """The name is taken by something else; what has it does not change."""

    reason = "ALREADY_EXISTS"


class Conflict(ServingError):
    """The state of the system forbids it."""

    reason = "CONFLICT"


class RevisionConflict(Conflict):
    """Somebody else changed it meanwhile; `details` are the revision that was expected, the one that stands, and what stands."""

    reason = "REVISION_CONFLICT"


class MemoryBudgetExceeded(Conflict):
    """The version does not fit the worker's memory."""

    reason = "MEMORY_BUDGET_EXCEEDED"


class InvalidTransition(Conflict):
    """The replica's life has no such step."""

    reason = "INVALID_TRANSITION"


class LoadFailed(Conflict):
    """A version could not be loaded."""

    reason = "LOAD_FAILED"


class ArtifactCorrupt(ServingError):
    """Files differ from their digest or cannot be read."""

    reason = "ARTIFACT_CORRUPT"


class RequestTooLarge(ServingError):
    """More bytes, rows or fields than the limit."""

    reason = "REQUEST_TOO_LARGE"


class QuotaExceeded(ServingError):
    """The tenant has used what it may."""

    reason = "QUOTA"


class Overloaded(ServingError):
    """More is asked than can be answered in time: the platform sheds this request."""

    reason = "OVERLOADED"


class Unavailable(ServingError):
    """Elsewhere or later the same request may succeed."""

    reason = "UNAVAILABLE"


class ReplicaOverloaded(Unavailable):
    """One replica has no room; the request was not executed and may go to another one."""

    reason = "REPLICA_OVERLOADED"


class NoReadyReplica(Unavailable):
    """No worker holds the version ready."""

    reason = "NO_READY_REPLICA"


class WorkerLost(Unavailable):
    """The worker went away before it answered."""

    reason = "WORKER_LOST"


class ReplicaGone(Unavailable):
    """The worker no longer holds the replica; the request was not executed."""

    reason = "REPLICA_GONE"


class Draining(Unavailable):
    """The process takes no new work."""

    reason = "DRAINING"


class DeadlineExceeded(ServingError):
    """The deadline passed, or cannot be made."""

    reason = "DEADLINE_EXCEEDED"


class CallerLeft(ServingError):
    """The caller cancelled or disconnected."""

    reason = "CANCELLED"


class Internal(ServingError):
    """Our fault."""

    reason = "INTERNAL"


class ExecutionFailed(Internal):
    """The model's execution failed."""

    reason = "EXECUTION_FAILED"


class OutputContract(Internal):
    """The model's output differs from its signature."""

    reason = "OUTPUT_CONTRACT"


STATUS: dict[type[ServingError], Status] = {
    **dict.fromkeys((InvalidInput, MalformedBody), Status(grpc=GrpcCode.INVALID_ARGUMENT, http=400)),
    InvalidSpec: Status(grpc=GrpcCode.INVALID_ARGUMENT, http=422),
    UnsupportedMedia: Status(grpc=GrpcCode.UNIMPLEMENTED, http=415),
    NotImplementedHere: Status(grpc=GrpcCode.UNIMPLEMENTED, http=501),
    Unauthenticated: Status(grpc=GrpcCode.UNAUTHENTICATED, http=401),
    TenantForbidden: Status(grpc=GrpcCode.PERMISSION_DENIED, http=403),
    **dict.fromkeys((NotFound, ModelNotFound, VersionNotFound), Status(grpc=GrpcCode.NOT_FOUND, http=404)),
    AlreadyExists: Status(grpc=GrpcCode.ALREADY_EXISTS, http=409),
    RevisionConflict: Status(grpc=GrpcCode.ABORTED, http=409),
    **dict.fromkeys((Conflict, MemoryBudgetExceeded, InvalidTransition, LoadFailed), Status(grpc=GrpcCode.FAILED_PRECONDITION, http=409)),
    ArtifactCorrupt: Status(grpc=GrpcCode.DATA_LOSS, http=500),
    RequestTooLarge: Status(grpc=GrpcCode.RESOURCE_EXHAUSTED, http=413),
    **dict.fromkeys((QuotaExceeded, Overloaded), Status(grpc=GrpcCode.RESOURCE_EXHAUSTED, http=429, is_retryable=True)),
    **dict.fromkeys((Unavailable, ReplicaOverloaded, NoReadyReplica, WorkerLost, ReplicaGone, Draining), UNAVAILABLE),
    DeadlineExceeded: Status(grpc=GrpcCode.DEADLINE_EXCEEDED, http=504),
    CallerLeft: Status(grpc=GrpcCode.CANCELLED, http=499),
    **dict.fromkeys((Internal, ExecutionFailed, OutputContract), Status(grpc=GrpcCode.INTERNAL, http=500)),
}
"""The one status table."""

FINER_REASONS: dict[str, type[ServingError]] = {reason: kind for kind in STATUS for reason in CASES.get(kind.__name__, "").split()}
"""Reasons that name a case of a class; both directions of the table use them."""

BY_REASON: dict[str, type[ServingError]] = {kind.reason: kind for kind in STATUS} | FINER_REASONS


def status_of(kind: type[ServingError]) -> Status:
    """Return the table's row for a class or its nearest listed base."""
    for base in kind.__mro__:
        status = STATUS.get(base)
        if status is not None:
            return status
    return STATUS[Internal]


def error_from(reason: str, message: str, *, retry_after_seconds: float | None = None) -> ServingError:
    """Rebuild an error from its reason; an unknown reason becomes Internal."""
    kind = BY_REASON.get(reason, Internal)
    return kind(message, reason=reason, retry_after_seconds=retry_after_seconds)
