"""A link server with batchers behind it, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import monotonic

from penstock.contracts.worker_status import CostPoint
from services.worker.batch_policy import BatchPolicy
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from services.worker.link_connection import LinkIdentity
from services.worker.link_server import LinkServer
from tests.worker.links import IDENTITY, REPLICA, RouterEnd
from tests.worker.works import FakeSession, signature


class World:
    """A link server and the batchers behind it."""

    def __init__(self, identity: LinkIdentity) -> None:
        self.batchers: dict[int, Batcher] = {}
        self.server = LinkServer(identity, self.batchers.get, monotonic)
        self.ends: list[RouterEnd] = []

    async def meet(self) -> RouterEnd:
        self.ends.append(await RouterEnd.meet(self.server.address))
        return self.ends[-1]

    async def connect(self) -> RouterEnd:
        self.ends.append(await RouterEnd.connect(self.server.address))
        return self.ends[-1]


@asynccontextmanager
async def world_of(address: str, *sessions, cost: float = 1e-6, shape=None, identity=IDENTITY, tls=None):
    world = World(identity)
    for number, session in enumerate(sessions):
        rules = ExecutionRules(signature=shape or signature(1))
        config = BatcherConfig(
            model=f"m{number}", version="1", policy=BatchPolicy(max_batch_size=rules.signature.max_batch_size), rules=rules
        )
        world.batchers[REPLICA + number] = Batcher(config, [session], CostModel([CostPoint(rows=1, seconds=cost)]), BatcherPorts())
        world.batchers[REPLICA + number].start()
    async with world.server.serving(address, tls):
        try:
            yield world
        finally:
            for end in world.ends:
                await end.close()
            for session in sessions:
                if isinstance(session, FakeSession):
                    session.release.set()
            for batcher in world.batchers.values():
                await batcher.close()
