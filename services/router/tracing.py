"""Server spans of sampled requests: a decision before anything is made, a finished span afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.contracts.errors import ServingError
from services.chassis.spans import model_attributes, rpc_attributes, server_span
from services.chassis.telemetry import Telemetry
from services.chassis.trace_context import SpanContext
from services.router.targets import Target

METHOD = "inference.GRPCInferenceService/ModelInfer"
"""What every request is here, whichever protocol brought it."""


class RequestTracer:
    """Makes the spans of sampled requests; one that is not sampled costs a comparison."""

    def __init__(self, telemetry: Telemetry, *, clock: Callable[[], float]) -> None:
        """Keep the collaborators."""
        self._telemetry = telemetry
        self._clock = clock

    def begin(self, traceparent: str | None) -> SpanContext | None:
        """Return the identity of a request's span, by its caller's decision or by ratio; None when it is not sampled."""
        return self._telemetry.sampler.should_sample(traceparent)

    def begin_all(self, traceparents: Sequence[str | None]) -> Sequence[tuple[int, SpanContext]]:
        """Decide for many requests at once; return the place and the identity of each span that is sampled."""
        return self._telemetry.sampler.sample_all(traceparents)

    def end(self, context: SpanContext, target: Target, seconds: float, error: ServingError | None) -> None:
        """Hand over the span of a request that ends now and took `seconds`."""
        now = self._clock()
        deployment = target.deployment
        status = "OK" if error is None else error.status.grpc.name
        attributes = rpc_attributes(METHOD, status) | model_attributes(deployment.model, deployment.version)
        reason = None if error is None else error.reason
        self._telemetry.emit(server_span(context, METHOD, (now - seconds, now), attributes, reason))
