"""A worker on TCP keeps to its router's deadlines although the greeting was slow."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic

import pytest

from penstock.v1 import link_pb2 as pb
from tests.worker.links import chunk, hello, on_uvloop, packed
from tests.worker.works import FakeSession
from tests.worker.worlds import World, world_of

APART = 1000.0
"""How much the router's clock is behind the worker's, seconds."""
GREETING_SECONDS = 3.0
"""How long the greeting was under way."""
DEADLINE_SECONDS = 0.1


async def seconds_to_refusal(world: World, session: FakeSession, *pings_under_way: float) -> float:
    """Return how long after it was sent a request that had DEADLINE_SECONDS and waits in a queue was refused."""
    end = await world.connect()
    end.send(hello(at=monotonic() - APART - GREETING_SECONDS))
    await end.receive()
    for number, under_way in enumerate(pings_under_way):
        end.send(pb.RouterFrame(ping=number + 1, monotonic_microseconds=int((monotonic() - APART - under_way) * 1e6)))
        assert (await end.receive()).pong == number + 1
    end.send(pb.RouterFrame(chunks=[chunk(1, [[3.0]])]))
    assert await asyncio.to_thread(session.entered.wait, 5)
    begun = monotonic()
    end.send(pb.RouterFrame(chunks=[chunk(2, [[2.0]], deadlines=packed("Q", int((begun - APART + DEADLINE_SECONDS) * 1e6)))]))
    (late,) = await end.answers(1)
    waited = monotonic() - begun
    session.gate.set()
    assert late.failures[0].reason == "DEADLINE_EXCEEDED"
    return waited


@pytest.mark.parametrize("pings_under_way", [(0.0,), (2.0, 0.0), (0.0, 2.0)], ids=["ping", "slow ping, ping", "ping, slow ping"])
@on_uvloop
async def test_one_ping_mends_what_a_slow_greeting_told(pings_under_way: tuple[float, ...]):
    session = FakeSession()
    session.gate = threading.Event()
    async with world_of("tcp:127.0.0.1:0", session, cost=0.001) as world:
        waited = await seconds_to_refusal(world, session, *pings_under_way)

    assert DEADLINE_SECONDS - 0.01 <= waited < GREETING_SECONDS - 1.0
