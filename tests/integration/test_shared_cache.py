"""Cached answers that routers share, by a real Redis: who may have which, and what happens when it is gone, hangs or lies."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from penstock.cli.keys import entry_of, new_key
from services.chassis.breaker import BreakerPolicy
from services.chassis.clock import SystemClock
from services.chassis.redis_client import RedisClient, RedisSettings
from services.router.cache_values import PREFIX
from tests.faults.proxy import Proxy, Toxic
from tests.integration.servers import ServerAddress
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request
from tests.router.sharing_stand import counted, executed, router, sharing, until

pytestmark = pytest.mark.timeout(180)

PATIENT = BreakerPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.2)
SECONDS = 5.0
"""Longest wait for a Redis that is well: a router that gets no CPU is not to take it for away."""


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[FakeWorker]:
    far = await FakeWorker(tmp_path / "w.sock", "worker-0", "instance-0").start()
    yield far
    far.kill()


@pytest.fixture
def wire(redis: ServerAddress) -> Iterator[Proxy]:
    host, _, port = redis.address.rpartition(":")
    with Proxy("redis", lambda: (host, int(port))) as proxy:
        yield proxy


@dataclass
class Pair:
    """Two routers that share what they know of one version, whose digest no other test has."""

    first: Stand
    second: Stand
    digest: str


@pytest.fixture
async def pair(wire: Proxy, worker: FakeWorker, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    seconds = getattr(request, "param", SECONDS)
    settings = RedisSettings(url=f"redis://127.0.0.1:{wire.port}/2", timeout_seconds=seconds, connect_seconds=seconds)
    digest = uuid.uuid4().hex
    async with AsyncExitStack() as stack:
        stands: list[Stand] = []
        for _ in range(2):
            client = await stack.enter_async_context(RedisClient(settings, SystemClock(), PATIENT))
            stands.append(await stack.enter_async_context(router(client, worker, sharing(digest=digest))))
        yield Pair(*stands, digest)


async def kept(stand: Stand, count: int) -> None:
    await until(lambda: counted(stand).kept == count + 1)


async def test_routers_share_answers_and_their_lives(pair: Pair, worker: FakeWorker, redis: ServerAddress):
    pair.first.take(*(request([[n, 2]], id=f"a{n}") for n in range(20)))
    await pair.first.front.until(20)
    await kept(pair.first, 20)
    pair.second.take(*(request([[n, 2]], id=f"b{n}") for n in range(20)))
    await pair.second.front.until(20)
    async with Redis.from_url(f"redis://{redis.address}/2") as client:
        lives = [await client.pttl(key) async for key in client.scan_iter(match=PREFIX + b"*")]

    assert executed(worker) == counted(pair.second).hits == 20
    assert [one.id for _, one in sorted(pair.second.front.answers.items())] == [f"b{n}" for n in range(20)]
    for number, answer in pair.second.front.answers.items():
        assert answer.raw_output_contents == pair.first.front.answers[number].raw_output_contents
    assert len(lives) >= 20
    assert all(0 < life <= 60_000 for life in lives)


async def test_a_tenant_is_never_answered_with_what_another_one_asked(pair: Pair, worker: FakeWorker, tmp_path: Path):
    keys = {name: new_key() for name in ("acme", "other")}
    file = tmp_path / "tenants.toml"
    file.write_text("".join(f'[[tenants]]\nname = "{name}"\nkeys = ["{entry_of(key)}"]\n' for name, key in keys.items()))
    for stand in (pair.first, pair.second):
        stand.tenants.load(file)
    pair.first.take(request([[1, 2]]), key=keys["acme"])
    await pair.first.front.until(1)
    await kept(pair.first, 1)

    pair.second.take(request([[1, 2]]), key=keys["other"])
    await pair.second.front.until(1)
    assert (executed(worker), counted(pair.second).hits) == (2, 0)

    pair.second.take(request([[1, 2]]), first_id=2, key=keys["acme"])
    await pair.second.front.until(2)
    assert (executed(worker), counted(pair.second).hits) == (2, 1)


async def test_what_is_corrupt_or_of_another_kind_is_asked_of_a_worker_and_mended(pair: Pair, worker: FakeWorker, redis: ServerAddress):
    async with Redis.from_url(f"redis://{redis.address}/2") as client:
        before = {key async for key in client.scan_iter(match=PREFIX + b"*")}
        pair.first.take(*(request([[n, 2]]) for n in range(3)))
        await pair.first.front.until(3)
        await kept(pair.first, 3)
        changed, cut, kind = [key async for key in client.scan_iter(match=PREFIX + b"*") if key not in before]
        await client.setrange(changed, 30, b"\xff")
        await client.set(cut, (await client.get(cut))[:-1], keepttl=True)
        await client.delete(kind)
        await client.lpush(kind, "a list")
        pair.second.take(*(request([[n, 2]]) for n in range(3)))
        await pair.second.front.until(3)
        await kept(pair.second, 3)
        # A SET replaces whatever was there.
        kinds = [await client.type(key) for key in (changed, cut, kind)]

    for number, answer in pair.second.front.answers.items():
        assert answer.raw_output_contents == pair.first.front.answers[number].raw_output_contents
    assert (counted(pair.second).corrupt, counted(pair.second).errors, counted(pair.second).hits) == (2, 1, 0)
    assert executed(worker) == 6
    assert kinds == [b"string"] * 3


@pytest.mark.parametrize("pair", [0.3], indirect=True)
@pytest.mark.parametrize("toxic", [Toxic(hang=True), Toxic(reset=True), Toxic(limit_bytes=3)], ids=["hangs", "resets", "breaks off"])
async def test_no_request_fails_while_redis_misbehaves_and_the_tier_is_back_after_it(toxic: Toxic, pair: Pair, wire: Proxy):
    stand, tier = pair.first, pair.first.shared.tier
    assert tier is not None
    await asyncio.to_thread(wire.poison, toxic)
    asked = 0
    give_up_at = time.monotonic() + 60
    while tier.is_open or asked < 50:
        assert time.monotonic() < give_up_at
        asked += 1
        stand.take(request([[asked, 2]]), first_id=asked)
        await stand.front.until(asked)
    await asyncio.to_thread(wire.heal)
    while counted(stand).kept < 20:
        assert time.monotonic() < give_up_at
        asked += 1
        stand.take(request([[asked, 2]]), first_id=asked)
        await stand.front.until(asked)

    assert stand.front.errors == {}
    assert len(stand.front.answers) == asked
    assert tier.counters.errors + tier.counters.skipped >= 49
    assert stand.tenants.all()["anonymous"].rows_in_flight == 0
