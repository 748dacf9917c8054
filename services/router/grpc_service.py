"""What a servicer gives to a grpcio server: its methods by name, over bytes.

Messages are read and written here and not by grpcio, so that bytes that are no message are a typed refusal (grpcio answers INTERNAL
and logs a trace), and so that methods which only pass bytes on never parse them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from penstock.contracts.errors import MalformedBody
from services.chassis.deadline import deadline_after
from services.chassis.presented_keys import PresentedKey
from services.router.front import Affinity
from services.router.grpc_errors import Context, MethodHandler
from services.router.grpc_metadata import peer_of, read_metadata

INFER_SECONDS = 60.0
"""Longest deadline of one inference."""

M = TypeVar("M", bound=Message)


class Service(Protocol):
    """A gRPC service as a server takes it."""

    @property
    def name(self) -> str:
        """Full name on the wire."""
        ...

    def methods(self) -> Mapping[str, MethodHandler]:
        """Return the methods by name."""
        ...

    def begin_drain(self) -> None:
        """End what would otherwise never end by itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and how long they wait."""

    key: str | None
    trace: str | None
    deadline: float
    """Absolute monotonic seconds."""
    affinity: Affinity | None = None

    @classmethod
    def of(cls, context: Context, *, longest_seconds: float) -> Caller:
        """Read a call's metadata and deadline, cut to `longest_seconds`.

        Raises:
            InvalidInput: the metadata breaks a rule.
        """
        metadata = context.invocation_metadata() or ()
        key, trace, affinity = read_metadata(metadata)
        remaining: float | None = context.time_remaining()
        presented = PresentedKey.of(key, peer_of(metadata, context.peer()))
        deadline = deadline_after(remaining, time.monotonic(), longest_seconds=longest_seconds)
        return cls(key=presented, trace=trace, affinity=affinity, deadline=deadline)


def decode(kind: type[M], payload: bytes) -> M:
    """Return the message that the bytes stand for.

    Raises:
        MalformedBody: they are no such message.
    """
    try:
        return kind.FromString(payload)
    except DecodeError:
        raise MalformedBody(
            f"the {len(payload)} bytes sent are no {kind.DESCRIPTOR.name}: check the client's version of the protocol"
        ) from None


def unary(kind: type[M], answer: Callable[[M, Context], Awaitable[Message]]) -> MethodHandler:
    """Return a method that takes one message and gives one."""

    async def behaviour(payload: bytes, context: Context) -> bytes:
        return (await answer(decode(kind, payload), context)).SerializeToString()

    return raw_unary(behaviour)


def raw_unary(behaviour: Callable[[bytes, Context], Awaitable[bytes]]) -> MethodHandler:
    """Return a method that takes and gives bytes."""
    make: Any = grpc.unary_unary_rpc_method_handler
    return make(behaviour)


def raw_unary_stream(behaviour: Callable[[bytes, Context], Awaitable[None]]) -> MethodHandler:
    """Return a method that takes bytes and writes any number of messages to its context, as bytes."""
    make: Any = grpc.unary_stream_rpc_method_handler
    return make(behaviour)


def raw_stream(behaviour: Callable[[Any, Context], Awaitable[None]]) -> MethodHandler:
    """Return a method that takes an iterator of bytes and writes any number of messages to its context, as bytes."""
    make: Any = grpc.stream_stream_rpc_method_handler
    return make(behaviour)
