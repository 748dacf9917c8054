"""Redis dies, hangs, forgets and has no room while routers keep quotas and cached answers together by it: no request notices.

One tenant has more than it needs: none of its calls may fail. Another asks for more than it may have: what it gets is bounded by the
time that passed, whoever deals out.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from bench.killable import RealServer
from penstock.cli.keys import entry_of, new_key
from services.stack.redis_store import Redis
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Load, Plan, percentile
from tests.faults.truths import held_true
from tests.faults.world import World, world

pytestmark = pytest.mark.timeout(180)

ROUTERS = 2
MODELS = ("alpha", "cached")
NONCES = itertools.count(0, 100_000)
KEYS = {"wide": new_key(), "tight": new_key()}
RATE = 20.0
LIMITS = {"wide": 1e6, "tight": RATE}
CONNECTIONS = 8
"""So many that the kernel gives some to each router."""
WAIT_SECONDS = 60.0
DEADLINE_SECONDS = 20.0
"""Of calls; a machine that is overrun is no failure of Redis's."""
TIMEOUT_SECONDS = 0.3
"""Of Redis; longer than it is by default, for a router that gets no CPU is not to take Redis for away."""


@dataclass(slots=True)
class Shared:
    """A serve whose routers share by a Redis of its own."""

    world: World
    redis: RealServer

    def metric(self, name: str) -> float:
        return self.world.metric(name)

    def is_shared(self) -> bool:
        """Whether every router takes Redis for well and has its quotas dealt out."""
        return self.metric("penstock_redis_up") == self.metric("penstock_quotas_shared") == ROUTERS

    def is_given_up(self) -> bool:
        return [self.metric(f"penstock_{name}") for name in ("redis_up", "quotas_shared", "result_cache_shared")] == [0, 0, 0]

    def found_or_missed(self) -> float:
        """Return how many questions Redis answered."""
        found = self.world.metrics()
        name = 'penstock_result_cache_lookups_total{outcome="%s",tier="redis"}'
        return sum(found.get(name % outcome, 0.0) for outcome in ("hit", "miss"))

    async def until(self, condition: Callable[[], bool]) -> float:
        began_at = time.monotonic()
        while not await asyncio.to_thread(condition):
            assert time.monotonic() < began_at + WAIT_SECONDS
            await asyncio.sleep(0.02)
        return time.monotonic() - began_at

    async def looked_up_again(self) -> None:
        """Wait until Redis answered some questions more."""
        before = await asyncio.to_thread(self.found_or_missed)
        await self.until(lambda: self.found_or_missed() >= before + 10)

    async def dealt_again(self, times: int = 10) -> None:
        """Wait until quotas were dealt out so many times more."""
        before = await asyncio.to_thread(self.metric, "penstock_quota_exchanges_total")
        await self.until(lambda: self.metric("penstock_quota_exchanges_total") >= before + times)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("redis")
    tenants = folder / "tenants.toml"
    tenants.write_text(
        "".join(
            f'[[tenants]]\nname = "{name}"\nrequests_per_second = {LIMITS[name]}\nkeys = ["{entry_of(key)}"]\n'
            for name, key in KEYS.items()
        )
    )
    redis = RealServer(Redis(), folder)
    redis.start()
    short = folder / "w"
    short.mkdir()
    options = [
        f'redis.url="redis://{redis.address}"',
        f"redis.timeout_seconds={TIMEOUT_SECONDS}",
        f"redis.connect_seconds={TIMEOUT_SECONDS}",
        "redis.retry_limit_seconds=1.0",
        f"shared_cache_wait_seconds={3 * TIMEOUT_SECONDS}",
    ]
    sets = [word for option in options for word in ("--set", f"router.{option}")]
    try:
        redis.wait()
        repository = oracle.write_models(folder / "models", MODELS)
        with world(short, repository, "--tenants-file", str(tenants), *sets, workers=1, routers=ROUTERS) as served:
            served.settle()
            yield Shared(world=served, redis=redis)
    finally:
        redis.send(signal.SIGCONT)
        redis.close()


@asynccontextmanager
async def loaded(shared: Shared, ledger: Ledger) -> AsyncGenerator[Ledger]:
    """Ask for both tenants while the block lasts; then check what must hold of either. Gives out the tight tenant's ledger."""
    tight = Ledger()
    target = shared.world.target
    await shared.until(shared.is_shared)
    async with (
        Caller(target, ledger, key=KEYS["wide"], connections=CONNECTIONS) as wide_caller,
        Caller(target, tight, key=KEYS["tight"], connections=CONNECTIONS) as tight_caller,
    ):
        for caller in (wide_caller, tight_caller):
            await connected(caller)
        # What the routers' memories know from the test before is not asked again.
        rates = {wide_caller: 60.0, tight_caller: 4 * RATE}
        plans = {caller: Plan(rate=rate, models=MODELS, deadline_seconds=DEADLINE_SECONDS) for caller, rate in rates.items()}
        loads = [Load(caller, plan, nonces=next(NONCES)) for caller, plan in plans.items()]
        began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for load in loads:
                group.create_task(load.run())
            try:
                await shared.dealt_again()
                await shared.looked_up_again()
                yield tight
            finally:
                for load in loads:
                    load.stop()
        seconds = time.monotonic() - began_at
    held_true(shared.world, ledger)
    assert [entry.outcomes for entry in ledger.entries() if not entry.is_ok] == []
    held_true(shared.world, tight)
    assert {entry.outcomes[0].reason for entry in tight.entries() if not entry.is_ok} <= {"QUOTA"}
    # One burst that there was, one dealt out by demand that had moved on, and one a router where Redis came or went.
    assert sum(entry.is_ok for entry in tight.entries()) <= RATE * seconds + (2 + 2 * ROUTERS) * RATE


async def connected(caller: Caller) -> None:
    """Return when every connection has brought an answer; a machine that is overrun may need more than one try for it."""
    ledger, caller.ledger = caller.ledger, Ledger()
    in_a_row = 0
    give_up_at = time.monotonic() + WAIT_SECONDS
    while in_a_row < CONNECTIONS:
        assert time.monotonic() < give_up_at
        in_a_row = 0 if (await caller.ask("alpha", 1)).kind is Kind.UNKNOWN else in_a_row + 1
    caller.ledger = ledger


async def test_r1_redis_is_killed_and_no_request_fails_and_quotas_hold_by_estimate(shared: Shared, ledger: Ledger):
    async with loaded(shared, ledger) as tight:
        shared.redis.kill()
        took = await shared.until(shared.is_given_up)
        answered = sum(entry.is_ok for entry in tight.entries())
        await shared.until(lambda: sum(entry.is_ok for entry in tight.entries()) >= answered + 10)
        shared.redis.start()
        back = await shared.until(shared.is_shared)
        await shared.dealt_again()
        await shared.looked_up_again()

    changes = await asyncio.to_thread(shared.metric, "penstock_redis_times_away_total")
    away = [line for line in shared.world.served.events("redis_away") if line["effect"] == "routers go on by themselves"]
    assert len(away) == changes
    # That of the answers comes back by itself, too, as soon as somebody asks.
    assert len(shared.world.served.events("redis_is_back")) >= changes
    record("R1", failed=0, given_up_s=took, back_s=back, p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def test_r2_redis_hangs_and_no_request_waits_for_it(shared: Shared, ledger: Ledger):
    before = await asyncio.to_thread(shared.metric, "penstock_redis_failures_total")
    async with loaded(shared, ledger):
        shared.redis.send(signal.SIGSTOP)
        try:
            took = await shared.until(shared.is_given_up)
            await shared.until(lambda: shared.metric("penstock_redis_spared_total") > 0)
            asked = await asyncio.to_thread(shared.metric, "penstock_redis_failures_total") - before
        finally:
            shared.redis.send(signal.SIGCONT)
        back = await shared.until(shared.is_shared)

    # Five time-outs each, and probes that grow rare: nobody goes on waiting for a Redis that hangs.
    assert asked >= 5 * ROUTERS
    record("R2", failed=0, given_up_s=took, back_s=back, p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def test_r3_redis_forgets_everything_and_quotas_recover(shared: Shared, ledger: Ledger):
    async with loaded(shared, ledger):
        for _ in range(3):
            await said(shared, "FLUSHALL")
            await shared.dealt_again()
        forgotten = await asyncio.to_thread(shared.is_shared)

    assert forgotten
    record("R3", failed=0, p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def test_r4_redis_has_no_room_and_quotas_are_dealt_out_all_the_same(shared: Shared, ledger: Ledger):
    async with loaded(shared, ledger):
        await said(shared, "CONFIG SET maxmemory-policy noeviction")
        await said(shared, "CONFIG SET maxmemory 1")
        try:
            await shared.dealt_again()
            assert (await said(shared, "SET somebody elses")).startswith(b"-OOM")
        finally:
            await said(shared, "CONFIG SET maxmemory 0")

    record("R4", failed=0, p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def said(shared: Shared, command: str) -> bytes:
    """Send a command to Redis as a person would; return the first line of its answer."""
    host, _, port = shared.redis.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{command}\r\n".encode())
        return await reader.readline()
    finally:
        writer.close()
