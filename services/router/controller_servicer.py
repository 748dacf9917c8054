"""The controller's service on the router's port: every method is passed on, byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from penstock.contracts.errors import Unavailable
from penstock.v1 import controller_pb2
from services.router.controller_link import LONGEST_SECONDS, REASON, SERVICE, ControllerLink, Metadata, Refusal, no_controller
from services.router.grpc_errors import Context, MethodHandler

PASSED_ON = frozenset({"x-api-key", "authorization", "traceparent", "tracestate", "x-request-id"})
"""Metadata that the controller gets to see."""

_METHODS = controller_pb2.DESCRIPTOR.services_by_name["Controller"].methods


class ControllerServicer:
    """Answers `penstock.v1.Controller` by whoever leads."""

    name = SERVICE

    def __init__(self, link: ControllerLink) -> None:
        """Keep the way to the controllers."""
        self._link = link

    def begin_drain(self) -> None:
        """Nothing here lives longer than its call."""

    def methods(self) -> Mapping[str, MethodHandler]:
        """Return the methods by name."""
        unary: Any = grpc.unary_unary_rpc_method_handler
        stream: Any = grpc.stream_unary_rpc_method_handler
        return {
            method.name: stream(self._streamed(method.name)) if method.client_streaming else unary(self._passed(method.name))
            for method in _METHODS
        }

    def _passed(self, method: str) -> Any:
        async def behaviour(payload: bytes, context: Context) -> bytes:
            try:
                return await self._link.unary(method, payload, _metadata(context), _seconds(context))
            except Refusal as refusal:
                return await _refuse(context, refusal)

        return behaviour

    def _streamed(self, method: str) -> Any:
        async def behaviour(payloads: AsyncIterator[bytes], context: Context) -> bytes:
            if not self._link.exists:
                raise no_controller()
            try:
                return await self._link.stream(method, payloads, _metadata(context), _seconds(context))
            except Refusal as refusal:
                return await _refuse(context, refusal)

        return behaviour


async def _refuse(context: Context, refusal: Refusal) -> bytes:
    if refusal.code is grpc.StatusCode.UNAVAILABLE and not any(name == REASON for name, _ in refusal.trailers):
        # What gRPC says by itself names addresses of the inside.
        raise Unavailable("no controller answers; models are served as before", reason="CONTROLLER_AWAY", retry_after_seconds=1.0)
    wanted = ("penstock-", "grpc-retry-pushback-ms")
    trailers = tuple((name, value) for name, value in refusal.trailers if name.startswith(wanted))
    return await context.abort(refusal.code, refusal.details, trailers)


def _metadata(context: Context) -> Metadata:
    return [(name, value) for name, value in context.invocation_metadata() or () if name in PASSED_ON]


def _seconds(context: Context) -> float:
    remaining: Any = context.time_remaining()  # None without a deadline, which its stubs do not know
    return LONGEST_SECONDS if remaining is None else min(float(remaining), LONGEST_SECONDS)
