"""Calls a server as a stranger would: plain gRPC, one try, and everything goes into the ledger.

The deadline travels as the protocol's `timeout` parameter, which only the server acts on; the client's own patience is longer. So a
server that forgets a call is told from one that refuses it: nobody else ends the call in time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np

from penstock.oip.v2 import inference_pb2 as pb
from tests.faults import oracle
from tests.faults.ledger import Intent, Kind, Ledger, Outcome

INFER = "/inference.GRPCInferenceService/ModelInfer"
SERVICE = "/inference.GRPCInferenceService/"
REASON = "penstock-reason"
CUT = "Stream removed"
"""What grpcio says of a stream that ended without all of its trailers."""
PATIENCE_SECONDS = 4.0
"""How much longer than the deadline the client waits before it gives a call up as unanswered."""
OPTIONS: list[tuple[str, int]] = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # gRPC takes it for the longest wait for a server's first frame as well, which is no fault of a busy machine's.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.http2.ping_timeout_ms", 1000),
    ("grpc.enable_retries", 0),
]

RETRYING: list[tuple[str, int | str]] = [
    *(one for one in OPTIONS if one[0] != "grpc.enable_retries"),
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [{"service": "inference.GRPCInferenceService"}],
                        "retryPolicy": {
                            "maxAttempts": 5,
                            "initialBackoff": "0.05s",
                            "maxBackoff": "0.5s",
                            "backoffMultiplier": 2.0,
                            "retryableStatusCodes": ["UNAVAILABLE"],
                        },
                    }
                ]
            }
        ),
    ),
]
"""Options of a client that follows gRPC's own retry policy: what it sees is what users of an ordinary client see."""


class Caller:
    """Some connections to one address; enter it where the loop runs."""

    def __init__(
        self,
        target: str,
        ledger: Ledger,
        *,
        connections: int = 2,
        key: str = "",
        priority: int = 0,
        options: Sequence[tuple[str, int | str]] = OPTIONS,
    ) -> None:
        """Store the arguments; `options` are those of the channels."""
        self.ledger = ledger
        self._priority = priority
        self._metadata = (("x-api-key", key),) if key else ()
        self._channels = [grpc.aio.insecure_channel(target, list(options)) for _ in range(connections)]
        self._turn = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for channel in self._channels:
            await channel.close()

    async def ask(self, model: str, nonce: int, *, rows: int = 1, deadline_seconds: float = 5.0, tenant: str = "") -> Outcome:
        """Ask one of the oracle's models."""
        return await self.send(model, oracle.rows_of(nonce, rows), nonce=nonce, deadline_seconds=deadline_seconds, tenant=tenant)

    async def send(self, model: str, x: np.ndarray, *, nonce: int = 0, deadline_seconds: float = 5.0, tenant: str = "") -> Outcome:
        """Send any rows."""
        intent = self.ledger.intend(model, nonce, rows=len(x), deadline_seconds=deadline_seconds, tenant=tenant)
        call = self._infer()(
            request_of(model, x, deadline_seconds, self._priority), timeout=deadline_seconds + PATIENCE_SECONDS, metadata=self._metadata
        )
        outcome = await _outcome(intent, call)
        self.ledger.conclude(outcome)
        return outcome

    async def control(self, method: str, request: Any, answer: Any) -> Any:
        """Call another method of the protocol."""
        send = request.SerializeToString
        call = self._channels[0].unary_unary(SERVICE + method, request_serializer=lambda _: send(), response_deserializer=answer.FromString)
        return await call(request, timeout=60, metadata=self._metadata)

    def _infer(self) -> Any:
        self._turn += 1
        channel = self._channels[self._turn % len(self._channels)]
        return channel.unary_unary(INFER, request_serializer=lambda made: made, response_deserializer=pb.ModelInferResponse.FromString)


def request_of(model: str, x: np.ndarray, deadline_seconds: float, priority: int = 0) -> bytes:
    """Return the bytes of a request."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="INT64", shape=x.shape)
    request.raw_input_contents.append(x.astype("<i8").tobytes())
    request.parameters["timeout"].int64_param = max(1, int(deadline_seconds * 1e6))
    if priority:
        request.parameters["priority"].int64_param = priority
    return request.SerializeToString()


async def _outcome(intent: Intent, call: Any) -> Outcome:
    try:
        response = await call
    except asyncio.CancelledError:
        return Outcome(op=intent.op, at=time.monotonic(), kind=Kind.UNKNOWN, code="CANCELLED", message="the caller left")
    except grpc.aio.AioRpcError as error:
        trailers = {str(key): value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
        return Outcome(
            op=intent.op,
            at=time.monotonic(),
            kind=Kind.FAIL if _is_servers(error, trailers) else Kind.UNKNOWN,
            code=error.code().name,
            reason=trailers.get(REASON, ""),
            message=error.details() or "",
        )
    return Outcome(op=intent.op, at=time.monotonic(), kind=Kind.OK, code="OK", version=response.model_version, answer=_numbers(response))


def _is_servers(error: grpc.aio.AioRpcError, trailers: Mapping[str, str]) -> bool:
    """Whether the server said it, and not the client's own library, whose way is cut or whose patience is at an end.

    A stream that is cut within its trailers has the trailers that came, and the library's own code and words.
    """
    return REASON in trailers and not (error.details() or "").startswith(CUT)


def _numbers(response: pb.ModelInferResponse) -> tuple[int, ...]:
    found: dict[str, Sequence[int]] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        found[output.name] = np.frombuffer(raw[: len(raw) // 8 * 8], "<i8").tolist()
    return (*found.get("y", ()), *found.get("total", ()))
