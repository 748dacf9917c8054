"""What a router shares with the other routers by Redis; without an address (`redis.url` empty) every router is on its own.

Quotas and answers have a client each: an answer that is large and late is not to make a router take Redis for away and its quotas for lost,
and the time-outs are not the same. That of answers connects when the first one is wanted.
"""

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
from services.router.shared_answers import SharedAnswers
from services.router.shared_tier import SharedTier, TierLimits
from services.router.tenants import Tenants


@asynccontextmanager
async def shared_by_redis(
    settings: RouterSettings, tenants: Tenants, answers: SharedAnswers, clock: Clock
) -> AsyncGenerator[tuple[Collected, ...]]:
    """Keep quotas and answers together while the block lasts; gives out the metrics of it.

    Raises:
        CannotStart: Redis is configured, and its client is not installed.
    """
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisClient(settings.redis, clock)) if settings.redis.is_set else None
        quotas = Quotas(settings.quota_routers)
        loop = QuotaLoop(tenants.all, redis, quotas, clock=clock)
        life = f"{settings.router_id}-{secrets.token_hex(8)}"
        await stack.enter_async_context(running(loop.run(life, settings.quota_tick_seconds), name="quotas"))
        if redis is not None:
            await stack.enter_async_context(_answers_shared(settings, answers, clock))
        yield () if redis is None else (*redis_metrics(redis), *quota_metrics(loop, quotas))


@asynccontextmanager
async def _answers_shared(settings: RouterSettings, answers: SharedAnswers, clock: Clock) -> AsyncGenerator[None]:
    limits = TierLimits(entry_bytes=settings.shared_cache_entry_bytes, queue_bytes=settings.shared_cache_queue_bytes)
    own = settings.redis.model_copy(update={"timeout_seconds": settings.shared_cache_wait_seconds})
    async with RedisClient(own, clock, effect="routers share no answers") as redis:
        answers.tier = tier = SharedTier(redis, answers.settle, limits, clock)
        async with running(tier.run(), name="shared-cache"):
            yield
