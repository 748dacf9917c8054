"""What the inference path needs of tracing: a decision before anything is made, and finished spans afterwards."""

from __future__ import annotations

from typing import Protocol

from penstock.contracts.errors import ServingError
from services.router.targets import Target


class Span(Protocol):
    """A sampled request."""

    @property
    def traceparent(self) -> str:
        """W3C traceparent that the worker's spans hang under."""
        ...

    @property
    def trace_id(self) -> str:
        """Trace id in hexadecimal, for exemplars."""
        ...


class Tracer(Protocol):
    """Makes server spans of sampled requests."""

    def begin(self, traceparent: str | None) -> Span | None:
        """Return a span when the request is sampled, by its caller's decision or by ratio; None costs nothing further."""
        ...

    def end(self, span: Span, target: Target, seconds: float, error: ServingError | None) -> None:
        """Finish a request's span that ends now and took `seconds`."""
        ...
