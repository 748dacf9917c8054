"""Calls without end over several connections, as raw gRPC without retries: what fails, fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np

from penstock.oip.v2 import inference_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"


@dataclass
class Load:
    """What callers were told, with the time at which they were."""

    answers: list[tuple[float, pb.ModelInferResponse]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> float:
        """Return how long it took until something became true."""
        began_at = time.monotonic()
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)
        return time.monotonic() - began_at

    def versions(self, since: float = 0.0) -> set[str]:
        return {answer.model_version for at, answer in self.answers if at >= since}


def request(request_id: str = "", version: str = "", value: float = 1.0) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name="scaled", model_version=version, id=request_id)
    asked.inputs.add(name="x", datatype="FP32", shape=(1, 1))
    asked.raw_input_contents.append(np.float32(value).tobytes())
    return asked


@asynccontextmanager
async def loaded(address: str, *, callers: int = 8, pause_seconds: float = 0.005) -> AsyncIterator[Load]:
    """Call from `callers` connections, which the kernel spreads over the routers, until the block ends."""
    load = Load()
    tasks = [asyncio.create_task(_call(load, address, number, pause_seconds)) for number in range(callers)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def _call(load: Load, address: str, number: int, pause_seconds: float) -> None:
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), ("number", number)]) as channel:
        infer = channel.unary_unary(METHOD, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        count = 0
        while True:
            count += 1
            try:
                answer = await infer(request(f"{number}-{count}"), timeout=30)
            except grpc.aio.AioRpcError as error:
                load.failures.append(f"{error.code().name}: {error.details()}")
            else:
                load.answers.append((time.monotonic(), answer))
            await asyncio.sleep(pause_seconds)
