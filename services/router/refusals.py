"""The words in which the inference path refuses requests."""

from __future__ import annotations

import structlog

from penstock.contracts.errors import DeadlineExceeded, Internal, InvalidInput, ModelNotFound, Overloaded, ServingError

REQUESTS_IN_FLIGHT_LIMIT = 65_536
"""Requests of this process beyond which calls are refused at the door."""

log = structlog.get_logger(__name__)


def absent(model: str) -> ModelNotFound:
    """Return the refusal of a model that there is not, or that the tenant may not know of."""
    return ModelNotFound(f"model {model[:64]!r} is not known here (penstock models list)", field="model_name")


def untold(error: Exception) -> ServingError:
    """Return what callers are told of an answer that could not be put into words."""
    if isinstance(error, ServingError):
        return error
    log.error("answer_not_told", exc_info=error)
    return Internal("internal error")


def door(deadline: float, now: float, priority: int, levels: int, in_flight: int) -> ServingError | None:
    """Return why a request is refused before it is counted against anybody."""
    if deadline <= now:
        return DeadlineExceeded("the deadline had passed when the request arrived")
    if levels and priority > levels:
        return InvalidInput(f"priority {priority}: the model has levels 1 to {levels}", reason="BAD_PARAMETER", field="priority")
    if in_flight >= REQUESTS_IN_FLIGHT_LIMIT:
        return Overloaded(f"{in_flight} requests are in flight in this router: retry later", retry_after_seconds=0.1)
    return None
