"""The worker's own gRPC service: load, unload, list, watch, statistics. Parse, call, answer.

What is asked for here is an override of this worker alone; one that is published later for all workers replaces it. Errors leave by
the status table; a stranger's text never does.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
import structlog

from penstock.contracts.errors import Internal, ModelNotFound, ServingError
from penstock.contracts.names import check_model_name
from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from penstock.v1 import worker_pb2 as pb
from penstock.v1 import worker_pb2_grpc as stubs
from services.worker.overrides import Override, checked_path
from services.worker.replica_state import COMING
from services.worker.replicas import Replicas
from services.worker.status_board import StatusBoard

MESSAGE_BYTES = 1 << 30
"""Largest request: a model sent as files."""

STOP_SECONDS = 0.5
"""Time for open calls when the service ends; watchers never end by themselves."""

LIVING = COMING | {ReplicaState.READY, ReplicaState.DRAINING}

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

log = structlog.get_logger(__name__)
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Wishes(Protocol):
    """Takes what is wanted of a model."""

    def wish(self, override: Override) -> int:
        """Want it from now on; return the revision under which it will be reported as applied."""
        ...


def translated(method: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Send what a method raises as its status."""

    @functools.wraps(method)
    async def answered(self: object, request: Any, context: Context) -> T:
        try:
            return await method(self, request, context)
        except ServingError as error:
            await _refuse(context, error)
        except Exception:
            request_id = uuid.uuid4().hex[:12]
            log.exception("control_call_failed", request_id=request_id)
            await _refuse(context, Internal(f"internal error (request id {request_id})"))
        raise AssertionError  # abort has raised

    return answered


class ControlServicer(stubs.WorkerControlServicer):
    """Answers by the status board."""

    def __init__(self, wishes: Wishes, replicas: Replicas, board: StatusBoard) -> None:
        """Store the collaborators."""
        self._wishes = wishes
        self._replicas = replicas
        self._board = board

    @translated
    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:
        """Load a model, or load it again, and answer when it is settled."""
        for path in request.files:
            checked_path(path)
        wish = Override(model=check_model_name(request.model), config_json=request.config_json, files=dict(request.files))
        status = await self._settled(wish, is_over=lambda state: state not in COMING)
        replicas = [replica for replica in status.replicas if replica.model == request.model]
        if not replicas:
            raise ModelNotFound(f"no version of model {request.model!r} is in the model repository", field="model")
        return pb.LoadModelResponse(replicas=[replica.to_proto() for replica in replicas])

    @translated
    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:
        """Unload a model and answer when it is gone."""
        model = check_model_name(request.model)
        if model not in self._replicas.models():
            raise ModelNotFound(f"model {model!r} is not held here", field="model")
        await self._settled(Override(model=model, is_unloaded=True), is_over=lambda state: state not in LIVING)
        return pb.UnloadModelResponse()

    @translated
    async def ListReplicas(self, request: pb.ListReplicasRequest, context: Context) -> pb.ListReplicasResponse:
        """Report the status."""
        return pb.ListReplicasResponse(status=_wire(self._board.current))

    async def WatchReplicas(self, request: pb.WatchReplicasRequest, context: Context) -> AsyncIterator[pb.WatchReplicasResponse]:
        """Report the status now and after every change."""
        async for status in self._board.watch():
            yield pb.WatchReplicasResponse(status=_wire(status))

    @translated
    async def GetStatistics(self, request: pb.GetStatisticsRequest, context: Context) -> pb.GetStatisticsResponse:
        """Report statistics of every version that takes requests, or did until it drained."""
        if request.model:
            check_model_name(request.model)
        return pb.GetStatisticsResponse(
            replicas=[
                replica.batcher.statistics.to_proto(replica.model, replica.version, replica.loaded.memory_bytes)
                for replica in self._replicas
                if replica.batcher is not None and replica.loaded is not None and request.model in ("", replica.model)
            ]
        )

    async def _settled(self, wish: Override, is_over: Callable[[ReplicaState], bool]) -> WorkerStatus:
        revision = self._wishes.wish(wish)
        return await self._board.wait_until(
            lambda status: (
                status.applied_overrides.get(wish.model, 0) >= revision
                and all(is_over(replica.state) for replica in status.replicas if replica.model == wish.model)
            )
        )


@asynccontextmanager
async def serving_control(servicer: ControlServicer, socket: Path) -> AsyncGenerator[str]:
    """Serve on a Unix socket that only this user can reach, and give out its gRPC target."""
    options = (
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),
    )
    _remove(socket)
    server = grpc.aio.server(options=options)
    stubs.add_WorkerControlServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    _restrict(socket)
    try:
        yield f"unix:{socket}"
    finally:
        await server.stop(STOP_SECONDS)
        _remove(socket)


async def _refuse(context: Context, error: ServingError) -> None:
    await context.abort(_CODES[int(error.status.grpc)], error.message, (("penstock-reason", error.reason),))


def _wire(status: WorkerStatus) -> pb.WorkerStatus:
    return pb.WorkerStatus.FromString(status.to_bytes())


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def _restrict(socket: Path) -> None:
    socket.chmod(0o600)
