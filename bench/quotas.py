"""`python -m bench.quotas`: what several routers admit together of one tenant's quota, against what it allows.

Each router is its own client, buckets and loop, all in one process, with a real Redis. Callers ask evenly over time; a call ends at once.
What is allowed is rate times time and one burst, or all that was asked for, if that is less.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from bench.killable import RealServer
from bench.report import say
from services.chassis.clock import SystemClock
from services.chassis.process import running
from services.chassis.redis_client import RedisClient, RedisSettings
from services.router.admission import Tenant, TenantPolicy
from services.router.quota_loop import QuotaLoop
from services.router.quota_share import Quotas
from services.stack.redis_store import Redis

TICK_SECONDS = 0.1
STEP_SECONDS = 0.005
WAIT_SECONDS = 30.0


@dataclass(slots=True)
class Sharer:
    """One router, as far as quotas go."""

    tenant: Tenant
    redis: RedisClient
    quotas: Quotas
    loop: QuotaLoop
    admitted: int = 0
    asked: int = 0
    due: float = 0.0

    def ask(self, requests: float) -> None:
        """Ask for so many requests, fractions of which are saved up; each ends at once."""
        self.tenant.open(time.monotonic())
        self.due += requests
        while self.due >= 1.0:
            self.due -= 1.0
            self.asked += 1
            if self.tenant.admit(1) is None:
                self.admitted += 1
                self.tenant.release(1)


@asynccontextmanager
async def sharing(url: str, policy: TenantPolicy, routers: int, *, timeout_seconds: float = 5.0) -> AsyncGenerator[list[Sharer]]:
    """Run so many routers until the block ends, their ticks spread over time."""
    life = uuid.uuid4().hex
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        sharers: list[Sharer] = []
        for number in range(routers):
            settings = RedisSettings(url=url, timeout_seconds=timeout_seconds, connect_seconds=5.0, retry_limit_seconds=1.0)
            redis = await stack.enter_async_context(RedisClient(settings, clock))
            tenant, quotas = Tenant(policy), Quotas(routers)
            loop = QuotaLoop(lambda tenant=tenant: {policy.name: tenant}, redis, quotas, clock=clock)
            await stack.enter_async_context(running(loop.run(f"{life}-{number}", TICK_SECONDS)))
            sharers.append(Sharer(tenant=tenant, redis=redis, quotas=quotas, loop=loop))
            await asyncio.sleep(TICK_SECONDS / routers)
        yield sharers


async def asking(sharers: Sequence[Sharer], rates: Sequence[float], seconds: float) -> float:
    """Ask each for so many requests a second; return for how long that went on."""
    began_at = last_at = time.monotonic()
    while last_at - began_at < seconds:
        await asyncio.sleep(STEP_SECONDS)
        now = time.monotonic()
        for sharer, rate in zip(sharers, rates, strict=True):
            sharer.ask(rate * (now - last_at))
        last_at = now
    return last_at - began_at


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError("what was waited for did not happen")
        await asyncio.sleep(0.01)


RATE = 100.0
SECONDS = 10.0
DEMANDS = {
    "2 routers, even": ((200.0, 200.0),),
    "4 routers, even": ((100.0,) * 4,),
    "4 routers, one has nearly all": ((400.0, 1.0, 1.0, 1.0),),
    "4 routers, 8:4:2:1": ((213.0, 107.0, 53.0, 27.0),),
    "2 routers, all moves to the other halfway": ((400.0, 0.0), (0.0, 400.0)),
    "2 routers, all moves every half second": ((400.0, 0.0), (0.0, 400.0)) * 10,
    "4 routers, 80 % of the quota": ((20.0,) * 4,),
    "4 routers, 80 % of the quota at one": ((80.0, 0.0, 0.0, 0.0),),
    "2 routers, 80 % of the quota moves halfway": ((80.0, 0.0), (0.0, 80.0)),
}


async def _measured(url: str, demands: Sequence[Sequence[float]]) -> str:
    policy = TenantPolicy(name=uuid.uuid4().hex, requests_per_second=RATE)
    async with sharing(url, policy, len(demands[0])) as sharers:
        await until(lambda: all(one.loop.is_dealing for one in sharers))
        seconds = 0.0
        for demand in demands:
            seconds += await asking(sharers, demand, SECONDS / len(demands))
        admitted, asked = sum(one.admitted for one in sharers), sum(one.asked for one in sharers)
    allowed = min(RATE * seconds + RATE, asked)
    return f"{asked} | {allowed:.0f} | {admitted} | {(admitted - allowed) / allowed:+.1%}"


def main() -> None:
    """Print the table of docs/quotas.md."""
    with tempfile.TemporaryDirectory() as folder, closing(RealServer(Redis(), Path(folder))) as redis:
        redis.start()
        redis.wait()
        say("| demand | asked | allowed | admitted | error |\n|---|---|---|---|---|")
        for name, demands in DEMANDS.items():
            say(f"| {name} | {asyncio.run(_measured(f'redis://{redis.address}', demands))} |")


if __name__ == "__main__":
    main()
