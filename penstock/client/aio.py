"""The client for asyncio."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from penstock.client.channels import CHANNEL_OPTIONS, INFER, credentials_of, metadata_of
from penstock.client.coalescing import DIVISIBLE, Arrays, Waiting, cut, joined, latest_deadline, next_batch, shape_key
from penstock.client.encoding import Call, Inputs, named_arrays, needs_signature, prediction_of, request_of, signature_of
from penstock.client.failures import closed, error_of
from penstock.client.options import DEFAULT_TARGET, ClientOptions
from penstock.client.prediction import Prediction
from penstock.client.retry import RetryBudget
from penstock.contracts.errors import DeadlineExceeded, ServingError
from penstock.contracts.signature import TensorSpec
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub

R = TypeVar("R")


class AsyncClient:
    """Calls models over gRPC from one event loop; the same calls as `Client`.

    A call whose task is cancelled is not cancelled on the wire but left to its deadline: cancelling a unary call of grpc.aio leaks
    about 1 kB of native memory each time (grpc#43360, measured with grpcio 1.85.1).
    """

    def __init__(self, target: str = DEFAULT_TARGET, options: ClientOptions | None = None) -> None:
        """Open connections lazily to `host:port`; create it where the loop runs."""
        self.options = options or ClientOptions()
        credentials = credentials_of(self.options.tls) if self.options.tls else None
        self._channels = [
            grpc.aio.secure_channel(target, credentials, CHANNEL_OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
            for _ in range(self.options.connections)
        ]
        self._infers: itertools.cycle[Any] = itertools.cycle([channel.unary_unary(INFER) for channel in self._channels])
        self._stub: Any = GRPCInferenceServiceStub(self._channels[0])
        self._budget = RetryBudget(self.options.retries.budget_ratio)
        self._random = Random()
        self._signatures: dict[tuple[str, str], tuple[TensorSpec, ...]] = {}
        self._waiting: dict[object, list[Waiting[asyncio.Future[Prediction]]]] = {}
        self._is_closed = False
        self._leaders: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way and later ones fail with `CallerLeft`."""
        self._is_closed = True
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*self._leaders, return_exceptions=True)

    async def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        timeout_seconds: float | None = None,
        request_id: str = "",
        routing_key: str | None = None,
        priority: int = 0,
        parameters: Mapping[str, str | int | bool | float] | None = None,
        traceparent: str | None = None,
    ) -> Prediction:
        """Ask a model; see `Client.predict`."""
        call = Call(
            model=model,
            inputs=inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            routing_key=routing_key,
            priority=priority,
            parameters=parameters or {},
        )
        deadline = self.options.deadline(time.monotonic(), timeout_seconds)
        specs = await self._signature(model, version, deadline) if needs_signature(inputs) else ()
        arrays = named_arrays(inputs, specs)
        key = shape_key(call, arrays) if self.options.coalesce else None
        if key is None:
            return await self._infer(call, arrays, deadline, traceparent)
        return await self._infer_together(key, call, arrays, deadline)

    async def is_ready(self, model: str = "", version: str = "") -> bool:
        """Whether the server, or a model of it, takes requests; False also when it cannot be reached."""
        try:
            if not model:
                answer = await self._control(self._stub.ServerReady, pb.ServerReadyRequest())
            else:
                answer = await self._control(self._stub.ModelReady, pb.ModelReadyRequest(name=model, version=version))
        except ServingError:
            return False
        return bool(answer.ready)

    async def server(self) -> pb.ServerMetadataResponse:
        """Return name, version and extensions of the server."""
        return await self._control(self._stub.ServerMetadata, pb.ServerMetadataRequest())

    async def models(self) -> pb.RepositoryIndexResponse:
        """Return all versions with their state and the reason where they are not ready."""
        return await self._control(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())

    async def model(self, model: str, version: str = "") -> pb.ModelMetadataResponse:
        """Return a model's versions, inputs and outputs."""
        return await self._control(self._stub.ModelMetadata, pb.ModelMetadataRequest(name=model, version=version))

    async def model_config(self, model: str, version: str = "") -> pb.ModelConfigResponse:
        """Return a model's complete configuration."""
        return await self._control(self._stub.ModelConfig, pb.ModelConfigRequest(name=model, version=version))

    async def statistics(self, model: str = "", version: str = "") -> pb.ModelStatisticsResponse:
        """Return counts and times of one model or of all."""
        return await self._control(self._stub.ModelStatistics, pb.ModelStatisticsRequest(name=model, version=version))

    async def load(self, model: str) -> None:
        """Load a model, or load it again; returns when it is ready."""
        await self._control(self._stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=model), timeout_seconds=60.0)

    async def unload(self, model: str) -> None:
        """Unload a model; returns when it is gone."""
        await self._control(self._stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=model), timeout_seconds=60.0)

    # --- below the surface -------------------------------------------------------------------------------------------------------

    async def _control(self, method: Callable[..., Awaitable[R]], request: Any, *, timeout_seconds: float | None = None) -> R:
        metadata = metadata_of(self.options, None)
        deadline = self.options.deadline(time.monotonic(), timeout_seconds)
        return await self._tried(lambda remaining: method(request, timeout=remaining, metadata=metadata), deadline)

    async def _signature(self, model: str, version: str, deadline: float) -> tuple[TensorSpec, ...]:
        known = self._signatures.get((model, version))
        if known is None:
            request, metadata = pb.ModelMetadataRequest(name=model, version=version), metadata_of(self.options, None)
            answer: pb.ModelMetadataResponse = await self._tried(
                lambda remaining: self._stub.ModelMetadata(request, timeout=remaining, metadata=metadata), deadline
            )
            known = self._signatures[model, version] = signature_of(answer)
        return known

    async def _infer(self, call: Call, arrays: Arrays, deadline: float, traceparent: str | None = None) -> Prediction:
        payload, metadata = request_of(call, arrays), metadata_of(self.options, traceparent)
        try:
            answer: Any = await self._tried(lambda remaining: next(self._infers)(payload, timeout=remaining, metadata=metadata), deadline)
        except ServingError as error:
            if error.status.http == 400:
                self._signatures.pop((call.model, call.version), None)
            raise
        return prediction_of(answer)

    async def _tried(self, attempt: Callable[[float], Awaitable[R]], deadline: float) -> R:
        """Try until an answer, a final error or the deadline."""
        self._budget.count_call()
        for number in itertools.count(1):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            try:
                return await asyncio.shield(asyncio.ensure_future(self._awaited(attempt, remaining)))
            except grpc.RpcError as failure:
                error = error_of(failure)
                wait = self.options.retries.wait_seconds(number, error, self._random)
                if wait is None or time.monotonic() + wait >= deadline or not self._budget.take():
                    raise error from failure
                await asyncio.sleep(wait)
        raise DeadlineExceeded("the call's deadline passed before it could be tried again")

    async def _awaited(self, attempt: Callable[[float], Awaitable[R]], remaining: float) -> R:
        """Await one try in a task of its own; a closed channel cancels what is under way, which is no cancellation of the caller."""
        try:
            return await attempt(remaining)
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            if not self._is_closed:
                raise
            raise closed() from error

    async def _infer_together(self, key: object, call: Call, arrays: Arrays, deadline: float) -> Prediction:
        mine: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        leads = key not in self._waiting
        self._waiting.setdefault(key, []).append(Waiting(call, arrays, deadline, mine))
        if leads:
            leader = asyncio.create_task(self._lead(key))
            self._leaders.add(leader)
            leader.add_done_callback(self._leaders.discard)
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                return await mine
        except TimeoutError:
            raise DeadlineExceeded("the call's deadline passed while it waited for others") from None

    async def _lead(self, key: object) -> None:
        """Send what waits for this key until nothing waits any more; nobody's cancellation stops it for the others."""
        try:
            while True:
                waiting = [one for one in self._waiting[key] if not one.told.done()]
                batch, self._waiting[key] = next_batch(waiting, time.monotonic())
                if not batch:
                    return
                await self._answer(batch)
        finally:
            del self._waiting[key]

    async def _answer(self, batch: Sequence[Waiting[asyncio.Future[Prediction]]]) -> None:
        """Ask for these calls and tell all of them what came of it."""
        try:
            parts = cut(await self._infer(*joined(batch), latest_deadline(batch)), batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is these callers'; the next ones still need whoever leads
            if len(batch) > 1 and isinstance(error, DIVISIBLE):
                await self._answer(batch[: len(batch) // 2])
                await self._answer(batch[len(batch) // 2 :])
                return
            for one in batch:
                if not one.told.done():
                    one.told.set_exception(error)
        else:
            for one, part in zip(batch, parts, strict=True):
                if not one.told.done():
                    one.told.set_result(part)
