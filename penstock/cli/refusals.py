"""What a server refuses, in the words of the command line: where it was asked, and what to run next."""

from __future__ import annotations

from penstock.cli.address import ServerAddress
from penstock.cli.failure import Failure, TimedOut
from penstock.contracts.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    LoadFailed,
    MemoryBudgetExceeded,
    ModelNotFound,
    NoReadyReplica,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    ServingError,
    TenantForbidden,
    Unauthenticated,
    Unavailable,
)

INSPECT = "penstock models inspect{model}"
"""Says nothing where no model was named."""

MAKE_A_KEY = (
    "give a key with --api-key or PENSTOCK_API_KEY; `penstock tenants create-key TENANT` makes one in a mesh (an administrator's: "
    "`penstock keys administrator` on the controller's machine), `penstock keys create` one for a tenants file"
)

NEXT_STEPS: tuple[tuple[type[ServingError], str], ...] = (
    (DeadlineExceeded, "allow more with --timeout; `penstock models stats{model}` shows where time goes"),
    (Unauthenticated, MAKE_A_KEY),
    (TenantForbidden, "use a key of a tenant with this right, or change the server's tenants file"),
    (ModelNotFound, "penstock models list"),
    (NotFound, INSPECT),
    (NoReadyReplica, INSPECT),
    (LoadFailed, "mend the files, then `penstock models load{model}`"),
    (MemoryBudgetExceeded, "unload another model: `penstock models list`"),
    (Overloaded, "come back later, or ask less: `penstock models stats{model}` shows where time goes"),
    (RequestTooLarge, "send fewer rows at once"),
    (InvalidInput, INSPECT),
    (Unavailable, "penstock status"),
    (Internal, "look for the request id in the server's log"),
)
"""What to do next, by the first class that fits."""

LISTS = {
    "DEPLOYMENT_NOT_FOUND": "penstock deployments list",
    "TENANT_NOT_FOUND": "penstock tenants list",
    "KEY_NOT_FOUND": "penstock keys list",
}
"""What lists the things that were not found, by reason."""

START_OR_NAME = "penstock serve REPOSITORY, or name a server with --grpc HOST:PORT"
SILENCE = "no answer within the time that was allowed"
_GRPC_DEADLINE = "Deadline Exceeded"
"""What gRPC says when the client itself gave up."""


def failure_of(error: ServingError, address: ServerAddress, *, model: str | None = None) -> Failure:
    """Return the failure that a refusal means to the command that asked."""
    if is_unreachable(error):
        return _unreachable(error, address)
    if isinstance(error, DeadlineExceeded):
        what = SILENCE if error.message == _GRPC_DEADLINE else error.message
        return TimedOut(what, reason=error.reason, where=str(address), next_step=_next_step(error, model))
    return Failure(error.message, reason=error.reason, where=str(address), next_step=_next_step(error, model))


def is_unreachable(error: ServingError) -> bool:
    """Whether there was no answer at all: servers of ours name a finer reason."""
    return type(error) is Unavailable and error.reason == Unavailable.reason


def _unreachable(error: ServingError, address: ServerAddress) -> Failure:
    # gRPC tells a long story, the end of which is the cause: "Connection refused (111)".
    cause = error.message.rpartition(": ")[2].rstrip("]} ")
    what = f"no server answers ({cause})" if cause else "no server answers"
    next_step = "penstock doctor" if address.is_named or address.serve else START_OR_NAME
    return Failure(what, reason=Unavailable.reason, where=str(address), next_step=next_step)


def _next_step(error: ServingError, model: str | None) -> str:
    if isinstance(error, QuotaExceeded) and error.retry_after_seconds is not None:
        return f"come back in {error.retry_after_seconds:g} s"
    if error.reason in LISTS:
        return LISTS[error.reason]
    step = next((step for kind, step in NEXT_STEPS if isinstance(error, kind)), "")
    if step == INSPECT and not model:
        return ""
    step = step.format(model=f" {model}" if model else "")
    return "" if step in error.message else step
