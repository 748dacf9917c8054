"""`python -m bench.hot_path`: CPU-microseconds a request of our own Python, router and worker in one process, without HTTP/2.

Quiet and repeatable where the race is not: waves of a tiny MLP's requests, keys, quotas and deadlines on, go through the router's
inference path, over a Unix socket to a worker's link, queue and ONNX Runtime, and back. The event tuples that pygrpc-native would hand
over are ready-made, what it would send is counted and dropped. Caches are warmer here than where several processes share a core: compare
figures with one another, not with those of the race.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import logging
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from random import Random

import structlog
import uvloop

from bench import bodies, model
from bench.servers import KEY, TENANTS
from penstock.contracts.errors import ServingError
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import CostPoint, ReplicaState, ReplicaStatus, WorkerStatus
from services.mesh.dispatch import Dispatch
from services.mesh.route_table import RouteTable
from services.router.front import Wave
from services.router.inference import Inference
from services.router.outcomes import RouterMetrics
from services.router.result_cache import ResultCache
from services.router.shared_answers import SharedAnswers
from services.router.tenants import Tenants
from services.router.understanding import Understanding
from services.worker.batch_policy import BatchPolicy
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from services.worker.inline_guard import InlineGuard
from services.worker.link_connection import LinkIdentity
from services.worker.link_server import LinkServer
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.turn_end import TurnEnd

IN_FLIGHT = (1, 4, 16, 64, 256)
SECONDS = 0.4
REPLICA = 7
INSTANCE = "worker-0-hot"
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, model.FEATURES)),),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, model.CLASSES)),),
    max_batch_size=64,
)


class PaperFront:
    """Answers are counted; when a wave is answered whole, `on_answered` is called."""

    def __init__(self) -> None:
        """Owe nothing."""
        self.owed = 0
        self.on_answered = lambda: None

    def fileno(self) -> int:
        """Have no descriptor: waves are handed over by hand."""
        return -1

    def recv_wave(self, limit: int) -> Wave:
        """Return nothing."""
        return Wave()

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Count answers."""
        self.owed -= len(call_ids)
        if not self.owed:
            self.on_answered()

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Stop: nothing may fail here."""
        raise SystemExit(f"refused: {errors[0].message}")

    async def drain(self, deadline: float) -> None:
        """Have nothing to drain."""


@asynccontextmanager
async def worker(folder: Path) -> AsyncGenerator[str]:
    """Serve the tiny MLP on a Unix socket; give the address."""
    session = open_session(model.build_repository(folder), SessionConfig())
    config = BatcherConfig(model=model.NAME, version="1", policy=BatchPolicy(max_batch_size=64), rules=ExecutionRules(signature=SIGNATURE))
    turn_end = TurnEnd()
    with InlineGuard(on_stuck=lambda: None) as guard:
        batcher = Batcher(config, [session], CostModel([CostPoint(rows=1, seconds=1e-5)]), BatcherPorts(guard=guard, soon=turn_end.soon))
        batcher.start()
        server = LinkServer(LinkIdentity(instance_id=INSTANCE, credit_rows=4096), {REPLICA: batcher}.get, time.monotonic, turn_end)
        async with server.serving(f"unix:{folder / 'link.sock'}"):
            yield server.address
        await batcher.close()


@asynccontextmanager
async def router(folder: Path, address: str) -> AsyncGenerator[Inference]:
    """Give an inference path that is linked to the worker at `address`."""
    (folder / "tenants.toml").write_text(TENANTS.format(digest=hashlib.sha256(KEY.encode()).hexdigest()))
    table, tenants, metrics = RouteTable(), Tenants(), RouterMetrics()
    tenants.load(folder / "tenants.toml")
    dispatch = Dispatch(table, router_id="router", clock=time.monotonic, random=Random(1))
    understanding = Understanding(table, metrics)
    dispatch.on_change(understanding.forget)
    shared = SharedAnswers(ResultCache(), clock=time.monotonic)
    task = asyncio.create_task(dispatch.run())
    await asyncio.sleep(0)
    is_up = asyncio.Event()
    dispatch.on_change(lambda: is_up.set() if any(link.is_up for link in dispatch.links) else None)
    dispatch.follow("worker-0", _status(address))
    await is_up.wait()
    yield Inference(understanding, dispatch, tenants, clock=time.monotonic, shared=shared, metrics=metrics)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _status(address: str) -> WorkerStatus:
    replica = ReplicaStatus(
        replica_id=REPLICA, model=model.NAME, version="1", state=ReplicaState.READY, signature=SIGNATURE, digest="d", priority_levels=0
    )
    return WorkerStatus(worker_id="worker-0", instance_id=INSTANCE, revision=1, link_address=address, replicas=(replica,))


async def closed_loop(inference: Inference, in_flight: int, seconds: float) -> float:
    """Return the CPU-microseconds of a request in waves of `in_flight`, each sent when the last one is answered."""
    payload = bodies.infer_request(model.rows()).SerializeToString()
    front, loop = PaperFront(), asyncio.get_running_loop()
    done = loop.create_future()
    waves, end = 0, time.perf_counter() + seconds

    def send() -> None:
        nonlocal waves
        if time.perf_counter() > end:
            done.set_result(None)
            return
        waves += 1
        front.owed = in_flight
        first, deadline = waves * in_flight, time.monotonic() + 10.0
        inference.take(
            front,
            Wave(
                call_ids=list(range(first, first + in_flight)),
                payloads=[bytes(bytearray(payload)) for _ in range(in_flight)],
                keys=[KEY] * in_flight,
                deadlines=[deadline] * in_flight,
                traces=[None] * in_flight,
            ),
        )

    front.on_answered = lambda: loop.call_soon(send)
    begun = time.process_time()
    send()
    await done
    return (time.process_time() - begun) / (waves * in_flight) * 1e6


async def measure(in_flight: Sequence[int], rounds: int, profile: cProfile.Profile | None = None) -> dict[int, float]:
    """Return the least of `rounds` by calls in flight."""
    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        async with worker(Path(name)) as address, router(Path(name), address) as inference:
            await closed_loop(inference, 64, SECONDS / 4)
            for _ in range(rounds):
                for count in in_flight:
                    with profile or nullcontext():
                        cost = await closed_loop(inference, count, SECONDS)
                    best[count] = min(cost, best.get(count, cost))
    return best


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.hot_path", description=__doc__)
    parser.add_argument("--in-flight", type=int, nargs="*", default=list(IN_FLIGHT), help="calls of a wave")
    parser.add_argument("--rounds", type=int, default=5, help="the least is reported")
    parser.add_argument("--profile", action="store_true", help="where the time goes, by function; the figures are worth nothing then")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    profile = cProfile.Profile() if options.profile else None
    for count, cost in uvloop.run(measure(options.in_flight, options.rounds, profile)).items():
        sys.stdout.write(f"{count:4d} in flight: {cost:7.2f} us a request\n")
    if profile is not None:
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(40)
    return 0


if __name__ == "__main__":
    sys.exit(main())
