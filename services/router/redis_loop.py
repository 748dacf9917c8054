"""What a router shares with the other routers by Redis; without an address (`redis.url` empty) every router is on its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from services.chassis.clock import Clock
from services.chassis.metrics import Collected
from services.chassis.process import running
from services.chassis.redis_client import RedisClient, redis_metrics
from services.router.config import RouterSettings
from services.router.quota_loop import QuotaLoop, quota_metrics
from services.router.quota_share import Quotas
from services.router.tenants import Tenants


@asynccontextmanager
async def shared_by_redis(settings: RouterSettings, tenants: Tenants, clock: Clock) -> AsyncGenerator[tuple[Collected, ...]]:
    """Keep quotas together while the block lasts; gives out the metrics of it.

    Raises:
        CannotStart: Redis is configured, and its client is not installed.
    """
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisClient(settings.redis, clock)) if settings.redis.is_set else None
        quotas = Quotas(settings.quota_routers)
        loop = QuotaLoop(tenants.all, redis, quotas, clock=clock)
        life = f"{settings.router_id}-{secrets.token_hex(8)}"
        await stack.enter_async_context(running(loop.run(life, settings.quota_tick_seconds), name="quotas"))
        yield () if redis is None else (*redis_metrics(redis), *quota_metrics(loop, quotas))
