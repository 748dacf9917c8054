"""The client for threads."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

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

LEADERS = 16
"""Most coalesced requests of one client that are under way at a time; each has a model and shape of its own."""

R = TypeVar("R")


class Client:
    """Calls models over gRPC; safe to share between threads.

        with Client("127.0.0.1:8001") as client:
            prediction = client.predict("digits", rows)          # numpy array or lists
            prediction["probabilities"]                          # numpy array

    Every failure is a `ServingError` of `penstock.contracts.errors`. Calls are retried where the server says that this is safe and
    useful, within the call's deadline.
    """

    def __init__(self, target: str = DEFAULT_TARGET, options: ClientOptions | None = None) -> None:
        """Open connections lazily to `host:port`."""
        self.options = options or ClientOptions()
        credentials = credentials_of(self.options.tls) if self.options.tls else None
        self._channels = [
            grpc.secure_channel(target, credentials, CHANNEL_OPTIONS) if credentials else grpc.insecure_channel(target, CHANNEL_OPTIONS)
            for _ in range(self.options.connections)
        ]
        self._infers: itertools.cycle[Any] = itertools.cycle([channel.unary_unary(INFER) for channel in self._channels])
        self._stub = GRPCInferenceServiceStub(self._channels[0])
        self._budget = RetryBudget(self.options.retries.budget_ratio)
        self._random = Random()
        self._signatures: dict[tuple[str, str], tuple[TensorSpec, ...]] = {}
        self._lock = threading.Lock()
        self._leaders = ThreadPoolExecutor(max_workers=LEADERS, thread_name_prefix="penstock-client") if self.options.coalesce else None
        self._waiting: dict[object, list[Waiting[Future[Prediction]]]] = {}
        self._is_closed = False

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; calls under way and later ones fail with `CallerLeft`."""
        with self._lock:
            self._is_closed = True
        if self._leaders is not None:
            self._leaders.shutdown(wait=False)
        for channel in self._channels:
            channel.close()

    def predict(
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
        """Ask a model.

        Args:
            model: its name.
            inputs: arrays or lists by input name; for a model with one input also the bare value.
            version: a version or an alias; by default whatever the route says.
            outputs: names of the wanted ones; by default all.
            timeout_seconds: deadline of the whole call, retries included; by default the client's.
            request_id: comes back in the answer.
            parameters: further request parameters.
            routing_key: callers with the same key get the same version.
            priority: 1 is the highest level of the model, 0 its default.
            traceparent: W3C trace context; by default OpenTelemetry's current span.

        Raises:
            ServingError: the class says whose fault it is and what to do.
        """
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
        return self._asked(call, self.options.deadline(time.monotonic(), timeout_seconds), traceparent)

    def is_ready(self, model: str = "", version: str = "") -> bool:
        """Whether the server, or a model of it, takes requests; False also when it cannot be reached."""
        try:
            if not model:
                return self._control(self._stub.ServerReady, pb.ServerReadyRequest()).ready
            return self._control(self._stub.ModelReady, pb.ModelReadyRequest(name=model, version=version)).ready
        except ServingError:
            return False

    def server(self) -> pb.ServerMetadataResponse:
        """Return name, version and extensions of the server."""
        return self._control(self._stub.ServerMetadata, pb.ServerMetadataRequest())

    def models(self) -> pb.RepositoryIndexResponse:
        """Return all versions with their state and the reason where they are not ready."""
        return self._control(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())

    def model(self, model: str, version: str = "") -> pb.ModelMetadataResponse:
        """Return a model's versions, inputs and outputs."""
        return self._control(self._stub.ModelMetadata, pb.ModelMetadataRequest(name=model, version=version))

    def model_config(self, model: str, version: str = "") -> pb.ModelConfigResponse:
        """Return a model's complete configuration."""
        return self._control(self._stub.ModelConfig, pb.ModelConfigRequest(name=model, version=version))

    def statistics(self, model: str = "", version: str = "") -> pb.ModelStatisticsResponse:
        """Return counts and times of one model or of all."""
        return self._control(self._stub.ModelStatistics, pb.ModelStatisticsRequest(name=model, version=version))

    def load(self, model: str) -> None:
        """Load a model, or load it again; returns when it is ready."""
        self._control(self._stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=model), timeout_seconds=60.0)

    def unload(self, model: str) -> None:
        """Unload a model; returns when it is gone."""
        self._control(self._stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=model), timeout_seconds=60.0)

    # --- below the surface -------------------------------------------------------------------------------------------------------

    def _asked(self, call: Call, deadline: float, traceparent: str | None) -> Prediction:
        specs = self._signature(call.model, call.version, deadline) if needs_signature(call.inputs) else ()
        arrays = named_arrays(call.inputs, specs)
        key = shape_key(call, arrays) if self.options.coalesce else None
        if key is None:
            return self._infer(call, arrays, deadline, traceparent)
        return self._infer_together(key, call, arrays, deadline)

    def _control(self, method: Callable[..., R], request: Any, *, timeout_seconds: float | None = None) -> R:
        metadata = metadata_of(self.options, None)
        deadline = self.options.deadline(time.monotonic(), timeout_seconds)
        return self._tried(lambda remaining: method(request, timeout=remaining, metadata=metadata), deadline)

    def _signature(self, model: str, version: str, deadline: float) -> tuple[TensorSpec, ...]:
        known = self._signatures.get((model, version))
        if known is None:
            request, metadata = pb.ModelMetadataRequest(name=model, version=version), metadata_of(self.options, None)
            answer = self._tried(lambda remaining: self._stub.ModelMetadata(request, timeout=remaining, metadata=metadata), deadline)
            known = self._signatures[model, version] = signature_of(answer)
        return known

    def _infer(self, call: Call, arrays: Arrays, deadline: float, traceparent: str | None = None) -> Prediction:
        payload, metadata = request_of(call, arrays), metadata_of(self.options, traceparent)
        try:
            answer: Any = self._tried(lambda remaining: next(self._infers)(payload, timeout=remaining, metadata=metadata), deadline)
        except ServingError as error:
            if error.status.http == 400:
                self._signatures.pop((call.model, call.version), None)
            raise
        return prediction_of(answer)

    def _tried(self, attempt: Callable[[float], R], deadline: float) -> R:
        """Try until an answer, a final error or the deadline."""
        self._budget.count_call()
        for number in itertools.count(1):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            try:
                return attempt(remaining)
            except ValueError as error:
                if not self._is_closed:
                    raise
                raise closed() from error
            except grpc.RpcError as failure:
                error = error_of(failure)
                wait = self.options.retries.wait_seconds(number, error, self._random)
                if wait is None or time.monotonic() + wait >= deadline or not self._budget.take():
                    raise error from failure
                time.sleep(wait)
        raise DeadlineExceeded("the call's deadline passed before it could be tried again")

    def _infer_together(self, key: object, call: Call, arrays: Arrays, deadline: float) -> Prediction:
        mine: Future[Prediction] = Future()
        with self._lock:
            if self._is_closed or self._leaders is None:
                raise closed()
            leads = key not in self._waiting
            self._waiting.setdefault(key, []).append(Waiting(call, arrays, deadline, mine))
            if leads:
                self._leaders.submit(self._lead, key)
        try:
            return mine.result(timeout=max(deadline - time.monotonic(), 0.0))
        except TimeoutError:
            raise DeadlineExceeded("the call's deadline passed while it waited for others") from None

    def _lead(self, key: object) -> None:
        """Send what waits for this key until nothing waits any more."""
        while True:
            with self._lock:
                batch, self._waiting[key] = next_batch(self._waiting[key], time.monotonic())
                if not batch:
                    del self._waiting[key]
                    return
            self._answer(batch)

    def _answer(self, batch: Sequence[Waiting[Future[Prediction]]]) -> None:
        """Ask for these calls and tell all of them what came of it."""
        try:
            parts = cut(self._infer(*joined(batch), latest_deadline(batch)), batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is these callers'; the next ones still need whoever leads
            if len(batch) > 1 and isinstance(error, DIVISIBLE):
                self._answer(batch[: len(batch) // 2])
                self._answer(batch[len(batch) // 2 :])
                return
            for one in batch:
                one.told.set_exception(error)
        else:
            for one, part in zip(batch, parts, strict=True):
                one.told.set_result(part)
