"""Limits hold for all routers together, by a real Redis. Counts are judged by the time that passed, not by the time that was planned."""

from __future__ import annotations

import uuid

import pytest
from redis.asyncio import Redis

from bench.quotas import TICK_SECONDS, asking, sharing, until
from services.chassis.clock import SystemClock
from services.chassis.redis_client import RedisClient, RedisSettings
from services.router.admission import Tenant, TenantPolicy
from services.router.quota_loop import TENANTS_A_CALL, QuotaLoop
from services.router.quota_script import PREFIX
from services.router.quota_share import Quotas
from tests.integration.servers import ServerAddress

RATE = 200.0
BURST_SECONDS = 0.5
BURST = RATE * BURST_SECONDS


def policy(**limits: float) -> TenantPolicy:
    return TenantPolicy(name=f"t-{uuid.uuid4().hex}", burst_seconds=BURST_SECONDS, **(limits or {"requests_per_second": RATE}))


def url(redis: ServerAddress) -> str:
    return f"redis://{redis.address}/1"


@pytest.mark.parametrize("demand", [(400.0, 400.0), (300.0,) * 4, (900.0, 0.0, 0.0, 0.0), (600.0, 100.0, 20.0, 0.0)])
async def test_what_routers_admit_together_is_the_limit_and_hardly_less(redis: ServerAddress, demand: tuple[float, ...]):
    async with sharing(url(redis), policy(), len(demand)) as sharers:
        await until(lambda: all(one.loop.is_dealing and one.quotas.routers >= len(demand) for one in sharers))
        seconds = await asking(sharers, demand, 2.0)
        admitted = sum(one.admitted for one in sharers)

    # One burst that there was, and at most one more that was dealt out by demand that had moved on.
    assert admitted <= RATE * seconds + 2 * BURST + len(demand)
    # Everything between two ticks may be late, and a machine that stalls has fewer of them.
    assert admitted >= 0.5 * RATE * seconds


async def test_who_asks_for_less_than_the_limit_in_all_is_not_refused(redis: ServerAddress):
    async with sharing(url(redis), policy(), 3) as sharers:
        await until(lambda: all(one.loop.is_dealing for one in sharers))
        await asking(sharers, (50.0, 20.0, 5.0), 1.5)

    assert [one.asked - one.admitted for one in sharers] == [0, 0, 0]
    assert sum(one.asked for one in sharers) > 0


async def test_debts_are_paid_back_and_errors_do_not_add_up(redis: ServerAddress):
    async with sharing(url(redis), policy(), 2) as sharers:
        await until(lambda: all(one.loop.is_dealing for one in sharers))
        seconds = 0.0
        for turn in range(6):
            seconds += await asking(sharers, (900.0, 0.0) if turn % 2 else (0.0, 900.0), 0.4)

    assert sum(one.admitted for one in sharers) <= RATE * seconds + 2 * BURST + 2


async def test_rows_in_flight_are_limited_for_all_routers_together(redis: ServerAddress):
    async with sharing(url(redis), policy(max_rows_in_flight=12.0), 3) as sharers:
        await until(lambda: all(one.loop.is_dealing and one.quotas.routers >= 3 for one in sharers))
        for one in sharers:
            one.tenant.admit(1)
        # Each has told what it holds, and of the others; then all want everything.
        exchanges = [one.loop.exchanges for one in sharers]
        await until(lambda: all(one.loop.exchanges >= before + 3 for one, before in zip(sharers, exchanges, strict=True)))
        for one in sharers:
            while one.tenant.admit(1) is None:
                pass
        held = [one.tenant.rows_in_flight for one in sharers]

    assert sum(held) <= 12
    assert min(held) >= 1


async def test_a_redis_that_was_flushed_knows_what_was_left_from_whoever_asks_next(redis: ServerAddress):
    async with sharing(url(redis), policy(), 2) as sharers, Redis.from_url(url(redis)) as client:
        await until(lambda: all(one.loop.is_dealing for one in sharers))
        seconds = await asking(sharers, (900.0, 900.0), 0.6)
        flushes = 5
        for _ in range(flushes):
            await client.flushdb()
            seconds += await asking(sharers, (900.0, 900.0), 0.25)
        admitted = sum(one.admitted for one in sharers)

    # A flush forgets what others have not spent yet, once a tick, but gives nobody a new burst.
    assert admitted <= RATE * seconds + 2 * BURST + flushes * RATE * TICK_SECONDS + 2
    assert all(one.loop.is_dealing for one in sharers)


async def test_out_of_memory_quotas_are_still_dealt_out(redis: ServerAddress):
    async with Redis.from_url(url(redis)) as client:
        former = (await client.config_get("maxmemory"))["maxmemory"]
        await client.config_set("maxmemory", "1")
        try:
            async with sharing(url(redis), policy(), 2) as sharers:
                await until(lambda: all(one.loop.exchanges >= 3 for one in sharers))
                refused = [one.redis.counters.refused for one in sharers]
        finally:
            await client.config_set("maxmemory", former)

    assert refused == [0, 0]


async def test_names_of_tenants_cannot_reach_other_keys(redis: ServerAddress):
    hostile = TenantPolicy(name="a:b{c}\n\x00 *", requests_per_second=1.0)
    async with sharing(url(redis), hostile, 1) as sharers:
        await until(lambda: sharers[0].loop.exchanges > 1)
    async with Redis.from_url(url(redis)) as client:
        keys = [key async for key in client.scan_iter(match=f"{PREFIX}of:a%3A*")]

    assert keys == [f"{PREFIX}of:a%3Ab%7Bc%7D%0A%00%20%2A".encode()]


async def test_many_tenants_are_reported_call_by_call_so_that_none_has_to_wait_for_all(redis: ServerAddress):
    count = 2 * TENANTS_A_CALL + 1
    tenants = {one.name: Tenant(one) for one in (policy() for _ in range(count))}
    async with RedisClient(RedisSettings(url=url(redis), timeout_seconds=30, connect_seconds=30), SystemClock()) as client:
        loop = QuotaLoop(lambda: tenants, client, Quotas(1), clock=SystemClock())
        await loop.tick("router")

        assert client.counters.asked == 3
        assert loop.is_dealing
        assert all(tenant.is_granted for tenant in tenants.values())
