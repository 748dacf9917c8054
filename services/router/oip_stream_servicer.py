"""ModelStreamInfer: one connection, many requests, answers in the order of the requests.

Two parties per stream and a bounded line between them. The reader takes messages from the client and hands each to the inference
path at once, so that a stream's requests are batched like anybody's; the writer awaits the answers in order and sends them. When
IN_FLIGHT_LIMIT requests, or IN_FLIGHT_BYTES of them, are not yet answered and sent, the reader stops reading, which HTTP/2 turns into
flow control: a client that never reads its answers fills its own line and nothing else, and is cut after WRITE_SECONDS.

A request that fails becomes `error_message` with the request's id, and the stream goes on; with the header `triton_grpc_error: true`
it ends the stream with its status. The rules of the stream itself end it always: every message names a model, and all the same one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from dataclasses import dataclass

from penstock.contracts.errors import DeadlineExceeded, Draining, InvalidInput, ServingError
from penstock.contracts.varint import varint
from penstock.oip.v2 import inference_pb2 as pb
from services.chassis.process import running
from services.router.call_buffer import CallBuffer
from services.router.field_limits import check_counts
from services.router.grpc_errors import Context
from services.router.grpc_metadata import first_value
from services.router.grpc_service import INFER_SECONDS, Caller, decode

AFTER_DEADLINE_SECONDS = 0.25
"""How much longer than its stream a request of it may live."""
IN_FLIGHT_LIMIT = 1000
IN_FLIGHT_BYTES = 64 << 20
STREAM_SECONDS = 600.0
"""Longest deadline of a stream."""
WRITE_SECONDS = 60.0
"""Longest time that a client may leave an answer unread while more is waiting than its window takes."""

FINAL_WANTED = "triton_enable_empty_final_response"
FINAL = pb.ModelInferResponse(parameters={"triton_final_response": pb.InferParameter(bool_param=True)})
_FINAL_BYTES = FINAL.SerializeToString()
_INFER_RESPONSE_TAG = bytes([pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER << 3 | 2])


class InferenceStreams:
    """Serves streams, and ends them when the router drains."""

    def __init__(self, buffer: CallBuffer, *, write_seconds: float = WRITE_SECONDS) -> None:
        """Keep the way to the inference path, and the longest time that a client may leave an answer unread."""
        self._buffer = buffer
        self._write_seconds = write_seconds
        self._open: set[_Stream] = set()
        self._is_draining = False

    def begin_drain(self) -> None:
        """Read nothing more; every stream answers what it has taken and ends with Draining."""
        self._is_draining = True
        for stream in self._open:
            stream.stop_reading()

    async def serve(self, requests: AsyncIterable[bytes], context: Context) -> None:
        """Answer one stream until it ends; raises the ServingError that ended it."""
        if self._is_draining:
            raise _draining()
        stream = _Stream(self._buffer, requests, context)
        self._open.add(stream)
        try:
            async with running(stream.read()) as reader:
                stream.reader = reader
                await stream.write(self._write_seconds)
        finally:
            self._open.discard(stream)
            stream.abandon()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A request whose answer is to be sent; its answer is an error when it was refused at once."""

    request_id: str
    wants_final: bool
    size: int
    answer: asyncio.Future[bytes] | ServingError


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing follows; the stream ends well, or with an error."""

    error: ServingError | None


class _Stream:
    """One stream; `read` and `write` run beside each other."""

    def __init__(self, buffer: CallBuffer, requests: AsyncIterable[bytes], context: Context) -> None:
        self.reader: asyncio.Task[None] | None = None
        self._buffer = buffer
        self._requests = requests
        self._context = context
        self._caller = Caller.of(context, longest_seconds=STREAM_SECONDS)
        self._ends_at_error = first_value(context.invocation_metadata() or (), "triton_grpc_error") == "true"
        self._line: asyncio.Queue[_Taken | _End] = asyncio.Queue()
        self._sent = asyncio.Event()
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._model: str | None = None
        self._is_stopping = False

    def stop_reading(self) -> None:
        self._is_stopping = True
        if self.reader is not None:
            self.reader.cancel()

    def abandon(self) -> None:
        """Leave what nobody will be told."""
        while not self._line.empty():
            left = self._line.get_nowait()
            if isinstance(left, _Taken) and isinstance(left.answer, asyncio.Future):
                left.answer.cancel()

    async def read(self) -> None:
        error: ServingError | None = None
        try:
            async for payload in self._requests:
                self._take(payload)
                await self._room()
            if self._model is None:
                error = InvalidInput("the stream ended before its first request", reason="MALFORMED")
        except ServingError as refusal:
            error = refusal
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
            error = _draining()
        self._line.put_nowait(_End(error))

    async def write(self, longest_seconds: float) -> None:
        while not isinstance(entry := await self._line.get(), _End):
            message = await self._message(entry)
            try:
                async with asyncio.timeout(longest_seconds):
                    await self._context.write(message)
            except TimeoutError:
                raise DeadlineExceeded(f"no answer of this stream was read for {longest_seconds:g} s") from None
            self._in_flight -= 1
            self._in_flight_bytes -= entry.size
            self._sent.set()
        if entry.error is not None:
            raise entry.error

    async def _room(self) -> None:
        while self._in_flight >= IN_FLIGHT_LIMIT or self._in_flight_bytes >= IN_FLIGHT_BYTES:
            self._sent.clear()
            await self._sent.wait()

    def _take(self, payload: bytes) -> None:
        """Hand one request over; raises what breaks the rules of the stream."""
        request_id, wants_final = "", False
        answer: asyncio.Future[bytes] | ServingError
        try:
            check_counts(payload)
            request = decode(pb.ModelInferRequest, payload)
        except ServingError as error:
            answer = error
        else:
            request_id, wants_final = request.id, request.parameters[FINAL_WANTED].bool_param
            self._check_model(request.model_name)
            answer = self._submitted(payload)
        self._in_flight += 1
        self._in_flight_bytes += len(payload)
        self._line.put_nowait(_Taken(request_id=request_id, wants_final=wants_final, size=len(payload), answer=answer))

    def _check_model(self, model: str) -> None:
        """Refuse, and so end the stream, when a message breaks the stream's own rules."""
        if not model:
            raise InvalidInput("a request of a stream must name its model", reason="BAD_NAME", field="model_name")
        if self._model not in (None, model):
            raise InvalidInput(
                f"a stream keeps to one model: this one is for {self._model!r}; open another stream for {model[:64]!r}",
                reason="BAD_NAME",
                field="model_name",
            )
        self._model = model

    def _submitted(self, payload: bytes) -> asyncio.Future[bytes] | ServingError:
        # gRPC itself ends the stream at its deadline; an answer in the stream that says the same must not come before that.
        deadline = min(self._caller.deadline + AFTER_DEADLINE_SECONDS, time.monotonic() + INFER_SECONDS)
        try:
            return self._buffer.submit(
                payload, key=self._caller.key, deadline=deadline, trace=self._caller.trace, affinity=self._caller.affinity
            )
        except ServingError as error:
            return error

    async def _message(self, entry: _Taken) -> bytes:
        try:
            if isinstance(entry.answer, ServingError):
                raise entry.answer
            answer = await entry.answer
        except ServingError as error:
            if self._ends_at_error:
                raise
            failed = pb.ModelInferResponse(id=entry.request_id)
            if entry.wants_final:
                failed.MergeFrom(FINAL)
            return pb.ModelStreamInferResponse(error_message=error.message or error.reason, infer_response=failed).SerializeToString()
        # Protobuf messages merge by concatenation: the answer is passed on, and marked, without being parsed.
        body = answer + _FINAL_BYTES if entry.wants_final else answer
        return b"".join((_INFER_RESPONSE_TAG, varint(len(body)), body))


def _draining() -> Draining:
    return Draining("the server is shutting down: open the stream elsewhere")
